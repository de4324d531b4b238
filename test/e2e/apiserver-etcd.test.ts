import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { configMaps, resourceQuotas, services } from '../../src/api/resource.ts';
import { type ApiClient, isApiError } from '../../src/client/client.ts';
import { type ApiServerProcess, startApiServerProcess } from '../support/apiserver-process.ts';
import { type Etcd, startEtcd, withoutEtcd } from '../support/etcd.ts';
import { createTestPki } from '../support/pki.ts';
import { run, which } from '../support/shell.ts';

const administrator = ['fairlead-admin', ['system:masters']] as const;

describe('two API servers on one etcd, by TLS', { skip: withoutEtcd }, () => {
  let etcd: Etcd;
  let servers: readonly [ApiServerProcess, ApiServerProcess];
  let one: ApiClient;
  let two: ApiClient;

  before(async () => {
    const pki = await createTestPki();
    etcd = await startEtcd(pki);
    const start = (): Promise<ApiServerProcess> =>
      startApiServerProcess({ pki, storeArguments: etcd.storeArguments });
    servers = [await start(), await start()];
    one = await servers[0].client(...administrator);
    two = await servers[1].client(...administrator);
  });
  after(async () => {
    for (const server of servers) await server.stop();
    await etcd.stop();
  });

  test('what one has acknowledged the other shows at once', async () => {
    for (let at = 0; at < 20; at += 1) {
      const [writer, reader] = at % 2 === 0 ? [one, two] : [two, one];
      const made = await writer.create(configMaps, configMap(`map-${at}`));
      const read = await reader.get(configMaps, 'default', `map-${at}`);
      assert.deepEqual(read, made);
      const { items } = await reader.list(configMaps, { namespace: 'default' });
      assert.ok(items.some(({ metadata }) => metadata?.name === `map-${at}`));
    }
  });

  test('of two replaced at the same version one is a conflict', async () => {
    const made = await one.create(configMaps, configMap('contested'));
    const outcomes = await Promise.allSettled([
      one.replace(configMaps, { ...made, data: { by: 'one' } }),
      two.replace(configMaps, { ...made, data: { by: 'two' } }),
    ]);
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    assert.equal(refused.length, 1);
    assert.ok(isApiError(refused[0]?.reason, 'Conflict'));
  });

  test('an address or a node port that both are asked for at the same moment goes to one Service', async () => {
    const service = (name: string, spec: object) => ({
      metadata: { name, namespace: 'default' },
      spec: { type: 'NodePort', ports: [{ port: 80, protocol: 'TCP' }], ...spec },
    });
    const asked = [
      { clusterIP: '10.43.9.9' },
      { ports: [{ port: 80, protocol: 'TCP', nodePort: 30_333 }] },
    ] as const;
    for (let round = 0; round < 10; round += 1) {
      for (const spec of asked) {
        const outcomes = await Promise.allSettled([
          one.create(services, service('first', spec)),
          two.create(services, service('second', spec)),
        ]);
        const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
        assert.equal(refused.length, 1);
        assert.match(String(refused[0]?.reason), /already allocated/);
        const [kept, other] =
          outcomes[0]?.status === 'fulfilled' ? (['first', two] as const) : (['second', one] as const);
        // What is given back can be had at once, at the other server, too.
        await one.delete(services, 'default', kept);
        await other.create(services, service('again', spec));
        await two.delete(services, 'default', 'again');
      }
    }
  });

  test('Services made at both at once get addresses and ports of their own', async () => {
    const made = await Promise.all(
      Array.from({ length: 60 }, (_, at) =>
        (at % 2 === 0 ? one : two).create(services, {
          metadata: { name: `many-${at}`, namespace: 'default' },
          spec: { type: 'NodePort', ports: [{ port: 80, protocol: 'TCP' }] },
        }),
      ),
    );
    assert.equal(new Set(made.map(({ spec }) => spec?.clusterIP)).size, 60);
    assert.equal(new Set(made.map(({ spec }) => spec?.ports?.[0]?.nodePort)).size, 60);
    await Promise.all(made.map(({ metadata }) => two.delete(services, 'default', metadata?.name ?? '')));
  });

  test('what is asked of both at the same moment stays within a quota', async () => {
    const base = (await one.list(configMaps, { namespace: 'default' })).items.length;
    const hard = { configmaps: String(base + 7) };
    await one.create(resourceQuotas, { metadata: { name: 'seven', namespace: 'default' }, spec: { hard } });
    await two.get(resourceQuotas, 'default', 'seven'); // both know of it
    for (let round = 0; round < 5; round += 1) {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 30 }, (_, at) =>
          (at % 2 === 0 ? one : two).create(configMaps, configMap(`counted-${at}`)),
        ),
      );
      const made = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') assert.match(String(outcome.reason), /exceeded quota: seven/);
      assert.equal(made.length, 7);
      for (const { metadata } of made) await one.delete(configMaps, 'default', metadata?.name ?? '');
      assert.equal((await two.list(configMaps, { namespace: 'default' })).items.length, base);
    }
    await one.delete(resourceQuotas, 'default', 'seven');
  });

  test('kubectl applies at one, gets and deletes at the other', {
    skip: which('kubectl') === undefined ? 'no kubectl on PATH' : false,
  }, async () => {
    const [first, second] = await Promise.all(servers.map((server) => server.kubeconfig(...administrator)));
    const manifest = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', ...configMap('applied') });
    await kubectl(first, ['apply', '-f', '-'], manifest);
    assert.equal(await kubectl(second, ['get', 'configmap', 'applied', '-o', 'name']), 'configmap/applied\n');
    await kubectl(second, ['delete', 'configmap', 'applied']);
    await assert.rejects(one.get(configMaps, 'default', 'applied'), (error) => isApiError(error, 'NotFound'));
  });

  test('a watch begun at one goes on at the other after kill -9, and nothing is missed', async () => {
    const { resourceVersion } = await one.list(configMaps, { namespace: 'default' });
    await one.create(configMaps, configMap('before'));
    await servers[0].kill();
    await two.create(configMaps, configMap('after'));
    const seen: string[] = [];
    for await (const event of two.watch(configMaps, resourceVersion, { namespace: 'default' })) {
      if (event.type === 'BOOKMARK') continue;
      seen.push(`${event.type} ${event.object.metadata?.name}`);
      if (seen.length === 2) break;
    }
    assert.deepEqual(seen, ['ADDED before', 'ADDED after']);
    await servers[0].startAgain();
    const { metadata } = await one.get(configMaps, 'default', 'after');
    assert.equal(metadata?.name, 'after');
  });

  test('while etcd is away a read is answered 503 and, after it is back, by what was acknowledged', async () => {
    const made = await one.create(configMaps, configMap('kept'));
    await etcd.kill();
    await assert.rejects(one.get(configMaps, 'default', 'kept'), (error) => isApiError(error, 'Unavailable'));
    await etcd.restart();
    assert.deepEqual(await two.get(configMaps, 'default', 'kept'), made);
  });
});

function configMap(name: string) {
  return { metadata: { name, namespace: 'default' }, data: { text: 'ä' } };
}

async function kubectl(kubeconfig: string | undefined, args: readonly string[], input = ''): Promise<string> {
  const { code, stdout, stderr } = await run('kubectl', ['--kubeconfig', kubeconfig ?? '', ...args], {
    input,
  });
  assert.equal(code, 0, stderr);
  return stdout;
}
