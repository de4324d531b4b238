/** What Services promise, by one suite for both data planes: nftables and userspace. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Service, ServiceSpec } from '../../src/api/gen/core-v1.ts';
import type { EndpointSlice } from '../../src/api/gen/discovery-v1.ts';
import type { Json } from '../../src/api/object.ts';
import { endpointSlices, services } from '../../src/api/resource.ts';
import { FakeApi } from '../support/fake-api.ts';
import {
  addresses,
  addresses6,
  type AgentName,
  createNetwork,
  type Network,
  nodeNames,
  podPort,
} from './l4-network.ts';
import { comesTrue, complaintLog, reasonToSkipPackets, seedNodes, startProxyIn } from './l4-proxy.ts';
import type { NodeRequest } from './l4-userspace-node.ts';

const complaints: string[] = [];
const skip = await reasonToSkipPackets();

type Pod = 'pod-a' | 'pod-b' | 'pod-c';
const allPods: readonly Pod[] = ['pod-a', 'pod-b', 'pod-c'];
/** So many that each of three endpoints is missed with a chance below 1 in 10^8. */
const enough = 48;

/** Two proxies of one kind that follow what is written here. */
type Plane = {
  slice(object: EndpointSlice): void;
  service(object: Service): void;
  updateSlice(key: string, patch: Json): void;
  close(): Promise<void>;
};

async function startNftables(network: Network): Promise<Plane> {
  const api = new FakeApi();
  seedNodes(api);
  const config = {
    log: complaintLog(complaints),
    mode: 'nftables' as const,
    clusterCidrs: ['10.42.0.0/16', 'fd42::/48'],
    serviceCidrs: ['10.43.0.0/16', 'fd43::/112'],
  };
  const stops = await Promise.all(nodeNames.map((node) => startProxyIn(network, api, node, config)));
  return {
    slice: (object) => api.seed(endpointSlices, object),
    service: (object) => api.seed(services, object),
    updateSlice: (key, patch) => api.update(endpointSlices, key, patch),
    async close() {
      for (const stop of stops) await stop();
    },
  };
}

async function startUserspace(network: Network): Promise<Plane> {
  const script = fileURLToPath(new URL('l4-userspace-node.ts', import.meta.url));
  const children: ChildProcess[] = [];
  for (const node of nodeNames) {
    const args = ['netns', 'exec', network.namespace(node), process.execPath, script, node];
    const child = spawn('ip', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    child.stdin.write('{"op":"start"}\n');
    await once(createInterface({ input: child.stdout }), 'line');
  }
  const tell = (request: NodeRequest): void => {
    for (const child of children) child.stdin?.write(`${JSON.stringify(request)}\n`);
  };
  return {
    slice: (object) => tell({ op: 'slice', object }),
    service: (object) => tell({ op: 'service', object }),
    updateSlice: (key, patch) => tell({ op: 'update-slice', key, patch }),
    async close() {
      for (const child of children) {
        const ended = once(child, 'close');
        child.stdin?.end();
        await ended;
      }
    },
  };
}

const terminating = { ready: false, serving: true, terminating: true };

function endpointsOf(
  pods: readonly Pod[],
  family: 'IPv4' | 'IPv6',
  conditions?: typeof terminating,
): { addresses: string[]; nodeName: string; conditions?: typeof terminating }[] {
  const all = family === 'IPv4' ? addresses : addresses6;
  return pods.map((pod) => ({
    addresses: [all[pod]],
    nodeName: pod === 'pod-c' ? 'node-1' : 'node-0',
    ...(conditions === undefined ? {} : { conditions }),
  }));
}

type Mode = {
  readonly name: string;
  readonly start: (network: Network) => Promise<Plane>;
  /** How a client fares that no endpoint is for. */
  readonly turnedAway: readonly string[];
};

const modes: readonly Mode[] = [
  { name: 'nftables', start: startNftables, turnedAway: ['ETIMEDOUT'] },
  // Without nftables nothing can be dropped: there is no socket, or one that has taken the connection already.
  { name: 'userspace', start: startUserspace, turnedAway: ['ECONNREFUSED', 'ECONNRESET'] },
];

for (const { name, start, turnedAway } of modes) {
  describe(`l4 by ${name}`, { skip }, () => {
    let network: Network;
    let plane: Plane;
    let last = 0;

    before(async () => {
      network = await createNetwork();
      plane = await start(network);
    });
    after(async () => {
      await plane?.close();
      await network?.close();
    });

    async function serve(pods: readonly Pod[], spec: Partial<ServiceSpec> = {}) {
      const number = ++last;
      const key = `web-${number}`;
      const [v4, v6] = [`10.43.3.${number}`, `fd43::${number}`];
      const nodePort = 31_100 + number;
      for (const family of ['IPv4', 'IPv6'] as const) {
        plane.slice({
          addressType: family,
          metadata: {
            name: `${key}-${family.toLowerCase()}`,
            namespace: 'default',
            labels: { 'kubernetes.io/service-name': key },
          },
          ports: ['tcp', 'udp'].map((port) => ({ name: port, port: podPort, protocol: port.toUpperCase() })),
          endpoints: endpointsOf(pods, family),
        });
      }
      const ports = (['TCP', 'UDP'] as const).map((protocol) => ({
        name: protocol.toLowerCase(),
        protocol,
        port: 80,
        ...(spec.type === undefined ? {} : { nodePort }),
      }));
      plane.service({
        metadata: { name: key, namespace: 'default' },
        spec: { clusterIP: v4, clusterIPs: [v4, v6], ipFamilies: ['IPv4', 'IPv6'], ports, ...spec },
      });
      if (pods.length > 0) {
        const nodes = spec.internalTrafficPolicy === 'Local' ? (['node-0'] as const) : nodeNames;
        for (const node of nodes) {
          for (const host of [v4, v6]) {
            await comesTrue(
              async () => (await network.agents[node].tcp(host, 80)).startsWith('pod-'),
              `${node} reaches ${host}`,
            );
          }
        }
      }
      return { key, v4, v6, nodePort };
    }

    // nftables only: a change that the kernel refuses is mended by a full replacement, so only the log tells.
    after(() => assert.deepEqual(complaints, []));

    async function podsAt(from: AgentName, host: string, port: number, protocol: 'tcp' | 'udp' = 'tcp') {
      const pods = new Set<string>();
      for (let count = 0; count < enough; count++) {
        pods.add((await network.agents[from][protocol](host, port)).split(' ')[0] ?? '');
      }
      return [...pods].toSorted();
    }

    test('a cluster IP spreads TCP and UDP over all endpoints, in both families', async () => {
      const { v4, v6 } = await serve(allPods);
      for (const from of ['pod-a', 'pod-c', 'node-0'] as const) {
        for (const host of [v4, v6]) {
          for (const protocol of ['tcp', 'udp'] as const) {
            assert.deepEqual(await podsAt(from, host, 80, protocol), allPods, `${protocol} ${from} ${host}`);
          }
        }
      }
    });

    test('a node port answers on every node, on localhost too', async () => {
      const { nodePort } = await serve(allPods, { type: 'NodePort' });
      for (const node of nodeNames) {
        for (const protocol of ['tcp', 'udp'] as const) {
          assert.deepEqual(await podsAt('client', addresses[node], nodePort, protocol), allPods);
        }
      }
      assert.deepEqual(await podsAt('node-0', '127.0.0.1', nodePort), allPods);
    });

    test('a Pod reaches itself', async () => {
      const { v4 } = await serve(['pod-a']);
      for (const protocol of ['tcp', 'udp'] as const) {
        assert.deepEqual(await podsAt('pod-a', v4, 80, protocol), ['pod-a']);
      }
    });

    test('without endpoints, and at ports and addresses of no Service, the answer is a refusal', async () => {
      const { v4, v6, nodePort } = await serve([], { type: 'NodePort' });
      const served = await serve(['pod-a']);
      for (const protocol of ['tcp', 'udp'] as const) {
        for (const host of [v4, v6, '10.43.200.200']) {
          assert.equal(await network.agents['pod-c'][protocol](host, 80), 'ECONNREFUSED', host);
        }
        assert.equal(await network.agents['pod-a'][protocol](served.v4, 81), 'ECONNREFUSED');
        assert.equal(await network.agents.client[protocol](addresses['node-0'], nodePort), 'ECONNREFUSED');
      }
    });

    test('session affinity keeps a client at its endpoint until that leaves', async () => {
      const { key, v4 } = await serve(allPods, { sessionAffinity: 'ClientIP' });
      const [chosen, ...more] = await podsAt('pod-a', v4, 80);
      assert.deepEqual(more, []);
      const others = allPods.filter((pod) => pod !== chosen);
      plane.updateSlice(`default/${key}-ipv4`, { endpoints: endpointsOf(others, 'IPv4') });
      await comesTrue(
        async () => (await podsAt('pod-a', v4, 80)).every((pod) => pod !== chosen),
        'the client moves on',
      );
      assert.equal((await podsAt('pod-a', v4, 80)).length, 1);
    });

    test('policy Local uses the endpoints of the own node, or turns away', async () => {
      const internal = await serve(['pod-a'], { internalTrafficPolicy: 'Local' });
      assert.deepEqual(await podsAt('node-0', internal.v4, 80), ['pod-a']);
      await comesTrue(
        async () => turnedAway.includes(await network.agents['node-1'].tcp(internal.v4, 80)),
        'no endpoint on node-1',
      );
      const external = await serve(['pod-a'], { type: 'NodePort', externalTrafficPolicy: 'Local' });
      const { client } = network.agents;
      assert.match(await client.tcp(addresses['node-0'], external.nodePort), /^pod-a /);
      assert.ok(turnedAway.includes(await client.tcp(addresses['node-1'], external.nodePort)));
      assert.deepEqual(await podsAt('pod-c', addresses['node-1'], external.nodePort), ['pod-a'], 'insiders');
    });

    test('a change meets new connections and leaves established ones alone', async () => {
      const { key, v4 } = await serve(['pod-a']);
      const agent = network.agents['pod-c'];
      assert.match(await agent.open('kept', v4, 80), /^pod-a /);
      plane.updateSlice(`default/${key}-ipv4`, { endpoints: endpointsOf(['pod-b'], 'IPv4') });
      await comesTrue(async () => (await agent.tcp(v4, 80)).startsWith('pod-b'), 'new ones go to pod-b');
      assert.equal(await agent.say('kept', 'still'), 'pod-a still');
    });

    test('a UDP client that keeps its port follows the endpoints', async () => {
      const { key, v4 } = await serve(['pod-a']);
      const udp = async (): Promise<string> =>
        (await network.agents['node-0'].udp(v4, 80, 40_100)).split(' ')[0] ?? '';
      assert.equal(await udp(), 'pod-a');
      plane.updateSlice(`default/${key}-ipv4`, { endpoints: endpointsOf(['pod-b'], 'IPv4') });
      await comesTrue(async () => (await udp()) === 'pod-b', 'packets go to pod-b');
      plane.updateSlice(`default/${key}-ipv4`, { endpoints: [] });
      await comesTrue(async () => (await udp()) === 'ECONNREFUSED', 'packets are refused');
    });

    test('a terminating endpoint serves only while no other is ready', async () => {
      const { key, v4 } = await serve(['pod-a']);
      const slice = `default/${key}-ipv4`;
      const old = endpointsOf(['pod-a'], 'IPv4', terminating);
      plane.updateSlice(slice, { endpoints: [...old, ...endpointsOf(['pod-b'], 'IPv4')] });
      await comesTrue(async () => (await podsAt('node-0', v4, 80)).join() === 'pod-b', 'only pod-b serves');
      plane.updateSlice(slice, { endpoints: old });
      await comesTrue(async () => (await podsAt('node-0', v4, 80)).join() === 'pod-a', 'pod-a serves again');
    });
  });
}
