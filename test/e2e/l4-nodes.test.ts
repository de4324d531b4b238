/** Services on a real cluster of four nodes, and a node that is cut off from it and comes back. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { importImages, leftovers, planCluster, type TestCluster } from '../support/cluster.ts';
import { eventually, missingForCluster, runOk } from '../support/shell.ts';
import { type Agent, dropMs, startAgentIn } from './l4-network.ts';
import { comesTrue } from './l4-proxy.ts';

const missing = missingForCluster();
const nodes = ['server-0', 'agent-0', 'agent-1', 'agent-2'] as const;
type NodeName = (typeof nodes)[number];
const addressOf = (node: NodeName): string => `10.41.0.${2 + nodes.indexOf(node)}`;
const zoneOf: Readonly<Record<NodeName, string>> = {
  'server-0': 'east',
  'agent-0': 'east',
  'agent-1': 'west',
  'agent-2': 'west',
};
/** The nodes of the second DaemonSet. */
const half: readonly NodeName[] = ['server-0', 'agent-1'];
/** The network's own address: a client outside the cluster. */
const outsider = '10.41.0.1';
/** So many that each of four endpoints is missed with a chance below 1 in 10^7. */
const enough = 64;
/**
 * Three Lease renewals of a node must be late before it is missed, by its own fault: with a few seconds a busy machine is enough, and
 * then Services of healthy nodes lose their endpoints.
 */
const graceSeconds = 16;

/** Each Pod answers with its node's name and the client's address. */
const caddyfile = `:8080 {
  respond "{$NODE} {remote_host}"
}
`;

function daemonSet(name: string, nodeSelector: Readonly<Record<string, string>>) {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name },
    spec: {
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          nodeSelector,
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              name: 'caddy',
              image: 'caddy:latest',
              imagePullPolicy: 'IfNotPresent',
              command: ['caddy', 'run', '--config', '/config/Caddyfile'],
              env: [{ name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
              volumeMounts: [{ name: 'config', mountPath: '/config' }],
              readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
            },
          ],
          volumes: [{ name: 'config', configMap: { name: 'caddyfile' } }],
        },
      },
    },
  };
}

function service(name: string, app: string, spec: object = {}) {
  const ports = [{ port: 80, targetPort: 8080 }];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { selector: { app }, ports, ...spec },
  };
}

const nodePort = (number: number) => [{ port: 80, targetPort: 8080, nodePort: number }];
const localNodePort = { type: 'NodePort', externalTrafficPolicy: 'Local', ports: nodePort(30_302) };
const balanced = (port: number, spec: object = {}) => ({
  type: 'LoadBalancer',
  ports: [{ port, targetPort: 8080 }],
  ...spec,
});

const objects = [
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'caddyfile' }, data: { Caddyfile: caddyfile } },
  daemonSet('all', {}),
  daemonSet('half', { half: 'yes' }),
  service('all', 'all', { type: 'NodePort', ports: nodePort(30_301) }),
  service('local', 'half', localNodePort),
  service('inner', 'half', { internalTrafficPolicy: 'Local' }),
  service('zone', 'all', { trafficDistribution: 'PreferSameZone' }),
  service('node', 'all', { trafficDistribution: 'PreferSameNode' }),
  service('lb', 'all', balanced(8088)),
  service('lb-local', 'half', balanced(8089, { externalTrafficPolicy: 'Local' })),
];

describe('l4 on four nodes', { skip: missing ?? false, timeout: 600_000 }, () => {
  let cluster: TestCluster;
  const children: ChildProcess[] = [];
  const agents = new Map<string, Agent>();
  const clusterIps = new Map<string, string>();

  before(async () => {
    cluster = await planCluster({ name: `l4n${process.pid}`, agents: 3, nodeGraceSeconds: graceSeconds });
    await cluster.up();
    await importImages(cluster, ['caddy']);
    for (const node of nodes) {
      const labels = [
        `topology.kubernetes.io/zone=${zoneOf[node]}`,
        ...(half.includes(node) ? ['half=yes'] : []),
      ];
      await cluster.kubectl(`label node ${node} ${labels.join(' ')}`);
    }
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    await cluster.kubectl('apply -f -', { input: JSON.stringify(list) });
    for (const name of ['all', 'half']) {
      await cluster.kubectl(`rollout status daemonset/${name} --timeout=120s`);
    }
    for (const name of ['net', ...nodes]) {
      const { child, agent } = await startAgentIn(`fairlead-${cluster.name}-${name}`, name, []);
      children.push(child);
      agents.set(name === 'net' ? 'outside' : name, agent);
    }
    for (const line of (await cluster.kubectl('get services --no-headers')).trim().split('\n')) {
      const [name = '', , clusterIp = ''] = line.split(/\s+/);
      clusterIps.set(name, clusterIp);
    }
    await whole();
  });

  /** All nodes are well, and every one of them knows of all Pods: a rollout is over before the last proxy has heard of it. */
  async function whole(): Promise<void> {
    for (const node of nodes) {
      await comesTrue(async () => (await readyOf(node)) === 'True', `${node} is ready`);
    }
    for (const from of nodes) {
      for (const [name, want] of [
        ['all', nodes],
        ['inner', half.includes(from) ? [from] : ['ETIMEDOUT']],
        ['node', [from]],
      ] as const) {
        const told = async () =>
          nodesIn(await asked(from, ipOf(name), 80, dropMs)).join() === sorted(want).join();
        await comesTrue(told, `${from} knows Service ${name}`);
      }
    }
  }

  const readyOf = async (node: NodeName): Promise<string> =>
    cluster.kubectl(`get node ${node} -o jsonpath={.status.conditions[?(@.type=="Ready")].status}`);

  after(async () => {
    for (const child of children) {
      const ended = once(child, 'close');
      child.kill('SIGKILL');
      await ended;
    }
    await cluster.down();
    assert.deepEqual(await leftovers(cluster), [], 'nothing is left behind');
  });

  type Answer = { readonly node: string; readonly client: string };

  async function ask(
    from: NodeName | 'outside',
    host: string,
    port: number,
    waitMs?: number,
  ): Promise<Answer> {
    const text = await agents.get(from)?.http(host, port, waitMs);
    const [status = '', node = '', client = ''] = (text ?? '').split(' ');
    return status === '200' ? { node, client } : { node: status, client: '' };
  }

  async function asked(
    from: NodeName | 'outside',
    host: string,
    port: number,
    waitMs?: number,
  ): Promise<readonly Answer[]> {
    const answers: Answer[] = [];
    for (let count = 0; count < enough; count++) {
      const answer = await ask(from, host, port, waitMs);
      answers.push(answer);
      if (answer.client === '') break; // one failure tells
    }
    return answers;
  }

  const nodesIn = (answers: readonly Answer[]): readonly string[] =>
    [...new Set(answers.map(({ node }) => node))].toSorted((a, b) => (a < b ? -1 : 1));
  const sorted = (names: readonly string[]): readonly string[] => names.toSorted((a, b) => (a < b ? -1 : 1));
  const ipOf = (name: string): string => clusterIps.get(name) ?? '';

  test('a cluster IP spreads over the Pods of all nodes, from every node', async () => {
    for (const from of nodes) {
      assert.deepEqual(nodesIn(await asked(from, ipOf('all'), 80)), sorted(nodes), from);
    }
  });

  test('a node port answers at every node with the Pods of all', async () => {
    for (const at of nodes) {
      assert.deepEqual(nodesIn(await asked('outside', addressOf(at), 30_301)), sorted(nodes), at);
    }
    assert.deepEqual(nodesIn(await asked('agent-0', '127.0.0.1', 30_301)), sorted(nodes));
  });

  test('externalTrafficPolicy Local: the node’s own Pod sees the client; other nodes drop; insiders reach all', async () => {
    for (const at of nodes) {
      const answers = await asked('outside', addressOf(at), 30_302, half.includes(at) ? undefined : dropMs);
      if (half.includes(at)) {
        assert.deepEqual(nodesIn(answers), [at]);
        assert.deepEqual([...new Set(answers.map(({ client }) => client))], [outsider], at);
      } else assert.deepEqual(nodesIn(answers), ['ETIMEDOUT'], at);
    }
    assert.deepEqual(nodesIn(await asked('agent-0', addressOf('agent-0'), 30_302)), sorted(half));
  });

  test('internalTrafficPolicy Local: the own node’s Pod or none', async () => {
    for (const from of nodes) {
      const [want, waitMs] = half.includes(from) ? [from] : ['ETIMEDOUT', dropMs];
      assert.deepEqual(nodesIn(await asked(from, ipOf('inner'), 80, waitMs)), [want], from);
    }
  });

  test('trafficDistribution keeps to the zone, and to the node', async () => {
    for (const from of nodes) {
      const zone = nodes.filter((node) => zoneOf[node] === zoneOf[from]);
      assert.deepEqual(nodesIn(await asked(from, ipOf('zone'), 80)), sorted(zone), from);
      assert.deepEqual(nodesIn(await asked(from, ipOf('node'), 80)), [from]);
    }
  });

  test('ServiceLB gives the nodes’ addresses, under policy Local of those with a Pod, and they all answer', async () => {
    const ipsOf = async (name: string): Promise<readonly string[]> =>
      (await cluster.kubectl(`get service ${name} -o jsonpath={.status.loadBalancer.ingress[*].ip}`)).split(
        ' ',
      );
    await eventually(async () => assert.deepEqual(await ipsOf('lb'), nodes.map(addressOf)));
    await eventually(async () => assert.deepEqual(await ipsOf('lb-local'), half.map(addressOf)));
    for (const at of nodes) {
      assert.deepEqual(nodesIn(await asked('outside', addressOf(at), 8088)), sorted(nodes), at);
    }
    for (const at of half) {
      const answers = await asked('outside', addressOf(at), 8089);
      assert.deepEqual([nodesIn(answers), answers[0]?.client], [[at], outsider]);
    }
    const port = Number(
      await cluster.kubectl('get service lb-local -o jsonpath={.spec.healthCheckNodePort}'),
    );
    const health = async (at: NodeName) =>
      (await agents.get('outside')?.http(addressOf(at), port))?.slice(0, 3);
    for (const at of nodes) assert.equal(await health(at), half.includes(at) ? '200' : '503', at);
  });

  test('Endpoints written by hand are mirrored, and packets go where they say', async () => {
    const podIp = async (node: NodeName): Promise<string> =>
      cluster.kubectl(
        `get pods -l app=all --field-selector spec.nodeName=${node} -o jsonpath={.items[0].status.podIP}`,
      );
    const write = async (node: NodeName) => {
      const subsets = [{ addresses: [{ ip: await podIp(node) }], ports: [{ port: 8080 }] }];
      const object = { apiVersion: 'v1', kind: 'Endpoints', metadata: { name: 'by-hand' }, subsets };
      await cluster.kubectl('apply -f -', { input: JSON.stringify(object) });
    };
    const spec = { ports: [{ port: 80, targetPort: 8080 }] };
    const noSelector = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'by-hand' }, spec };
    await cluster.kubectl('apply -f -', { input: JSON.stringify(noSelector) });
    const ip = await cluster.kubectl('get service by-hand -o jsonpath={.spec.clusterIP}');
    for (const node of ['agent-1', 'server-0'] as const) {
      await write(node);
      for (const from of nodes) {
        const only = async () => nodesIn(await asked(from, ip, 80)).join() === node;
        await comesTrue(only, `${from} goes to ${node}`);
      }
    }
    const by = await cluster.kubectl(
      'get endpointslices -l kubernetes.io/service-name=by-hand -o jsonpath={.items[*].metadata.labels.endpointslice\\.kubernetes\\.io/managed-by}',
    );
    assert.equal(by, 'endpointslicemirroring-controller.k8s.io');
    await cluster.kubectl('delete endpoints by-hand');
    for (const from of nodes) {
      const refused = async () => (await ask(from, ip, 80)).node === 'ECONNREFUSED';
      await comesTrue(refused, `${from} is refused`);
    }
  });

  test('what every node has to say of a Service is one Event, in which all of them count', async () => {
    for (const name of ['claims-first', 'claims-late']) {
      const claim = service(name, 'all', { externalIPs: ['192.0.2.50'] });
      await cluster.kubectl('apply -f -', { input: JSON.stringify(claim) });
    }
    const told = () =>
      cluster.kubectl(
        'get events --field-selector reason=AddressTaken -o jsonpath={range.items[*]}{.involvedObject.name}:{.count},{end}',
      );
    await comesTrue(async () => (await told()) === `claims-late:${nodes.length},`, 'one Event of four nodes');
    await cluster.kubectl('delete service claims-first claims-late');
  });

  test('a port of SCTP: where the nodes’ kernel does not track it, Service and nodes say so while there is such a port', async () => {
    const tel = (protocol: string) => ({
      ...service('tel', 'all', { ports: [{ port: 2905, targetPort: 8080, protocol }] }),
    });
    const told = () =>
      cluster.kubectl(
        'get service tel -o jsonpath={range.status.conditions[*]}{.type}:{.status}:{.reason}:{.message}{end}',
      );
    await cluster.kubectl('apply -f -', { input: JSON.stringify(tel('SCTP')) });
    const names = await readdir('/proc/sys/net/netfilter');
    if (names.includes('nf_conntrack_sctp_timeout_established')) {
      assert.equal(await told(), '');
    } else {
      const lost =
        /^fairlead\.dev\/SCTPUnavailable:True:NoNodeServesSCTP:SCTP port 2905 is not served on any node: the kernel /;
      await comesTrue(async () => lost.test(await told()), 'the Service says that nobody serves its port');
      const nodesTelling = await cluster.kubectl(
        'get nodes -o jsonpath={.items[*].status.conditions[?(@.type=="SCTPUnavailable")].reason}',
      );
      assert.equal(nodesTelling, nodes.map(() => 'KernelWithoutSCTP').join(' '));
    }
    await cluster.kubectl('apply -f -', { input: JSON.stringify(tel('TCP')) });
    await comesTrue(async () => (await told()) === '', 'a Service without such a port says nothing');
    await cluster.kubectl('delete service tel');
  });

  test('explain tells the same, for a cluster by its name', async () => {
    const { name } = cluster;
    const said = await cluster.cli([
      'explain',
      'service',
      'default/local',
      '--name',
      name,
      '--from',
      outsider,
    ]);
    assert.match(said, /Node agent-0[^]*?10\.41\.0\.3:30302\/tcp: dropped: /);
    assert.match(said, /Node agent-1[^]*?10\.41\.0\.4:30302\/tcp: goes to 10\.42\.\d+\.\d+:8080$/m);
  });

  test('nodes are cut off, by their cable and by their interface: their Pods leave, nobody’s request fails after that, and they return', async () => {
    // One of each zone, at once: both are missed after the same time.
    const pulled: NodeName = 'agent-2';
    const cut: readonly NodeName[] = [pulled, 'agent-0'];
    const rest = nodes.filter((node) => !cut.includes(node));
    const link = async (state: 'up' | 'down'): Promise<void> => {
      for (const node of cut) {
        const [netns, port] = node === pulled ? ['net', `node${nodes.indexOf(node)}`] : [node, 'eth0'];
        await runOk('ip', ['-n', `fairlead-${cluster.name}-${netns}`, 'link', 'set', port, state]);
      }
    };
    await link('down');
    for (const node of cut) {
      await comesTrue(async () => (await readyOf(node)) === 'Unknown', `${node} is missed`);
    }
    for (const from of rest) {
      const told = async () => nodesIn(await asked(from, ipOf('all'), 80, dropMs)).join();
      await comesTrue(async () => (await told()) === sorted(rest).join(), `${from} sends nothing there`);
    }
    // From here on everything is answered.
    for (const from of rest) {
      assert.deepEqual(nodesIn(await asked(from, ipOf('all'), 80)), sorted(rest), from);
      assert.deepEqual(nodesIn(await asked('outside', addressOf(from), 30_301)), sorted(rest), from);
      assert.deepEqual(nodesIn(await asked(from, ipOf('zone'), 80)), [from], 'what is left of the zone');
    }
    const alone = await asked(pulled, ipOf('node'), 80);
    assert.deepEqual(nodesIn(alone), [pulled], 'on the lonely node its own Pod answers');
    await link('up');
    for (const node of cut) {
      await comesTrue(async () => (await readyOf(node)) === 'True', `${node} is back`);
      const wayOut = () =>
        runOk('ip', ['-n', `fairlead-${cluster.name}-${node}`, 'route', 'show', 'default']);
      await comesTrue(
        async () => (await wayOut()).startsWith(`default via ${outsider} `),
        'its way out, too',
      );
    }
    for (const from of nodes) {
      const told = async () => nodesIn(await asked(from, ipOf('all'), 80, dropMs)).join();
      await comesTrue(async () => (await told()) === sorted(nodes).join(), `${from} reaches all again`);
    }
    for (const node of cut) {
      assert.deepEqual(nodesIn(await asked('outside', addressOf(node), 30_301)), sorted(nodes));
    }
  });
});
