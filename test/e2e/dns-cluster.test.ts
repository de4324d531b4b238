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
  const apply = async (object: object): Promise<string> =>
    cluster.kubectl('apply -f -', { input: JSON.stringify(object) });
  const podOf = (name: string, spec: object): object => ({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name } },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: 'alpine:latest', command: ['sleep', '3600'] }],
      ...spec,
    },
  });
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

  test('the Pod of DNS is still the same, and ready again', async () => {
    const dnsPods = ['-n', 'kube-system', '-l', 'k8s-app=kube-dns', '--no-headers'];
    await eventually(async () => {
      assert.match(await kubectl('get', 'pods', ...dnsPods), /^\S+\s+1\/1\s+Running/);
    });
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

  test('kdig inside a Pod asks the cluster over both transports', async () => {
    const kdig = async (...args: string[]): Promise<string> =>
      (await kubectl('exec', 'dig', '--', 'kdig', ...args)).trim();
    for (const transport of ['+notcp', '+tcp']) {
      const name = 'kubernetes.default.svc.cluster.local';
      assert.equal(await kdig(transport, '+short', name), '10.43.0.1', transport);
      assert.match(await kdig(transport, 'gone.default.svc.cluster.local'), /status: NXDOMAIN/, transport);
    }
    assert.match(await kdig('-x', '10.43.0.1', '+short'), /^kubernetes\.default\.svc\.cluster\.local\.$/);
  });

  test('with no way out a Pod of dnsPolicy Default does not get the resolver settings of the machine', async () => {
    const own = ['run', 'default-dns', '--image=alpine:latest', '--restart=Never'];
    const overrides = `--overrides=${JSON.stringify({ spec: { dnsPolicy: 'Default' } })}`;
    await kubectl(...own, overrides, '--command', '--', 'sleep', '3600');
    await kubectl('wait', '--for=condition=Ready', 'pod/default-dns', '--timeout=60s');
    const file = await kubectl('exec', 'default-dns', '--', 'cat', '/etc/resolv.conf');
    assert.equal(file, 'nameserver 127.0.0.1\n');
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
    const named = ['explain', 'dns', 'kubernetes.default', '--from', 'default/dig', '--name', cluster.name];
    assert.equal(await runOk(fairlead, named, { env: { KUBECONFIG: '/dev/null' } }), told, 'or by its name');
    assert.match(told, /NXDOMAIN: there is no Service default\/default/);
    assert.match(told, /NOERROR: Service default\/kubernetes \(ClusterIP\)/);
  });

  const search = 'search default.svc.cluster.local svc.cluster.local cluster.local';
  for (const { name, spec, want } of [
    {
      name: 'first',
      spec: {},
      want: ['nameserver 10.43.0.10', search, 'options ndots:5'],
    },
    {
      name: 'added',
      spec: {
        dnsPolicy: 'ClusterFirst',
        dnsConfig: {
          searches: ['kube-system.svc.cluster.local'],
          options: [{ name: 'ndots', value: '2' }, { name: 'timeout', value: '3' }, { name: 'rotate' }],
        },
      },
      want: [
        'nameserver 10.43.0.10',
        `${search} kube-system.svc.cluster.local`,
        'options ndots:2 timeout:3 rotate',
      ],
    },
    {
      name: 'none',
      spec: {
        dnsPolicy: 'None',
        dnsConfig: {
          nameservers: ['10.43.0.10'],
          searches: ['svc.cluster.local'],
          options: [{ name: 'ndots', value: '3' }],
        },
      },
      want: ['nameserver 10.43.0.10', 'search svc.cluster.local', 'options ndots:3'],
    },
    {
      name: 'hostnet',
      spec: { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' },
      want: ['nameserver 10.43.0.10', search, 'options ndots:5'],
    },
    {
      name: 'default',
      spec: {
        dnsPolicy: 'Default',
        dnsConfig: { nameservers: ['10.43.0.10'], searches: ['svc.cluster.local'] },
      },
      want: ['nameserver 10.43.0.10', 'search svc.cluster.local'],
    },
  ]) {
    test(`resolv.conf in a Pod and what it leads to: ${name}`, async () => {
      await apply(podOf(`policy-${name}`, spec));
      await kubectl('wait', '--for=condition=Ready', `pod/policy-${name}`, '--timeout=60s');
      const inPod = async (...args: string[]): Promise<string> =>
        (await kubectl('exec', `policy-${name}`, '--', ...args)).trim();
      assert.deepEqual((await inPod('cat', '/etc/resolv.conf')).split('\n').toSorted(), want.toSorted());
      // By the C library's own search, as any program does it.
      assert.equal(
        await inPod('curl', '-sk', '-o', '/dev/null', '-w', '%{remote_ip}', 'https://kubernetes.default'),
        '10.43.0.1',
      );
      assert.equal(await inPod('dig', '+short', 'kube-dns.kube-system.svc.cluster.local'), '10.43.0.10');
    });
  }

  test('a search list of its own is answered in one round, too', async () => {
    // "kube-dns" as this Pod asks for it first; its last search finds the name, that of other Pods does not.
    const first = 'kube-dns.default.svc.cluster.local';
    const found = async (pod: string): Promise<string> =>
      (await kubectl('exec', pod, '--', 'dig', '+short', first)).trim();
    await eventually(async () => assert.equal(await found('policy-added'), '10.43.0.10'));
    assert.equal(await found('policy-first'), '');
  });

  test('more name servers than a resolv.conf has room for: the rest is left out and told', async () => {
    const nameservers = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
    await apply(podOf('policy-many', { dnsConfig: { nameservers } }));
    await eventually(async () => {
      const told = await kubectl('get', 'events', '--field-selector', 'involvedObject.name=policy-many');
      assert.match(
        told,
        /DNSConfigForming .*Nameserver limits were exceeded.*10\.43\.0\.10 192\.0\.2\.1 192\.0\.2\.2/,
      );
    });
    nameservers.push('192.0.2.4');
    await assert.rejects(
      apply(podOf('policy-more', { dnsConfig: { nameservers } })),
      /must not have more than 3 nameservers/,
    );
  });

  test('1,000 endpoints of a headless Service: a Pod gets all of them, and those that come after them', async () => {
    const name = 'big.default.svc.cluster.local';
    const addresses = async (...how: string[]): Promise<readonly string[]> =>
      (await kubectl('exec', 'dig', '--', 'dig', '+short', ...how, name)).trim().split('\n');
    await apply({
      ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'big' } },
      spec: { clusterIP: 'None', ports: [{ port: 80 }] },
    });
    const slice = (index: number, first: number): object => ({
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
      metadata: { name: `big-${index}`, labels: { 'kubernetes.io/service-name': 'big' } },
      ports: [{ name: '', port: 80, protocol: 'TCP' }],
      endpoints: Array.from({ length: 100 }, (_, number) => ({
        addresses: [`10.42.${first}.${number + 1}`],
      })),
    });
    await apply({
      apiVersion: 'v1',
      kind: 'List',
      items: Array.from({ length: 10 }, (_, index) => slice(index, 100 + index)),
    });
    await eventually(async () => assert.equal(new Set(await addresses()).size, 1000));
    assert.match(await kubectl('exec', 'dig', '--', 'dig', '+ignore', name), /flags: qr aa tc/);
    await apply(slice(3, 203));
    await eventually(async () => {
      const now = await addresses('+tcp');
      assert.ok(now.includes('10.42.203.1') && !now.includes('10.42.103.1'));
    });
    assert.equal(new Set(await addresses()).size, 1000);
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
