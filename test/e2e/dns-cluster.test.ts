/** Cluster DNS where it lives: asked by Pods with their own resolver options, by dig and kdig, and killed under load. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fairlead, importImages, leftovers, planCluster, type TestCluster } from '../support/cluster.ts';
import { eventually, missingForCluster, runOk, which } from '../support/shell.ts';

const missing = missingForCluster();

describe('dns in a cluster', { skip: missing ?? false, timeout: 300_000 }, () => {
  let cluster: TestCluster;
  const kubectl = async (...args: string[]): Promise<string> =>
    runOk('kubectl', args, { env: { KUBECONFIG: cluster.kubeconfig } });
  const dnsProcess = (): { readonly pid: number; readonly restarts: number } =>
    JSON.parse(readFileSync(`/run/fairlead/${cluster.name}/processes/dns.json`, 'utf8'));
  const lookUps = async (pod: string): Promise<readonly string[]> =>
    (await kubectl('logs', pod)).trim().split('\n');

  before(async () => {
    cluster = await planCluster({ name: `dns${process.pid}` });
    await cluster.up();
    await importImages(cluster, ['alpine']);
    // getaddrinfo as any program uses it, and dig; each says whether the name was found (curl: 6 is "could not resolve").
    const line = (command: string, failed: string): string =>
      `while :; do ${command}; [ $? -eq ${failed} ] && echo failed || echo found; done`;
    const loops = {
      libc: line('curl -sk -o /dev/null https://kubernetes.default', '6'),
      dig: line(
        'dig +search +short kubernetes.default.svc.cluster.local A | grep -q "^10.43.0.1$" || false',
        '1',
      ),
    };
    for (const [name, script] of Object.entries(loops)) {
      await kubectl(
        ...['run', name, '--image=alpine:latest', '--restart=Never', '--command', '--', 'sh', '-c', script],
      );
    }
    await kubectl('wait', '--for=condition=Ready', 'pod/libc', 'pod/dig', '--timeout=60s');
    for (const pod of ['libc', 'dig']) {
      await eventually(async () => assert.ok((await lookUps(pod)).length > 3));
    }
  });

  after(async () => {
    await cluster.down();
    assert.deepEqual(await leftovers(cluster), [], 'nothing is left behind');
  });

  test('DNS killed again and again: no Pod sees a look-up fail', async () => {
    for (let round = 0; round < 3; round++) {
      const { pid, restarts } = dnsProcess();
      const before = new Map(
        await Promise.all(['libc', 'dig'].map(async (pod) => [pod, (await lookUps(pod)).length] as const)),
      );
      process.kill(pid, 'SIGKILL');
      await eventually(() => assert.equal(dnsProcess().restarts, restarts + 1));
      assert.notEqual(dnsProcess().pid, pid);
      for (const [pod, count] of before) {
        await eventually(async () => assert.ok((await lookUps(pod)).length > count + 3, `${pod} goes on`));
      }
    }
    for (const pod of ['libc', 'dig']) {
      const failed = (await lookUps(pod)).filter((word) => word !== 'found');
      assert.deepEqual(failed, [], pod);
    }
  });

  test('the Pod of DNS is still the same and ready', async () => {
    const pods = await kubectl('get', 'pods', '-n', 'kube-system', '-l', 'k8s-app=kube-dns', '--no-headers');
    assert.match(pods, /^\S+\s+1\/1\s+Running/);
  });

  test('dig inside a Pod uses the search list and both transports', async () => {
    const dig = async (...args: string[]): Promise<string> =>
      (await kubectl('exec', 'dig', '--', 'dig', ...args)).trim();
    assert.equal(await dig('+search', '+short', 'kubernetes'), '10.43.0.1');
    assert.equal(await dig('+short', '+tcp', 'kubernetes.default.svc.cluster.local'), '10.43.0.1');
    assert.match(await dig('-x', '10.43.0.1', '+short'), /^kubernetes\.default\.svc\.cluster\.local\.$/);
    assert.match(await dig('gone.default.svc.cluster.local'), /status: NXDOMAIN/);
    const srv = await dig('+short', 'SRV', '_dns-tcp._tcp.kube-dns.kube-system.svc.cluster.local');
    assert.equal(srv, '0 100 53 kube-dns.kube-system.svc.cluster.local.');
  });

  test('a Pod finds at its first search what its last would find, and explain tells why', async () => {
    // "kubernetes.default" as a Pod of namespace default asks for it first.
    const first = 'kubernetes.default.default.svc.cluster.local';
    await eventually(async () =>
      assert.equal((await kubectl('exec', 'dig', '--', 'dig', '+short', first)).trim(), '10.43.0.1'),
    );
    const env = { KUBECONFIG: cluster.kubeconfig };
    const told = await runOk(
      fairlead,
      ['explain', 'dns', 'kubernetes.default', '--from', 'default/dig', '--kubeconfig', cluster.kubeconfig],
      { env },
    );
    assert.match(told, /NXDOMAIN: there is no Service default\/default/);
    assert.match(told, /NOERROR: Service default\/kubernetes \(ClusterIP\)/);
  });

  test('kdig from the node asks over UDP and TCP, with EDNS and cookies', {
    skip: which('kdig') === undefined ? 'needs kdig (Debian package knot-dnsutils)' : false,
  }, async () => {
    const kdig = async (...args: string[]): Promise<string> =>
      runOk('ip', ['netns', 'exec', `fairlead-${cluster.name}-server-0`, 'kdig', '@10.41.0.2', ...args]);
    for (const transport of ['+notcp', '+tcp']) {
      const answer = await kdig(transport, '+edns', '+cookie', 'kubernetes.default.svc.cluster.local', 'A');
      assert.match(answer, /status: NOERROR/);
      assert.match(answer, /EDNS PSEUDOSECTION|Version: 0; flags:/);
      assert.match(answer, /10\.43\.0\.1\n/);
    }
    assert.match(await kdig('cluster.local', 'SOA', '+short'), /^ns\.dns\.cluster\.local\. hostmaster/);
  });
});
