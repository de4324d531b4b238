import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { endpointSlices, serviceCidrs, services } from '../../src/api/resource.ts';
import { findKubectls, startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { startApiServerProcess } from '../support/apiserver-process.ts';
import { type RunResult, run, runOk } from '../support/shell.ts';

/** An API server with Service addresses of both families, as kubectl meets it. */

const kubectl = findKubectls().at(-1)?.path;
const skip = kubectl === undefined ? 'no kubectl on PATH' : false;

let server: TestApiServer;

before(async () => {
  if (skip === false) server = await startApiServer({ serviceCidrs: ['10.43.0.0/16', 'fd43::/112'] });
});
after(async () => {
  if (skip === false) await server.stop();
});

function args(line: string): readonly string[] {
  return [
    `--cache-dir=${join(server.folder, 'cache')}`,
    `--kubeconfig=${server.kubeconfig('admin', server.admin)}`,
    ...[...line.matchAll(/'([^']*)'|\S+/g)].map((part) => part[1] ?? part[0]),
  ];
}

/** Must succeed. */
async function ok(line: string): Promise<string> {
  return (await runOk(kubectl ?? '', args(line))).trim();
}

/** Must fail; standard error. */
async function fails(line: string): Promise<string> {
  const result: RunResult = await run(kubectl ?? '', args(line));
  assert.notEqual(result.code, 0, `should have failed: ${line}\n${result.stdout}`);
  return result.stderr;
}

async function apply(
  name: string,
  spec: object,
  verb: (line: string) => Promise<string> = ok,
): Promise<string> {
  const path = join(server.folder, `${name}.json`);
  const ports = [{ port: 80 }];
  writeFileSync(
    path,
    JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { ports, ...spec } }),
  );
  return verb(`apply -f ${path}`);
}

const fields = 'jsonpath={.spec.ipFamilyPolicy} {.spec.ipFamilies} {.spec.clusterIPs}';
const shown = (name: string): Promise<string> => ok(`get service ${name} -o '${fields}'`);

test('dual stack: the ServiceCIDR has both ranges, the Service kubernetes the first family', {
  skip,
}, async () => {
  assert.equal(
    await ok(`get servicecidr kubernetes -o 'jsonpath={.spec.cidrs}'`),
    '["10.43.0.0/16","fd43::/112"]',
  );
  assert.equal(await shown('kubernetes'), 'SingleStack ["IPv4"] ["10.43.0.1"]');
});

test('dual stack: a Service gets a second address, keeps it, gives it up and gets another', {
  skip,
}, async () => {
  const both = /^PreferDualStack \["IPv4","IPv6"\] \["10\.43\.\d+\.\d+","fd43::[0-9a-f]+"\]$/;
  await apply('web', { selector: { app: 'web' } });
  assert.match(await shown('web'), /^SingleStack \["IPv4"\] \["10\.43\.\d+\.\d+"\]$/);
  await apply('web', { selector: { app: 'web' }, ipFamilyPolicy: 'PreferDualStack' });
  const text = await shown('web');
  assert.match(text, both);
  const [, second = ''] = /"(fd43::[0-9a-f]+)"/.exec(text) ?? [];
  assert.match(await ok('apply -f ' + join(server.folder, 'web.json')), /unchanged/);
  assert.match(await ok('describe service web'), new RegExp(`IP Families: +IPv4,IPv6[^]*IPs: .*${second}`));
  assert.match(await ok(`wait --for=create ipaddress/${second} --timeout=60s`), /condition met/);
  assert.match(await ok(`get ipaddress ${second}`), /services\/default\/web/);

  assert.match(
    await fails(`patch service web --type=merge -p '{"spec":{"clusterIPs":["10.43.0.99","fd43::99"]}}'`),
    /spec.clusterIPs: Invalid value: \["10.43.0.99","fd43::99"\]: first value must match `clusterIP`/,
  );
  const secondIp = `'[{"op":"replace","path":"/spec/clusterIPs/1","value":"fd43::99"}]'`;
  assert.match(
    await fails(`patch service web --type=json -p ${secondIp}`),
    /spec.clusterIPs\[1\]: Invalid value: .*: may not change once set/,
  );
  assert.match(
    await fails(`patch service web --type=json -p '[{"op":"remove","path":"/spec/clusterIPs/1"}]'`),
    /must be 'SingleStack' to release the secondary cluster IP/,
  );
  await ok(`patch service web -p '{"spec":{"ipFamilyPolicy":"SingleStack"}}'`);
  assert.match(await shown('web'), /^SingleStack \["IPv4"\] \["10\.43\.\d+\.\d+"\]$/);
  await ok(`wait --for=delete ipaddress/${second} --timeout=60s`);
  await apply('other', { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6'], clusterIP: second });
  assert.match(await shown('other'), new RegExp(`^RequireDualStack \\["IPv6","IPv4"\\] \\["${second}","10`));
  await ok(`patch service web -p '{"spec":{"ipFamilyPolicy":"PreferDualStack"}}'`);
  assert.match(await shown('web'), both);
});

test('dual stack: headless Services and ExternalName', { skip }, async () => {
  await apply('headless', { clusterIP: 'None', selector: { app: 'web' }, ipFamilyPolicy: 'PreferDualStack' });
  assert.equal(await shown('headless'), 'PreferDualStack ["IPv4","IPv6"] ["None"]');
  await apply('open', { clusterIP: 'None' });
  assert.equal(await shown('open'), 'RequireDualStack ["IPv4","IPv6"] ["None"]');
  await ok('create service externalname named --external-name=example.com');
  assert.equal((await shown('named')).trim(), '');
  assert.match(
    await fails(`patch service named -p '{"spec":{"ipFamilies":["IPv6"]}}'`),
    /spec.ipFamilies: Forbidden: may not be set for ExternalName services/,
  );
});

test('dual stack: another ServiceCIDR extends the range of its own family', { skip }, async () => {
  const path = join(server.folder, 'more.json');
  const more = { apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name: 'more' } };
  writeFileSync(path, JSON.stringify({ ...more, spec: { cidrs: ['fd44::/112'] } }));
  await ok(`create -f ${path}`);
  await ok('wait --for=condition=Ready servicecidr/more --timeout=60s');
  await apply('wide', { clusterIP: 'fd44::7', ipFamilies: ['IPv6'] });
  assert.equal(await shown('wide'), 'SingleStack ["IPv6"] ["fd44::7"]');
  assert.match(
    await apply('far', { clusterIP: 'fd45::7' }, fails),
    /failed to allocate IP fd45::7: the provided IP \(fd45::7\) is not in the valid range. The range of valid IPs is fd43::\/112, fd44::\/112/,
  );
});

test('dual stack: a server that gets a second range shows it, moves no Service, and can go back', async () => {
  const process = await startApiServerProcess({ storeArguments: ['--service-cidr', '10.43.0.0/16'] });
  try {
    const client = await process.client('fairlead-admin', ['system:masters']);
    const ranges = async () => (await client.get(serviceCidrs, undefined, 'kubernetes')).spec?.cidrs;
    const familiesOf = async (name: string) =>
      (await client.get(services, 'default', name)).spec?.ipFamilies ?? [];
    const make = (name: string) =>
      client.create(services, {
        metadata: { name, namespace: 'default' },
        spec: { ipFamilyPolicy: 'PreferDualStack', ports: [{ port: 80 }] },
      });
    await make('early');
    assert.deepEqual([await ranges(), await familiesOf('early')], [['10.43.0.0/16'], ['IPv4']]);

    await process.kill();
    await process.startAgain(['--service-cidr', '10.43.0.0/16,fd43::/112']);
    await make('late');
    assert.deepEqual(await ranges(), ['10.43.0.0/16', 'fd43::/112']);
    assert.deepEqual([await familiesOf('early'), await familiesOf('late')], [['IPv4'], ['IPv4', 'IPv6']]);

    await process.kill();
    await process.startAgain();
    const patch = { metadata: { labels: { changed: 'yes' } } };
    await client.patch(services, 'default', 'late', 'merge', patch);
    assert.deepEqual(await familiesOf('late'), ['IPv4', 'IPv6']);
  } finally {
    await process.stop();
  }
});

test('dual stack: where IPv6 is first the Service kubernetes has it, and the advertised address must be of it', async () => {
  const ranges = ['--service-cidr', 'fd43::/112,10.43.0.0/16'];
  await assert.rejects(
    startApiServerProcess({ storeArguments: ranges }),
    /--advertise-address 127.0.0.1 must be of the family of the first --service-cidr, IPv6/,
  );
  const process = await startApiServerProcess({ storeArguments: [...ranges, '--advertise-address', '::1'] });
  try {
    const client = await process.client('fairlead-admin', ['system:masters']);
    const { spec } = await client.get(services, 'default', 'kubernetes');
    assert.deepEqual([spec?.clusterIPs, spec?.ipFamilies], [['fd43::1'], ['IPv6']]);
    const slice = await client.get(endpointSlices, 'default', 'kubernetes');
    assert.deepEqual([slice.addressType, slice.endpoints?.[0]?.addresses], ['IPv6', ['::1']]);
  } finally {
    await process.stop();
  }
});
