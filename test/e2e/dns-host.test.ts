/**
 * `fairlead up --resolve-on-host`: the cluster's names as programs of this machine find them, through a real systemd-resolved
 * and through the resolver of the C library; and that nothing is left of it.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { hostLinkOf } from '../../src/cluster/host-names.ts';
import {
  examples,
  fairlead,
  importImages,
  leftovers,
  planCluster,
  type TestCluster,
} from '../support/cluster.ts';
import { startResolved } from '../support/resolved.ts';
import { eventually, missingForCluster, run, runOk, which } from '../support/shell.ts';

const missing =
  missingForCluster() ??
  (which('dig') === undefined ? 'needs dig (Debian package bind9-dnsutils)' : undefined);
const shop = 'caddy-lb.default.svc.cluster.local';

describe('names of the cluster on the host', { skip: missing ?? false, timeout: 300_000 }, () => {
  let cluster: TestCluster;
  let server = '';
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-dns-host-'));
  const told = join(folder, 'told');
  /** `up` again, with a `resolvectl` of ours first on PATH. */
  const upWith = async (binFolder: string): Promise<string> => {
    const { code, stdout, stderr } = await run(fairlead, ['up', '--name', cluster.name], {
      env: { KUBECONFIG: cluster.kubeconfig, PATH: `${binFolder}:${process.env['PATH'] ?? ''}` },
    });
    assert.equal(code, 0, stderr);
    return stderr + stdout;
  };
  const dig = async (...args: string[]): Promise<string> =>
    (await runOk('dig', [`@${server}`, '+tries=1', '+time=30', ...args])).trim();

  before(async () => {
    // No systemd-resolved at first, whatever this machine has.
    writeFileSync(join(folder, 'resolvectl'), '#!/bin/sh\nexit 1\n');
    chmodSync(join(folder, 'resolvectl'), 0o755);
    cluster = await planCluster({
      name: `host${process.pid}`,
      upArguments: ['--resolve-on-host'],
      env: { PATH: `${folder}:${process.env['PATH'] ?? ''}` },
    });
    const printed = await cluster.up();
    server =
      /server=\/cluster\.local\/([\d.]+)|nameserver (127\.0\.43\.\d+)/
        .exec(printed)
        ?.slice(1)
        .find(Boolean) ?? '';
    assert.notEqual(server, '', `one line to add is printed:\n${printed}`);
    await importImages(cluster, ['caddy']);
    for (const file of ['4_deployment.yaml', '5_service.yaml', '5_lb_service.yaml']) {
      await cluster.kubectl(`apply -f ${examples}/${file}`);
    }
    await cluster.kubectl('rollout status deployment/caddy --timeout=60s');
    await eventually(async () => assert.equal(await dig('+short', shop, 'A'), '127.0.0.1'));
  });

  after(async () => {
    await cluster.down();
    assert.deepEqual(await leftovers(cluster), [], 'nothing is left behind');
    rmSync(folder, { recursive: true, force: true });
  });

  test('dig at the address: what is published has an address, what is not has none, and nothing else is served', async () => {
    assert.equal(await dig('+short', '+tcp', shop, 'AAAA'), '::1');
    assert.equal(await dig('+short', `_http._tcp.${shop}`, 'SRV'), `0 100 ${cluster.ports.lb} ${shop}.`);
    assert.match(await dig('caddy.default.svc.cluster.local', 'A'), /status: NOERROR[^]*ANSWER: 0/);
    assert.match(await dig('gone.default.svc.cluster.local', 'A'), /status: NXDOMAIN/);
    assert.equal(await dig('+short', '-x', '10.43.0.1'), 'kubernetes.default.svc.cluster.local.');
    assert.match(await dig('-x', '10.43.255.1'), /status: NXDOMAIN/);
    assert.match(await dig('www.example.com', 'A'), /status: REFUSED/);
  });

  test('status tells where names are asked for', async () => {
    const told = await cluster.cli(['status', '--name', cluster.name]);
    assert.ok(told.includes(`of cluster.local on this machine, asked at ${server} port 53`), told);
  });

  test('explain tells why', async () => {
    const explain = async (name: string): Promise<string> =>
      cluster.cli(['explain', 'dns', name, '--from-host', '--name', cluster.name]);
    assert.match(await explain(shop), /LoadBalancer, by its published ports\)\n.* A 127\.0\.0\.1/);
    assert.match(
      await explain('caddy.default.svc.cluster.local'),
      /nothing of Service default\/caddy is published/,
    );
  });

  test('the C library with the printed line in resolv.conf reaches the Service by its name', async () => {
    // A namespace of mounts of its own: this machine's file stays as it is.
    const file = join(folder, 'resolv.conf');
    writeFileSync(file, `nameserver ${server}\n`);
    const script = `mount --bind "$1" /etc/resolv.conf && curl -sS -o /dev/null -w '%{http_code}' "$2"`;
    const url = `http://${shop}:${cluster.ports.lb}/`;
    assert.equal(await runOk('unshare', ['--mount', 'sh', '-c', script, 'sh', file, url]), '200');
  });

  test('resolvectl is told the zones and the server, through a link that goes with the cluster', async () => {
    const recording = join(folder, 'recording');
    await runOk('mkdir', ['-p', recording]);
    writeFileSync(join(recording, 'resolvectl'), `#!/bin/sh\necho "$@" >> ${told}\n`);
    chmodSync(join(recording, 'resolvectl'), 0o755);
    assert.match(await upWith(recording), /names of cluster\.local on this machine through systemd-resolved/);
    const lines = readFileSync(told, 'utf8').trim().split('\n');
    const link = hostLinkOf(cluster.name);
    assert.ok(lines.includes(`dns ${link} ${server}`), lines.join('\n'));
    assert.ok(lines.includes(`domain ${link} ~cluster.local ~42.10.in-addr.arpa ~43.10.in-addr.arpa`));
    assert.ok(lines.includes(`default-route ${link} no`));
    assert.match(await runOk('ip', ['-o', 'link', 'show', link]), /LOWER_UP/);
  });

  test('a resolvectl that fails half way: the link is taken back and the line is printed', async () => {
    const failing = join(folder, 'failing');
    await runOk('mkdir', ['-p', failing]);
    writeFileSync(join(failing, 'resolvectl'), '#!/bin/sh\n[ "$1" != domain ] || { echo no >&2; exit 1; }\n');
    chmodSync(join(failing, 'resolvectl'), 0o755);
    assert.match(await upWith(failing), /systemd-resolved could not be told .*add the line/);
    assert.notEqual((await run('ip', ['link', 'show', hostLinkOf(cluster.name)])).code, 0);
  });

  test('a real systemd-resolved asks the cluster for its names and nobody for others', async (t) => {
    let resolved: Awaited<ReturnType<typeof startResolved>>;
    try {
      resolved = await startResolved();
    } catch (error) {
      t.skip(`no systemd-resolved of Debian can be had or run here: ${String(error)}`);
      return;
    }
    try {
      assert.match(await upWith(resolved.binFolder), /through systemd-resolved/);
      const query = async (...args: string[]): Promise<string> =>
        resolved.resolvectl('--legend=no', '--no-pager', 'query', ...args);
      assert.match(await query('-4', shop), /: 127\.0\.0\.1$/m);
      assert.match(await query('-6', shop), /: ::1/);
      assert.match(
        await query('--type=SRV', `_http._tcp.${shop}`),
        new RegExp(` ${cluster.ports.lb} ${shop}`),
      );
      assert.match(await query('10.43.0.1'), /kubernetes\.default\.svc\.cluster\.local/);
      await assert.rejects(query('gone.default.svc.cluster.local'), /not found/);
      await assert.rejects(query('www.example.com'), /No appropriate name servers or networks|not found/);
      await runOk('ip', ['link', 'delete', hostLinkOf(cluster.name)]);
      await assert.rejects(query(shop), /No appropriate name servers or networks|not found/);
    } finally {
      await resolved.stop();
    }
  });
});
