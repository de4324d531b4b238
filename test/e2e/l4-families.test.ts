/** Both address families with real packets, and what survives a restart and a node that is cut off. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Service, ServiceSpec } from '../../src/api/gen/core-v1.ts';
import type { EndpointSlice } from '../../src/api/gen/discovery-v1.ts';
import { endpointSlices, serviceCidrs, services } from '../../src/api/resource.ts';
import { FakeApi } from '../support/fake-api.ts';
import { runOk } from '../support/shell.ts';
import {
  addresses,
  addresses6,
  type AgentName,
  createNetwork,
  dropMs,
  type Network,
  type NodeName,
  nodeNames,
  podPort,
} from './l4-network.ts';
import { comesTrue, complaintLog, reasonToSkipPackets, seedNodes, startProxyIn } from './l4-proxy.ts';

const skip = await reasonToSkipPackets();
const complaints: string[] = [];
let network: Network;
let api: FakeApi;
let stopAll: (() => Promise<void>)[] = [];

function startProxy(node: NodeName): Promise<() => Promise<void>> {
  return startProxyIn(network, api, node, {
    log: complaintLog(complaints),
    clusterCidrs: ['10.42.0.0/16', 'fd42::/48'],
    serviceCidrs: ['10.43.0.0/16', 'fd43::/112'],
  });
}

before(async () => {
  if (skip !== false) return;
  network = await createNetwork();
  api = new FakeApi();
  seedNodes(api);
  stopAll = await Promise.all(nodeNames.map(startProxy));
  // A new wire may lose the first neighbour solicitation, and the next comes only after a second: not the proxy's fault.
  for (const from of [...allPods, 'node-0'] as const) {
    for (const pod of allPods) {
      const reaches = async () => (await network.agents[from].tcp(addresses6[pod], podPort)).startsWith(pod);
      await comesTrue(reaches, `${from} reaches ${pod} without a Service`);
    }
  }
});

after(async () => {
  for (const stop of stopAll) await stop();
  await network?.close();
});

type Pod = 'pod-a' | 'pod-b' | 'pod-c';
const allPods: readonly Pod[] = ['pod-a', 'pod-b', 'pod-c'];
/** So many that each of three endpoints is missed with a chance below 1 in 10^8. */
const enough = 48;
let last = 0;

function sliceOf(name: string, pods: readonly Pod[], family: 'IPv4' | 'IPv6'): EndpointSlice {
  const all = family === 'IPv4' ? addresses : addresses6;
  return {
    addressType: family,
    metadata: {
      name: `${name}-${family.toLowerCase()}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': name },
    },
    ports: ['tcp', 'udp'].map((port) => ({ name: port, port: podPort, protocol: port.toUpperCase() })),
    endpoints: pods.map((pod) => ({
      addresses: [all[pod]],
      nodeName: pod === 'pod-c' ? 'node-1' : 'node-0',
    })),
  };
}

async function serve(pods: readonly Pod[], spec: Partial<ServiceSpec> = {}) {
  const number = ++last;
  const name = `web-${number}`;
  const [v4, v6] = [`10.43.2.${number}`, `fd43::${number}`];
  const nodePort = 31_000 + number;
  const ports = (['TCP', 'UDP'] as const).map((protocol) => ({
    name: protocol.toLowerCase(),
    protocol,
    port: 80,
    ...(spec.type === undefined ? {} : { nodePort }),
  }));
  const service: Service = {
    metadata: { name, namespace: 'default' },
    spec: { clusterIP: v4, clusterIPs: [v4, v6], ipFamilies: ['IPv4', 'IPv6'], ports, ...spec },
  };
  for (const family of ['IPv4', 'IPv6'] as const) api.seed(endpointSlices, sliceOf(name, pods, family));
  api.seed(services, service);
  await rulesKnow(`fd43::${number}`);
  return { name, v4, v6, nodePort };
}

/** Until both nodes' IPv6 tables, which are written last, name the address. */
async function rulesKnow(address: string): Promise<void> {
  for (const node of nodeNames) {
    const list = ['netns', 'exec', network.namespace(node), 'nft', 'list', 'table', 'ip6', 'fairlead'];
    await comesTrue(
      async () => (await runOk('ip', list)).includes(`${address} . `),
      `${node} has ${address}`,
    );
  }
}

async function podsAt(from: AgentName, host: string, port: number, protocol: 'tcp' | 'udp' = 'tcp') {
  const pods = new Set<string>();
  for (let count = 0; count < enough; count++) {
    pods.add((await network.agents[from][protocol](host, port)).split(' ')[0] ?? '');
  }
  return [...pods].toSorted();
}

test('l4 families: a dual-stack Service spreads TCP and UDP in both', { skip }, async () => {
  const { v4, v6 } = await serve(allPods);
  for (const from of ['pod-a', 'pod-c', 'node-0'] as const) {
    for (const host of [v4, v6]) {
      for (const protocol of ['tcp', 'udp'] as const) {
        assert.deepEqual(await podsAt(from, host, 80, protocol), allPods, `${protocol} ${from} to ${host}`);
      }
    }
  }
});

test('l4 families: node ports, localhost aside, and policy Local keep to IPv6 rules', { skip }, async () => {
  const open = await serve(allPods, { type: 'NodePort' });
  for (const node of nodeNames) {
    assert.deepEqual(await podsAt('client', addresses6[node], open.nodePort), allPods);
  }
  const local = await serve(['pod-a'], { type: 'NodePort', externalTrafficPolicy: 'Local' });
  const { client } = network.agents;
  assert.equal(await client.tcp(addresses6['node-0'], local.nodePort), `pod-a ${addresses6.client}`);
  assert.equal(await client.tcp(addresses6['node-1'], local.nodePort, dropMs), 'ETIMEDOUT');
});

test('l4 families: over IPv6 a Pod reaches itself, and without endpoints the answer is a refusal', {
  skip,
}, async () => {
  const { v6 } = await serve(['pod-a']);
  assert.match(await network.agents['pod-a'].tcp(v6, 80), /^pod-a fd42::1$/);
  const none = await serve([]);
  for (const protocol of ['tcp', 'udp'] as const) {
    assert.equal(await network.agents['pod-c'][protocol](none.v6, 80), 'ECONNREFUSED');
  }
  assert.equal(
    await network.agents['pod-c'].tcp('fd43::ffff', 80),
    'ECONNREFUSED',
    'an address without Service',
  );
});

test('l4 families: an address of any ServiceCIDR that no Service has is refused', { skip }, async () => {
  const answers = (from: AgentName) =>
    Promise.all(['10.44.0.9', 'fd44::9'].map((host) => network.agents[from].tcp(host, 80, dropMs)));
  assert.ok(!(await answers('pod-c')).includes('ECONNREFUSED'), 'before there is one');
  api.seed(serviceCidrs, { metadata: { name: 'more' }, spec: { cidrs: ['10.44.0.0/24', 'fd44::/112'] } });
  for (const from of ['pod-c', 'node-0'] as const) {
    const areRefused = async () => (await answers(from)).every((answer) => answer === 'ECONNREFUSED');
    await comesTrue(areRefused, `${from} is refused`);
  }
  api.remove(serviceCidrs, 'more');
  const list = ['netns', 'exec', network.namespace('node-1'), 'nft', 'list', 'table', 'ip6', 'fairlead'];
  await comesTrue(async () => !(await runOk('ip', list)).includes('fd44::'), 'the range goes with it');
});

test('l4 families: over IPv6 session affinity keeps a client at one endpoint', { skip }, async () => {
  const { v6 } = await serve(allPods, { sessionAffinity: 'ClientIP' });
  assert.equal((await podsAt('pod-a', v6, 80)).length, 1);
});

test('l4 families: UDP flows stay where they are when the proxy restarts', { skip }, async () => {
  const { v4, v6 } = await serve(allPods);
  const agent = network.agents['pod-a'];
  const localPorts = Array.from({ length: 8 }, (_, index) => 40_000 + index);
  const endpointsOf = async (host: string): Promise<readonly string[]> => {
    const pods: string[] = [];
    for (const port of localPorts) pods.push((await agent.udp(host, 80, port)).split(' ')[0] ?? '');
    return pods;
  };
  const before = [await endpointsOf(v4), await endpointsOf(v6)];
  await stopAll[0]?.();
  assert.deepEqual([await endpointsOf(v4), await endpointsOf(v6)], before, 'while it is away');
  stopAll[0] = await startProxy('node-0');
  assert.deepEqual([await endpointsOf(v4), await endpointsOf(v6)], before, 'after it came back');
});

test('l4 families: every rule so far was taken by the kernel as it was', { skip }, () => {
  assert.deepEqual(complaints, []);
});

test('l4 families: a node that is cut off keeps its rules and catches up', { skip }, async () => {
  const { name, v4 } = await serve(['pod-b', 'pod-c']);
  const wire = network.namespace('wire');
  api.disconnect({ down: true });
  await runOk('ip', ['-n', wire, 'link', 'set', 'node-1', 'down']);
  const seen = new Set<string>();
  for (let count = 0; count < enough && !seen.has('pod-c'); count++) {
    seen.add((await network.agents['pod-c'].tcp(v4, 80)).split(' ')[0] ?? '');
  }
  assert.ok(seen.has('pod-c'), `on the lonely node its own Pod still answers, not only ${[...seen].join()}`);
  // The Pod moved while the node did not hear of it.
  api.update(endpointSlices, `default/${name}-ipv4`, {
    endpoints: structuredClone(sliceOf(name, ['pod-a'], 'IPv4').endpoints) as never,
  });
  await runOk('ip', ['-n', wire, 'link', 'set', 'node-1', 'up']);
  api.reconnect();
  for (const from of ['pod-c', 'node-0'] as const) {
    await comesTrue(
      async () => (await podsAt(from, v4, 80)).join() === 'pod-a',
      `${from} is led to the Pod that is there now`,
    );
  }
});
