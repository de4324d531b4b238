/** Clusters whose nodes, Pods and Services have IPv6 addresses: beside IPv4 ones on three nodes, and alone. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Pod } from '../../src/api/gen/core-v1.ts';
import { nodesOf } from '../../src/cluster/config.ts';
import { ipv6Problem } from '../../src/cluster/prerequisites.ts';
import { addressIn, type FamilyRanges, rangesOf } from '../../src/cluster/ranges.ts';
import {
  examples,
  fairlead,
  importImages,
  leftovers,
  planCluster,
  type TestCluster,
} from '../support/cluster.ts';
import { get, startLoad } from '../support/load.ts';
import { eventually, missingForCluster, run, runOk } from '../support/shell.ts';
import { type Agent, startAgentIn } from './l4-network.ts';

const skip = missingForCluster() ?? ipv6Problem() ?? false;
type PodList = { readonly items: readonly Pod[] };

const isIpv6 = (address: string): boolean => address.includes(':');
const bracketed = (address: string): string => (isIpv6(address) ? `[${address}]` : address);

/** Services of the Deployment in examples/echo.yaml, which tells who answered and whom it answered. */
function service(name: string, spec: object): object {
  const ports = [
    { name: 'http', port: 80, targetPort: 'http' },
    { name: 'udp', port: 7, targetPort: 'echo-udp', protocol: 'UDP' },
  ];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { selector: { app: 'echo' }, ports, ...spec },
  };
}

const web = (port: number) => ({ ports: [{ port, targetPort: 'http' }] });
const bothFamilies = { ipFamilyPolicy: 'RequireDualStack' };
const objects = [
  service('only6', { ipFamilies: ['IPv6'] }),
  service('prefer', { ipFamilyPolicy: 'PreferDualStack' }),
  service('first6', { ...bothFamilies, ipFamilies: ['IPv6', 'IPv4'] }),
  service('peers', { ...bothFamilies, clusterIP: 'None' }),
  service('open', { ...bothFamilies, type: 'LoadBalancer', ...web(8081) }),
  service('published6', { type: 'LoadBalancer', ipFamilies: ['IPv6'], ...web(8080) }),
  service('local', { ...bothFamilies, type: 'NodePort', externalTrafficPolicy: 'Local', ...web(80) }),
  {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: 'echo' },
    spec: { defaultBackend: { service: { name: 'only6', port: { number: 80 } } } },
  },
];

/** A Pod that has a port of its node. */
const hostPort = 9180;
const onHostPort = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'host-port' },
  spec: {
    nodeName: 'agent-0',
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: 'echo',
        image: 'fairlead.dev/echo:1',
        imagePullPolicy: 'IfNotPresent',
        ports: [{ containerPort: 8080, hostPort }],
      },
    ],
  },
};

/** A Pod with a shell, and a Deployment of the echo server with its Services. */
async function fill(cluster: TestCluster, items: readonly object[]): Promise<void> {
  await importImages(cluster, ['echo', 'alpine']);
  await cluster.kubectl(`apply -f ${join(examples, 'echo.yaml')}`);
  const list = { apiVersion: 'v1', kind: 'List', items };
  await cluster.kubectl('apply -f -', { input: JSON.stringify(list) });
  await cluster.kubectl(
    'run shell --image alpine:latest --image-pull-policy IfNotPresent --command -- sleep 100000',
  );
  await cluster.kubectl('rollout status deployment/echo --timeout=90s');
  await cluster.kubectl('wait --for=condition=Ready pod/shell --timeout=90s');
}

/** A shell line in the Pod `shell`. */
const inPod = (cluster: TestCluster, line: string): Promise<string> =>
  runOk('kubectl', ['exec', 'shell', '--', 'sh', '-c', line], { env: { KUBECONFIG: cluster.kubeconfig } });

describe('a dual-stack cluster of three nodes', { skip, timeout: 300_000 }, () => {
  const name = `dual${process.pid}`;
  const config = { name, agents: 2, ipFamilies: 'dual' } as const;
  const nodes = nodesOf(config);
  const [v4, v6] = rangesOf(config) as [FamilyRanges, FamilyRanges];
  const agents = new Map<string, Agent>();
  const children: ChildProcess[] = [];
  let cluster: TestCluster;
  let output = '';

  before(async () => {
    cluster = await planCluster({ name, agents: config.agents, upArguments: ['--dual-stack'] });
    output = await cluster.up();
    await fill(cluster, [...objects, onHostPort]);
    echoPods = await readPods();
    for (const [as, netns] of [
      ['outside', `fairlead-${name}-net`],
      ...nodes.map((node) => [node.name, node.netns] as const),
    ] as const) {
      const { child, agent } = await startAgentIn(netns, as, []);
      children.push(child);
      agents.set(as, agent);
    }
  });

  after(async () => {
    for (const child of children) {
      const ended = once(child, 'close');
      child.kill('SIGKILL');
      await ended;
    }
    await cluster.down();
    assert.deepEqual(await leftovers(cluster), [], 'nothing is left behind');
  });

  const words = async (args: string): Promise<readonly string[]> =>
    (await cluster.kubectl(args)).split(/\s+/).filter((word) => word !== '');
  const readPods = async (): Promise<readonly Pod[]> =>
    (JSON.parse(await cluster.kubectl('get pods -l app=echo -o json')) as PodList).items;
  const namesOf = (pods: readonly Pod[]): readonly string[] =>
    pods.map(({ metadata }) => metadata?.name ?? '').toSorted();
  const ipsOf = ({ status }: Pod): readonly string[] => status?.podIPs?.map(({ ip }) => ip) ?? [];
  /** Those of the Deployment; the rolling update comes last. */
  let echoPods: readonly Pod[] = [];
  const clusterIps = async (service: string): Promise<readonly string[]> =>
    words(`get service ${service} -o jsonpath={.spec.clusterIPs[*]}`);

  type Answer = { readonly pod: string; readonly peer: string };

  /** Who answers over a new connection, and whom it sees. The error's code where nobody does. */
  async function ask(from: string, host: string, port: number): Promise<Answer> {
    const text = (await agents.get(from)?.http(host, port)) ?? '';
    const [, pod = text, peer = ''] = /^200 pod: (\S+)[^]*?\npeer: (\S+)/.exec(text) ?? [];
    return { pod, peer };
  }

  /** Until each Pod of the Deployment has answered; whoever is no such Pod fails. */
  async function everyPodAnswers(what: string, answer: () => Promise<string>): Promise<void> {
    const pods = namesOf(echoPods);
    const seen = new Set<string>();
    await eventually(
      async () => {
        const pod = await answer();
        assert.ok(pods.includes(pod), `${what}: ${pod}`);
        seen.add(pod);
        assert.deepEqual([...seen].toSorted(), pods, what);
      },
      { everyMs: 1 },
    );
  }

  test('nodes have addresses and Pod ranges of both families', async () => {
    assert.match(output, /3 nodes with IPv4 and IPv6 addresses/);
    for (const { name: node, addresses } of nodes) {
      const internal = '{.status.addresses[?(@.type=="InternalIP")].address}';
      assert.deepEqual(await words(`get node ${node} -o jsonpath=${internal}`), addresses);
      const [range4 = '', range6 = '', ...more] = await words(
        `get node ${node} -o jsonpath={.spec.podCIDRs[*]}`,
      );
      assert.match(range4, /^10\.42\.\d+\.0\/24$/);
      assert.ok(range6.startsWith(v6.pods.replace('00::/56', '')) && range6.endsWith('::/64'), range6);
      assert.deepEqual(more, []);
    }
    const status = await cluster.cli(['status', '--name', name]);
    for (const { addresses } of nodes) assert.ok(status.includes(addresses.join(', ')), status);
  });

  test('Pods have an address of each, and their resolver both of DNS', async () => {
    assert.equal(echoPods.length, 3);
    for (const pod of echoPods) {
      const { spec, status } = pod;
      const ips = ipsOf(pod);
      assert.deepEqual([ips.length, ips.map(isIpv6)], [2, [false, true]], ips.join());
      assert.equal(status?.podIP, ips[0]);
      const node = nodes.find((one) => one.name === spec?.nodeName);
      assert.deepEqual(
        status?.hostIPs?.map(({ ip }) => ip),
        node?.addresses,
      );
    }
    const resolver = await inPod(cluster, 'grep ^nameserver /etc/resolv.conf');
    assert.equal(resolver, `nameserver ${v4.dns}\nnameserver ${v6.dns}\n`);
    const detection = await inPod(cluster, 'cat /proc/sys/net/ipv6/conf/eth0/accept_dad');
    assert.equal(detection, '0\n', 'no second is spent on looking for another owner of the address');
  });

  test('every policy gives a Service the addresses that it asks for', async () => {
    const families = async (service: string) => (await clusterIps(service)).map(isIpv6);
    assert.deepEqual(await families('echo'), [false], 'unsaid');
    assert.deepEqual(await families('only6'), [true]);
    assert.deepEqual(await families('prefer'), [false, true]);
    assert.deepEqual(await families('first6'), [true, false]);
    assert.deepEqual(await words('get service kube-dns -n kube-system -o jsonpath={.spec.clusterIPs[*]}'), [
      v4.dns,
      v6.dns,
    ]);
  });

  test('by each address all Pods answer, from every node and from a Pod, TCP and UDP', async () => {
    for (const service of ['echo', 'only6', 'prefer', 'first6']) {
      for (const ip of await clusterIps(service)) {
        for (const { name: from } of nodes) {
          await everyPodAnswers(`${from} to ${service} ${ip}`, async () => (await ask(from, ip, 80)).pod);
          if (service === 'echo') continue; // its port of UDP is the same, but this is about the others
          const datagram = async () => (await agents.get(from)?.udp(ip, 7))?.split(' ')[0] ?? 'no answer';
          await everyPodAnswers(`${from} to ${service} ${ip} by UDP`, datagram);
        }
        const url = `http://${bracketed(ip)}/`;
        const told = await inPod(
          cluster,
          `for i in 1 2 3 4 5 6; do curl -sS --max-time 30 ${url} | head -n 1; done`,
        );
        assert.equal(told.match(/^pod: echo-\S+$/gm)?.length, 6, told);
      }
    }
  });

  test('names have addresses of both families, by both of DNS’s own', async () => {
    const [first = '', second = ''] = await clusterIps('prefer');
    const questions = [v4.dns, v6.dns]
      .flatMap((server) => ['+notcp', '+tcp'].map((transport) => `${transport} @${server}`))
      .flatMap((how) => [
        { question: `${how} prefer A`, want: [first] },
        { question: `${how} prefer AAAA`, want: [second] },
      ]);
    const ips = echoPods.flatMap(ipsOf).toSorted();
    const asked = [
      ...questions,
      { question: `-x ${second}`, want: ['prefer.default.svc.cluster.local.'] },
      { question: 'only6 A', want: [] },
      { question: 'peers A', want: ips.filter((ip) => !isIpv6(ip)) },
      { question: 'peers AAAA', want: ips.filter(isIpv6) },
    ];
    const lines = asked.map(({ question }) => `echo $(dig +search +short ${question} | sort)`);
    const answers = (await inPod(cluster, lines.join('; '))).trimEnd().split('\n');
    for (const [index, { question, want }] of asked.entries()) {
      assert.deepEqual(
        answers[index]
          ?.split(' ')
          .filter((word) => word !== '')
          .toSorted(),
        want,
        question,
      );
    }
    const curl = "curl -sS --max-time 30 -o /dev/null -w '%{http_code} %{remote_ip} '";
    assert.equal(
      await inPod(
        cluster,
        ['-4', '-6'].map((family) => `${curl} ${family} http://prefer.default/`).join(';'),
      ),
      `200 ${first} 200 ${second} `,
    );
  });

  test('node ports and load balancers answer at both addresses of every node', async () => {
    const nodePort = Number(await cluster.kubectl('get service open -o jsonpath={.spec.ports[0].nodePort}'));
    const ingress = () => words('get service open -o jsonpath={.status.loadBalancer.ingress[*].ip}');
    const all = nodes.flatMap(({ addresses }) => addresses);
    await eventually(async () => assert.deepEqual((await ingress()).toSorted(), all.toSorted()));
    for (const address of all) {
      for (const port of [nodePort, 8081]) {
        const what = `outside to ${address} port ${port}`;
        await everyPodAnswers(what, async () => (await ask('outside', address, port)).pod);
      }
    }
  });

  test('under externalTrafficPolicy Local the node’s own Pod sees the client’s IPv6 address', async () => {
    const nodePort = Number(await cluster.kubectl('get service local -o jsonpath={.spec.ports[0].nodePort}'));
    for (const { addresses, name: node } of nodes) {
      const own = echoPods.find(({ spec }) => spec?.nodeName === node)?.metadata?.name;
      assert.ok(own !== undefined, `${node} has a Pod`);
      const [at4 = '', at6 = ''] = addresses;
      const answers = async () => [await ask('outside', at4, nodePort), await ask('outside', at6, nodePort)];
      await eventually(async () =>
        assert.deepEqual(await answers(), [
          { pod: own, peer: v4.gateway },
          { pod: own, peer: v6.gateway },
        ]),
      );
    }
  });

  test('a port of the node leads to its Pod at both addresses', async () => {
    for (const address of nodes[1]?.addresses ?? []) {
      const answer = async () => assert.equal((await ask('outside', address, hostPort)).pod, 'host-port');
      await eventually(answer);
    }
  });

  test('published ports lead to Services and Ingresses from both loopbacks, whatever their family', async () => {
    for (const host of ['127.0.0.1', '[::1]']) {
      for (const [what, port] of [
        ['a LoadBalancer of IPv6 alone', cluster.ports.lb],
        ['an Ingress', cluster.ports.http],
      ] as const) {
        const url = `http://${host}:${port}/`;
        await everyPodAnswers(`${what} at ${url}`, async () => String((await get(url)).headers['x-pod']));
      }
    }
    for (const address of nodes.flatMap(({ addresses }) => addresses)) {
      const answer = async () => assert.match((await ask('outside', address, 80)).pod, /^echo-/);
      await eventually(answer);
    }
  });

  test('an address of the cluster that nobody has is refused at once and does not leave it', async () => {
    const service = addressIn(v6.services, 0xffff);
    const pod = addressIn(v6.pods, 0xffff); // of the range of the first node
    const world = '2001:db8::1'; // kept for examples
    const lines = [service, pod, world].map(
      (address) => `curl -s --max-time 30 http://[${address}]/; echo ${address} $?`,
    );
    // 7 is curl's number for "could not connect"; a time-out has another.
    assert.equal(await inPod(cluster, lines.join('; ')), `${service} 7\n${pod} 7\n${world} 7\n`);
  });

  test('a rolling update fails no request over IPv6: published, by the Service, by the Ingress', async () => {
    const lb = startLoad({ url: `http://[::1]:${cluster.ports.lb}/`, keepAlive: false, concurrency: 2 });
    const ingress = startLoad({
      url: `http://[::1]:${cluster.ports.http}/`,
      keepAlive: true,
      concurrency: 2,
    });
    const done = '/tmp/done';
    const inside = inPod(
      cluster,
      `n=0; while [ ! -e ${done} ]; do n=$((n+1)); c=$(curl -6 -s --max-time 30 -o /dev/null -w '%{http_code}' http://prefer/); [ $c = 200 ] || echo bad $c; done; echo total $n`,
    );
    const before = namesOf(echoPods);
    await cluster.kubectl('rollout restart deployment/echo');
    await cluster.kubectl('rollout status deployment/echo --timeout=90s');
    await eventually(async () =>
      assert.equal(namesOf(await readPods()).filter((pod) => before.includes(pod)).length, 0),
    );
    await inPod(cluster, `touch ${done}`);
    echoPods = await readPods();
    for (const [what, stop] of [
      ['Service', lb],
      ['Ingress', ingress],
    ] as const) {
      const { requests, failures } = await stop();
      assert.deepEqual(failures.slice(0, 3), [], `${what}: ${failures.length} of ${requests} failed`);
      assert.ok(requests > 20, `${what}: only ${requests} requests were made`);
    }
    assert.match(await inside, /^total \d\d+\n$/);
  });

  test('explain knows the ranges of both families', async () => {
    const said = await cluster.cli(['explain', 'service', 'default/prefer', '--name', name]);
    assert.ok(
      (await clusterIps('prefer')).every((ip) => said.includes(`${bracketed(ip)}:80/tcp`)),
      said,
    );
    assert.doesNotMatch(said, /not a Service|no rule/);
  });

  test('a second up with other families changes nothing and says so', async () => {
    const { stderr, stdout } = await run(
      fairlead,
      ['up', '--name', name, '--ip-family', 'ipv4', '--no-merge'],
      { env: { KUBECONFIG: cluster.kubeconfig } },
    );
    assert.match(stderr, /--ip-family not applied/);
    assert.match(stdout, /was running: 3 nodes with IPv4 and IPv6 addresses/);
  });

  test('an interface that was down has its IPv6 addresses and routes again', async () => {
    const node = nodes[2];
    assert.ok(node !== undefined);
    const ip = (args: string) => runOk('ip', ['-n', node.netns, ...args.split(' ')]);
    const routes = async () => (await ip('-6 route show')).replaceAll(/ dev veth\w+|.*fe80.*\n/g, '');
    const before = await routes();
    assert.match(before, /^default via /m);
    await ip('link set eth0 down');
    assert.notEqual(await routes(), before);
    await ip('link set eth0 up');
    await eventually(async () => assert.equal(await routes(), before));
    await everyPodAnswers('outside', async () => (await ask('outside', node.addresses[1] ?? '', 8081)).pod);
  });
});

describe('a cluster of IPv6 alone', { skip, timeout: 300_000 }, () => {
  const name = `six${process.pid}`;
  const [v6] = rangesOf({ name, ipFamilies: 'ipv6' }) as [FamilyRanges];
  let cluster: TestCluster;

  before(async () => {
    cluster = await planCluster({ name, upArguments: ['--ip-family', 'ipv6'] });
    await cluster.up();
    await fill(cluster, [
      service('published', { type: 'LoadBalancer', ...web(8080) }),
      ...objects.filter((object) => 'kind' in object && object.kind === 'Ingress'),
      service('only6', {}),
    ]);
  });

  after(async () => {
    await cluster.down();
    assert.deepEqual(await leftovers(cluster), [], 'nothing is left behind');
  });

  test('nothing in it has an address of IPv4', async () => {
    const ips = await cluster.kubectl(
      'get nodes,pods,services -A -o jsonpath={.items[*].status.addresses[?(@.type=="InternalIP")].address},{.items[*].status.podIPs[*].ip},{.items[*].spec.clusterIPs[*]}',
    );
    assert.doesNotMatch(ips, /\d+\.\d+\.\d+\.\d+/);
    assert.ok(ips.includes(v6.dns) && ips.includes(v6.kubernetes), ips);
    assert.equal(await inPod(cluster, 'grep ^nameserver /etc/resolv.conf'), `nameserver ${v6.dns}\n`);
  });

  test('names, the API, published ports and the Ingress work', async () => {
    assert.match(await inPod(cluster, 'curl -sS --max-time 30 http://echo/'), /^pod: echo-/);
    assert.match(await inPod(cluster, 'curl -sSk --max-time 30 https://kubernetes.default/version'), /"1"/);
    for (const host of ['127.0.0.1', '[::1]']) {
      for (const port of [cluster.ports.lb, cluster.ports.http]) {
        await eventually(async () => assert.equal((await get(`http://${host}:${port}/`)).status, 200));
      }
    }
    const other = await run(
      'kubectl',
      [
        'expose',
        'deployment',
        'echo',
        '--name=four',
        '--port=80',
        '--overrides={"spec":{"ipFamilies":["IPv4"]}}',
      ],
      { env: { KUBECONFIG: cluster.kubeconfig } },
    );
    assert.match(other.stderr, /not configured on this cluster/);
  });
});
