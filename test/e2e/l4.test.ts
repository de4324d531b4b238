import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Service, ServiceSpec } from '../../src/api/gen/core-v1.ts';
import type { EndpointSlice } from '../../src/api/gen/discovery-v1.ts';
import { endpointSlices, services } from '../../src/api/resource.ts';
import { createSpawnedNft } from '../../src/l4/apply.ts';
import { compileRuleset } from '../../src/l4/compile.ts';
import { diffElements, diffRulesets } from '../../src/l4/diff.ts';
import { renderChange, renderFull, renderRemoval } from '../../src/l4/render.ts';
import { elementsOf, type Ruleset } from '../../src/l4/ruleset.ts';
import { buildNodeView } from '../../src/model/view.ts';
import { FakeApi } from '../support/fake-api.ts';
import {
  balancedAt,
  nodeFacts,
  serviceOf as modelService,
  sliceOf as modelSlice,
} from '../support/services.ts';
import { run, runOk } from '../support/shell.ts';
import {
  addresses,
  type AgentName,
  createNetwork,
  dropMs,
  type Network,
  type NodeName,
  nodeNames,
  outsidePort,
  podPort,
} from './l4-network.ts';
import {
  complaintLog,
  comesTrue as eventually,
  reasonToSkipPackets,
  seedNodes,
  startProxyIn,
} from './l4-proxy.ts';

const skip = await reasonToSkipPackets();
let network: Network;
let api: FakeApi;
let stopAll: (() => Promise<void>)[] = [];
const complaints: string[] = [];

/** The proxies' warnings and errors: a change that the kernel refuses is mended by a full replacement, so only they tell. */
const log = complaintLog(complaints);
const startProxy = (nodeName: NodeName): Promise<() => Promise<void>> =>
  startProxyIn(network, api, nodeName, { log, resyncIntervalMs: 200 });

before(async () => {
  if (skip !== false) return;
  network = await createNetwork();
  api = new FakeApi();
  seedNodes(api);
  stopAll = await Promise.all(nodeNames.map((name) => startProxy(name)));
});

after(async () => {
  for (const stop of stopAll) await stop();
  await network?.close();
});

let lastService = 0;

type Pod = 'pod-a' | 'pod-b' | 'pod-c';
type Setup = {
  readonly spec?: Partial<ServiceSpec>;
  readonly pods: readonly Pod[];
  readonly ingress?: readonly string[];
};

/** A Service of its own for each test, with a slice of these Pods; resolves to its name, address and node port. */
async function serve({ spec = {}, pods, ingress }: Setup): Promise<Served> {
  const number = ++lastService;
  const name = `web-${number}`;
  const clusterIp = `10.43.1.${number}`;
  const nodePort = 30_000 + number;
  const metadata = { name, namespace: 'default' };
  const ports = (['TCP', 'UDP'] as const).map((protocol) => ({
    name: protocol.toLowerCase(),
    protocol,
    port: 80,
    ...(spec.type === undefined ? {} : { nodePort }),
  }));
  const service: Service = {
    metadata,
    spec: { type: 'ClusterIP', clusterIP: clusterIp, clusterIPs: [clusterIp], ports, ...spec },
    ...(ingress === undefined
      ? {}
      : { status: { loadBalancer: { ingress: ingress.map((ip) => ({ ip })) } } }),
  };
  api.seed(endpointSlices, sliceOf(name, pods));
  api.seed(services, service);
  const served = { name, clusterIp, nodePort, port: spec.ports?.[0]?.port ?? 80 };
  await rulesFollow(served, pods.length === 0 ? 'refused' : 'served');
  return served;
}

type Served = {
  readonly name: string;
  readonly clusterIp: string;
  readonly nodePort: number;
  readonly port: number;
};

function sliceOf(name: string, pods: readonly Pod[]): EndpointSlice {
  return {
    addressType: 'IPv4',
    metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    ports: ['tcp', 'udp'].map((port) => ({ name: port, port: podPort, protocol: port.toUpperCase() })),
    endpoints: pods.map((pod) => ({
      addresses: [addresses[pod]],
      nodeName: pod === 'pod-c' ? 'node-1' : 'node-0',
    })),
  };
}

async function setPods(served: Served, pods: readonly Pod[]): Promise<void> {
  const { endpoints } = sliceOf(served.name, pods);
  api.update(endpointSlices, `default/${served.name}`, { endpoints: structuredClone(endpoints) as never });
  await rulesFollow(served, pods.length === 0 ? 'refused' : pods);
}

/** Until the kernel of every node has what the API says of this Service: some rule, or exactly these Pods. */
async function rulesFollow(served: Served, want: 'refused' | 'served' | readonly Pod[]): Promise<void> {
  const { clusterIp, port } = served;
  const [set, key] =
    want === 'refused'
      ? (['set ip fairlead refused_vips', `${clusterIp} . 6 . ${port}`] as const)
      : want === 'served'
        ? (['map ip fairlead vips', `${clusterIp} . 6 . ${port}`] as const)
        : (['map ip fairlead vips_tcp_endpoints', `${clusterIp} . ${port} . `] as const);
  for (const node of nodeNames) {
    const list = ['netns', 'exec', network.namespace(node), 'nft', '-n', 'list', ...set.split(' ')];
    await eventually(async () => {
      const elements = (await runOk('ip', list)).split(/[,{}]/).filter((part) => part.includes(key));
      if (typeof want === 'string') return elements.length > 0;
      const found = elements.map((element) => /: (\S+) \. /.exec(element)?.[1] ?? '');
      const wanted: readonly string[] = want.map((pod) => addresses[pod]);
      return found.toSorted().join() === wanted.toSorted().join();
    }, `${node} has ${want.toString()} for ${key}`);
  }
}

type Answer = { readonly pod: string; readonly client: string };

async function ask(
  from: AgentName,
  host: string,
  port: number,
  count: number,
  protocol: 'tcp' | 'udp' = 'tcp',
): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  for (let index = 0; index < count; index++) {
    const text = await network.agents[from][protocol](host, port);
    const [pod = '', client = ''] = text.split(' ');
    answers.push({ pod, client });
  }
  return answers;
}

function podsIn(answers: readonly Answer[]): readonly string[] {
  return [...new Set(answers.map(({ pod }) => pod))].toSorted();
}

function clientsIn(answers: readonly Answer[]): readonly string[] {
  return [...new Set(answers.map(({ client }) => client))].toSorted();
}

/** So many that each of three endpoints is missed with a chance below 1 in 10^8. */
const enough = 48;
const allPods: readonly Pod[] = ['pod-a', 'pod-b', 'pod-c'];

test('l4: a cluster IP spreads TCP and UDP over all endpoints, from Pods and from nodes', {
  skip,
}, async () => {
  const { clusterIp } = await serve({ pods: allPods });
  for (const from of ['pod-a', 'pod-c', 'node-0'] as const) {
    for (const protocol of ['tcp', 'udp'] as const) {
      const answers = await ask(from, clusterIp, 80, enough, protocol);
      assert.deepEqual(podsIn(answers), allPods, `${protocol} from ${from}`);
    }
  }
});

test('l4: a Pod that is not itself the endpoint is seen under its own address', { skip }, async () => {
  const { clusterIp } = await serve({ pods: ['pod-b', 'pod-c'] });
  assert.deepEqual(clientsIn(await ask('pod-a', clusterIp, 80, 16)), [addresses['pod-a']]);
  assert.deepEqual(clientsIn(await ask('node-0', clusterIp, 80, 16)), [addresses['node-0']]);
});

test('l4: a Pod reaches itself through its Service', { skip }, async () => {
  const { clusterIp } = await serve({ pods: ['pod-a'] });
  assert.deepEqual(await ask('pod-a', clusterIp, 80, 1), [{ pod: 'pod-a', client: '10.42.0.1' }]);
  assert.deepEqual(podsIn(await ask('pod-a', clusterIp, 80, 1, 'udp')), ['pod-a']);
});

test('l4: a node port answers on every node, on localhost too', { skip }, async () => {
  const { nodePort } = await serve({ spec: { type: 'NodePort' }, pods: allPods });
  for (const node of nodeNames) {
    for (const protocol of ['tcp', 'udp'] as const) {
      const answers = await ask('client', addresses[node], nodePort, enough, protocol);
      assert.deepEqual(podsIn(answers), allPods, `${protocol} at ${node}`);
    }
  }
  assert.deepEqual(podsIn(await ask('node-0', '127.0.0.1', nodePort, enough)), allPods);
  assert.deepEqual(podsIn(await ask('pod-c', addresses['node-0'], nodePort, enough)), allPods);
});

test('l4: under policy Cluster only clients of Pods on other nodes lose their address', {
  skip,
}, async () => {
  const { nodePort } = await serve({ spec: { type: 'NodePort' }, pods: ['pod-b', 'pod-c'] });
  const answers = await ask('client', addresses['node-0'], nodePort, enough);
  const seenBy = (pod: Pod) => clientsIn(answers.filter((answer) => answer.pod === pod));
  assert.deepEqual(seenBy('pod-b'), [addresses.client]);
  assert.deepEqual(seenBy('pod-c'), [addresses['node-0']]);
});

test('l4: a load-balancer address answers at the Service’s own port', { skip }, async () => {
  const ingress = nodeNames.map((node) => addresses[node]);
  const ports = [{ name: 'tcp', protocol: 'TCP', port: 8081, nodePort: 30900 }];
  await serve({ spec: { type: 'LoadBalancer', ports }, pods: allPods, ingress });
  for (const node of nodeNames) {
    assert.deepEqual(podsIn(await ask('client', addresses[node], 8081, enough)), allPods);
    assert.deepEqual(podsIn(await ask('pod-a', addresses[node], 8081, enough)), allPods);
    assert.deepEqual(podsIn(await ask('node-0', addresses[node], 8081, enough)), allPods);
  }
});

test('l4: source ranges of a load balancer drop everybody else', { skip }, async () => {
  const base = { type: 'LoadBalancer', allocateLoadBalancerNodePorts: true };
  const ingress = [addresses['node-0']];
  const ports = (port: number) => [{ name: 'tcp', protocol: 'TCP', port }];
  await serve({
    spec: { ...base, ports: ports(8082), loadBalancerSourceRanges: ['10.41.0.64/26', '10.41.0.100/32'] },
    pods: ['pod-a'],
    ingress,
  });
  await serve({
    spec: { ...base, ports: ports(8083), loadBalancerSourceRanges: ['192.0.2.0/24'] },
    pods: ['pod-a'],
    ingress,
  });
  assert.equal((await ask('client', addresses['node-0'], 8082, 1))[0]?.pod, 'pod-a');
  assert.equal(await network.agents.client.tcp(addresses['node-0'], 8083, dropMs), 'ETIMEDOUT');
});

test('l4: without endpoints the answer is a refusal, at once', { skip }, async () => {
  const { clusterIp, nodePort } = await serve({ spec: { type: 'NodePort' }, pods: [] });
  for (const from of ['pod-a', 'node-0', 'client'] as const) {
    const host = from === 'client' ? addresses['node-0'] : clusterIp;
    const port = from === 'client' ? nodePort : 80;
    for (const protocol of ['tcp', 'udp'] as const) {
      assert.equal(
        await network.agents[from][protocol](host, port),
        'ECONNREFUSED',
        `${protocol} from ${from}`,
      );
    }
  }
});

test('l4: a Service address or port that has no rule is refused and never leaves the node', {
  skip,
}, async () => {
  const { clusterIp } = await serve({ pods: ['pod-a'] });
  for (const from of ['pod-a', 'node-0'] as const) {
    assert.equal(await network.agents[from].tcp(clusterIp, 81), 'ECONNREFUSED');
    assert.equal(await network.agents[from].tcp('10.43.200.200', 80), 'ECONNREFUSED');
    assert.equal(await network.agents[from].udp('10.43.200.200', 80), 'ECONNREFUSED', `UDP from ${from}`);
  }
});

test('l4: session affinity keeps a client at its endpoint until that leaves', { skip }, async () => {
  const served = await serve({ spec: { sessionAffinity: 'ClientIP' }, pods: allPods });
  const first = podsIn(await ask('node-0', served.clusterIp, 80, enough));
  assert.equal(first.length, 1);
  const others = allPods.filter((pod) => pod !== first[0]);
  await setPods(served, others);
  const second = podsIn(await ask('node-0', served.clusterIp, 80, enough));
  assert.equal(second.length, 1, 'one new endpoint, remembered from the first connection on');
  assert.ok(others.some((pod) => pod === second[0]));
  await setPods(served, allPods);
  assert.deepEqual(podsIn(await ask('node-0', served.clusterIp, 80, enough)), second);
});

test('l4: internalTrafficPolicy Local uses the endpoints of the own node, or drops', { skip }, async () => {
  const { clusterIp } = await serve({ spec: { internalTrafficPolicy: 'Local' }, pods: ['pod-a', 'pod-b'] });
  assert.deepEqual(podsIn(await ask('pod-a', clusterIp, 80, enough)), ['pod-a', 'pod-b']);
  assert.equal(await network.agents['pod-c'].tcp(clusterIp, 80, dropMs), 'ETIMEDOUT');
});

test('l4: externalTrafficPolicy Local keeps the client address; insiders reach all', { skip }, async () => {
  const { nodePort } = await serve({
    spec: { type: 'NodePort', externalTrafficPolicy: 'Local' },
    pods: ['pod-b'],
  });
  assert.deepEqual(await ask('client', addresses['node-0'], nodePort, 1), [
    { pod: 'pod-b', client: addresses.client },
  ]);
  assert.equal(await network.agents.client.tcp(addresses['node-1'], nodePort, dropMs), 'ETIMEDOUT');
  assert.deepEqual(podsIn(await ask('pod-c', addresses['node-1'], nodePort, 1)), ['pod-b']);
  assert.deepEqual(podsIn(await ask('node-1', addresses['node-1'], nodePort, 1)), ['pod-b']);
});

test('l4: external addresses are taken from the wire and from inside', { skip }, async () => {
  const external = '10.41.0.2';
  const ports = [{ name: 'tcp', protocol: 'TCP', port: 8084 }];
  await serve({ spec: { ports, externalIPs: [external] }, pods: ['pod-a', 'pod-c'] });
  for (const from of ['client', 'node-1', 'pod-b'] as const) {
    assert.deepEqual(podsIn(await ask(from, external, 8084, enough)), ['pod-a', 'pod-c'], from);
  }
});

test('l4: a change meets new connections and leaves established ones alone', { skip }, async () => {
  const served = await serve({ pods: ['pod-a'] });
  const greeting = await network.agents['node-0'].open('kept', served.clusterIp, 80);
  assert.equal(greeting, `pod-a ${addresses['node-0']}`);
  await setPods(served, ['pod-b']);
  assert.deepEqual(podsIn(await ask('node-0', served.clusterIp, 80, 8)), ['pod-b']);
  assert.equal(await network.agents['node-0'].say('kept', 'still there'), 'pod-a still there');
  await setPods(served, []);
  assert.equal(await network.agents['node-0'].tcp(served.clusterIp, 80), 'ECONNREFUSED');
  assert.equal(await network.agents['node-0'].say('kept', 'even now'), 'pod-a even now');
});

test('l4: a UDP client that keeps its port follows the endpoints', {
  skip: skip || (await noConntrack()),
}, async () => {
  const served = await serve({ pods: ['pod-a'] });
  const pod = async (): Promise<string> => {
    const text = await network.agents['node-0'].udp(served.clusterIp, 80, 20_053);
    return text.split(' ')[0] ?? '';
  };
  assert.equal(await pod(), 'pod-a');
  await setPods(served, ['pod-b']);
  await eventually(async () => (await pod()) === 'pod-b', 'packets go to pod-b');
  await setPods(served, []);
  await eventually(async () => (await pod()) === 'ECONNREFUSED', 'packets are refused');
  await setPods(served, ['pod-c']);
  await eventually(async () => (await pod()) === 'pod-c', 'packets go to pod-c');
});

async function noConntrack(): Promise<string | false> {
  const works = await run('conntrack', ['--version']).then(
    () => true,
    () => false,
  );
  return works ? false : 'needs the conntrack tool';
}

test('l4: a terminating endpoint serves only while no other is ready', { skip }, async () => {
  const served = await serve({ pods: ['pod-a', 'pod-b'] });
  const { endpoints = [] } = sliceOf(served.name, ['pod-a', 'pod-b']);
  const terminating = { ready: false, serving: true, terminating: true };
  const [first, second] = endpoints;
  const key = `default/${served.name}`;
  api.update(endpointSlices, key, { endpoints: [{ ...first, conditions: terminating }, second] as never });
  await rulesFollow(served, ['pod-b']);
  assert.deepEqual(podsIn(await ask('node-0', served.clusterIp, 80, 8)), ['pod-b']);
  api.update(endpointSlices, key, { endpoints: [{ ...first, conditions: terminating }] as never });
  await eventually(
    async () => podsIn(await ask('node-0', served.clusterIp, 80, 1))[0] === 'pod-a',
    'the terminating one serves again',
  );
});

test('l4: Pods leave the cluster under the address of their node', { skip }, async () => {
  assert.equal(
    await network.agents['pod-a'].tcp(addresses.client, outsidePort),
    `client ${addresses['node-0']}`,
  );
});

test('l4: Pods meet Pods and nodes under their own address', { skip }, async () => {
  assert.equal(await network.agents['pod-a'].tcp(addresses['pod-c'], podPort), `pod-c ${addresses['pod-a']}`);
  assert.equal(
    await network.agents['pod-c'].tcp(addresses['node-0'], outsidePort),
    `node-0 ${addresses['pod-c']}`,
  );
});

test('l4: a restart of the proxy loses no connection and no affinity', { skip }, async () => {
  const served = await serve({ pods: allPods });
  const sticky = await serve({ spec: { sessionAffinity: 'ClientIP' }, pods: allPods });
  const before = podsIn(await ask('node-0', sticky.clusterIp, 80, 1));
  let done = false;
  const failures: string[] = [];
  const load = (async () => {
    while (!done) {
      const text = await network.agents['pod-a'].tcp(served.clusterIp, 80);
      if (!text.startsWith('pod-')) failures.push(text);
    }
  })();
  const index = nodeNames.indexOf('node-0');
  for (let round = 0; round < 3; round++) {
    await stopAll[index]?.();
    assert.deepEqual(podsIn(await ask('node-0', served.clusterIp, 80, enough)), allPods, 'while it is away');
    stopAll[index] = await startProxy('node-0');
  }
  done = true;
  await load;
  assert.deepEqual(failures, []);
  assert.deepEqual(podsIn(await ask('node-0', sticky.clusterIp, 80, enough)), before);
});

test('l4: the kernel takes the same rules for IPv6, whole and changed', { skip }, async () => {
  const nft = createSpawnedNft(['ip', 'netns', 'exec', network.namespace('node-1'), 'nft']);
  const { signal } = new AbortController();
  const compile = (...pods: readonly string[]): Ruleset =>
    compileRuleset(buildNodeView([balancedOverIpv6], [modelSlice('six', pods)], nodeFacts), 6, {
      clusterCidrs: ['fd42::/48'],
      serviceCidrs: ['fd43::/112'],
      clusterNodeAddresses: ['fd41::2', 'fd41::3'],
    });
  const [before, now] = [compile('fd42::2'), compile('fd42::2', 'fd42::3')];
  await nft.run(renderFull(before), signal);
  await nft.run(renderChange(diffRulesets(before, now)), signal);
  const listed = await nft.read(6, signal);
  await nft.run(renderRemoval(6), signal);
  assert.deepEqual(diffElements(listed.elements, elementsOf(now)), { toDelete: [], toAdd: [] });
});

const balancedOverIpv6 = modelService(
  'six',
  'fd43::5',
  {
    type: 'LoadBalancer',
    ports: [{ port: 80, nodePort: 30_999 }],
    sessionAffinity: 'ClientIP',
    externalTrafficPolicy: 'Local',
    loadBalancerSourceRanges: ['2001:db8::/32'],
  },
  balancedAt('fd41::2'),
);

test('l4: every change so far was taken by the kernel as it was', { skip }, () => {
  assert.deepEqual(complaints, []);
});

test('l4: rules edited by hand are healed', { skip }, async () => {
  const served = await serve({ pods: ['pod-a'] });
  const element = `{ ${served.clusterIp} . tcp . 80 }`;
  await runOk('ip', [
    'netns',
    'exec',
    network.namespace('node-0'),
    'nft',
    'delete',
    'element',
    'ip',
    'fairlead',
    'vips',
    element,
  ]);
  await rulesFollow(served, 'served');
  assert.deepEqual(podsIn(await ask('node-0', served.clusterIp, 80, 4)), ['pod-a']);
});
