/** What Services promise, by one suite for both data planes, with real packets. The table in docs/compatibility.md names these tests. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { runOk } from '../support/shell.ts';
import {
  addresses,
  addresses6,
  clientPort,
  dropMs,
  nodeNames,
  otherPodPort,
  outsidePort,
  podPort,
} from './l4-network.ts';
import {
  allPods,
  createServing,
  endpointsOf,
  modes,
  type Plane,
  podsAt as podsOn,
  startPlane,
} from './l4-planes.ts';
import { comesTrue, reasonToSkipPackets } from './l4-proxy.ts';

const skip = await reasonToSkipPackets();
const terminating = { ready: false, serving: true, terminating: true };
const gone = { ready: false, serving: false, terminating: true };

for (const { name, turnedAway } of modes) {
  describe(`l4 by ${name}`, { skip }, () => {
    let plane: Plane;
    const serve = createServing(() => plane);
    const agent = (from: keyof Plane['network']['agents']) => plane.network.agents[from];
    const podsAt = (...of: Parameters<typeof podsOn> extends [unknown, ...infer Rest] ? Rest : never) =>
      podsOn(plane.network, ...of);

    before(async () => {
      plane = await startPlane(name);
    });
    after(async () => {
      await plane?.close();
    });

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

    test('a headless Service has no rule: its Pods are reached under their own addresses', async () => {
      await serve(allPods, { clusterIP: 'None', clusterIPs: ['None'] });
      const { text } = await plane.get('node-0', '/debug/ruleset');
      assert.doesNotMatch(text, /None/);
      assert.equal(await agent('pod-a').tcp(addresses['pod-c'], podPort), `pod-c ${addresses['pod-a']}`);
    });

    test('a Service that its label gives to another proxy is left alone until the label goes', async () => {
      const label = 'service.kubernetes.io/service-proxy-name';
      const { key, v4 } = await serve(['pod-a']);
      for (const [value, want] of [
        ['mesh', 'ECONNREFUSED'],
        [null, 'pod-a'],
      ] as const) {
        plane.update('services', key, { metadata: { labels: { [label]: value } } });
        await plane.settled();
        assert.deepEqual(await podsAt('pod-b', v4, 80), [want]);
      }
    });

    test('several ports, of numbers that differ by Pod', async () => {
      const { key, v4 } = await serve(['pod-a']);
      const other = { ...endpointsOf(['pod-c'], 'IPv4')[0], addresses: [addresses['pod-c']] };
      plane.put('endpointslices', {
        metadata: {
          name: 'by-name',
          namespace: 'default',
          labels: { 'kubernetes.io/service-name': key.replace('default/', '') },
        },
        addressType: 'IPv4',
        ports: [{ name: 'tcp', port: otherPodPort, protocol: 'TCP' }],
        endpoints: [other],
      } as never);
      await plane.settled();
      assert.deepEqual(await podsAt('pod-b', v4, 80), ['pod-a', `pod-c:${otherPodPort}`]);
      assert.deepEqual(await podsAt('pod-b', v4, 80, 'udp'), ['pod-a']);
    });

    test('a Service without selector leads to what its slices name, outside the cluster too', async () => {
      const { key, v4 } = await serve([]);
      plane.put('endpointslices', {
        metadata: {
          name: 'by-hand',
          namespace: 'default',
          labels: { 'kubernetes.io/service-name': key.replace('default/', '') },
        },
        addressType: 'IPv4',
        ports: ['tcp', 'udp'].map((port) => ({
          name: port,
          port: outsidePort,
          protocol: port.toUpperCase(),
        })),
        endpoints: [{ addresses: [addresses.client] }],
      } as never);
      await plane.settled();
      for (const protocol of ['tcp', 'udp'] as const) {
        assert.deepEqual(await podsAt('pod-a', v4, 80, protocol), ['client'], protocol);
      }
    });

    test('a node port answers at every address of every node, on localhost too', async () => {
      const { nodePort } = await serve(allPods, { type: 'NodePort' });
      for (const node of nodeNames) {
        for (const protocol of ['tcp', 'udp'] as const) {
          assert.deepEqual(await podsAt('client', addresses[node], nodePort, protocol), allPods);
        }
        assert.deepEqual(await podsAt('client', addresses6[node], nodePort), allPods);
      }
      assert.deepEqual(await podsAt('node-0', '127.0.0.1', nodePort), allPods);
      assert.deepEqual(await podsAt('pod-a', '10.42.0.1', nodePort), allPods, 'the Pods’ gateway');
    });

    test('a load-balancer address answers at the Service’s own port, from everywhere', async () => {
      const ports = [{ name: 'tcp', protocol: 'TCP', port: 8081, nodePort: 31_001 }];
      const ingress = nodeNames.flatMap((node) => [{ ip: addresses[node] }, { ip: addresses6[node] }]);
      await serve(allPods, { type: 'LoadBalancer', ports }, { loadBalancer: { ingress } });
      for (const from of ['client', 'pod-a', 'node-0'] as const) {
        for (const node of nodeNames) {
          assert.deepEqual(await podsAt(from, addresses[node], 8081), allPods, `${from} to ${node}`);
        }
      }
      assert.deepEqual(await podsAt('client', addresses6['node-1'], 8081), allPods);
    });

    test('allocateLoadBalancerNodePorts false: the load-balancer address works without a node port', async () => {
      const ports = [{ name: 'tcp', protocol: 'TCP', port: 8091 }];
      const spec = { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false, ports };
      const { nodePort } = await serve(['pod-a'], spec, {
        loadBalancer: { ingress: [{ ip: addresses['node-0'] }] },
      });
      assert.equal(nodePort, 0);
      assert.deepEqual(await podsAt('client', addresses['node-0'], 8091), ['pod-a']);
    });

    test('source ranges of a load balancer keep everybody else out', async () => {
      const served = async (port: number, loadBalancerSourceRanges: readonly string[]) => {
        const ports = [{ name: 'tcp', protocol: 'TCP', port }];
        const ingress = [{ ip: addresses['node-0'] }];
        await serve(
          ['pod-a'],
          { type: 'LoadBalancer', ports, loadBalancerSourceRanges },
          { loadBalancer: { ingress } },
        );
      };
      await served(8082, ['10.41.0.64/26', '10.41.0.100/32']);
      await served(8083, ['192.0.2.0/24']);
      assert.deepEqual(await podsAt('client', addresses['node-0'], 8082), ['pod-a']);
      assert.ok(turnedAway.includes(await agent('client').tcp(addresses['node-0'], 8083, dropMs)));
    });

    test('ipMode Proxy: packets go to the load balancer itself; VIP: past it', async () => {
      const address = '10.41.0.101'; // the client’s second address: it plays the balancer
      await runOk('ip', [
        '-n',
        plane.network.namespace('client'),
        'addr',
        'add',
        `${address}/32`,
        'dev',
        'eth0',
      ]);
      const ports = [{ name: 'tcp', protocol: 'TCP', port: clientPort }];
      const at = (ipMode: string) => ({ loadBalancer: { ingress: [{ ip: address, ipMode }] } });
      const { key } = await serve(['pod-b'], { type: 'LoadBalancer', ports }, at('Proxy'));
      assert.deepEqual(await podsAt('node-0', address, clientPort), [`client:${clientPort}`]);
      plane.update('services', key, { status: structuredClone(at('VIP')) });
      await plane.settled();
      assert.deepEqual(await podsAt('node-0', address, clientPort), ['pod-b']);
    });

    test('a port that has an error in the status is not served there, its others are', async () => {
      const ports = [8084, 8085].map((port) => ({ name: `p${port}`, protocol: 'TCP', port }));
      const error = 'example.com/PortTaken';
      const status = [
        { port: 8084, protocol: 'TCP' },
        { port: 8085, protocol: 'TCP', error },
      ];
      const ingress = [{ ip: addresses['node-0'], ports: status }];
      const { key } = await serve([], { type: 'LoadBalancer', ports }, { loadBalancer: { ingress } });
      const slicePorts = ports.map((port) => ({ name: port.name, port: podPort, protocol: 'TCP' }));
      plane.update('endpointslices', `${key}-ipv4`, {
        ports: slicePorts,
        endpoints: endpointsOf(['pod-a'], 'IPv4'),
      } as never);
      await plane.settled();
      assert.deepEqual(await podsAt('client', addresses['node-0'], 8084), ['pod-a']);
      assert.equal(await agent('client').tcp(addresses['node-0'], 8085), 'ECONNREFUSED');
    });

    test('external addresses that no node has are taken from the wire and from inside', async () => {
      const [v4, v6] = ['198.51.100.10', '2001:db8::10'];
      await runOk('ip', ['-n', plane.network.namespace('client'), '-batch', '-'], {
        input: `route add ${v4} via ${addresses['node-0']}\nroute add ${v6} via ${addresses6['node-0']}\n`,
      });
      const ports = [{ name: 'tcp', protocol: 'TCP', port: 8086 }];
      await serve(['pod-a', 'pod-c'], { ports, externalIPs: [v4, v6] });
      for (const from of ['client', 'node-1', 'pod-b'] as const) {
        for (const host of [v4, v6]) {
          assert.deepEqual(await podsAt(from, host, 8086), ['pod-a', 'pod-c'], `${from} to ${host}`);
        }
      }
    });

    test('a Pod reaches itself, by every way to its Service', async () => {
      const { v4, v6, nodePort } = await serve(['pod-a'], { type: 'NodePort' });
      for (const protocol of ['tcp', 'udp'] as const) {
        for (const host of [v4, v6]) assert.deepEqual(await podsAt('pod-a', host, 80, protocol), ['pod-a']);
        for (const node of nodeNames) {
          assert.deepEqual(await podsAt('pod-a', addresses[node], nodePort, protocol), ['pod-a'], node);
        }
      }
    });

    test('without endpoints, and at ports and addresses of no Service, the answer is a refusal', async () => {
      const { v4, v6, nodePort } = await serve([], { type: 'NodePort' });
      const served = await serve(['pod-a']);
      for (const protocol of ['tcp', 'udp'] as const) {
        for (const host of [v4, v6, '10.43.200.200']) {
          assert.equal(await agent('pod-c')[protocol](host, 80), 'ECONNREFUSED', host);
        }
        assert.equal(await agent('pod-a')[protocol](served.v4, 81), 'ECONNREFUSED');
        assert.equal(await agent('client')[protocol](addresses['node-0'], nodePort), 'ECONNREFUSED');
      }
    });

    test('session affinity keeps a client at its endpoint until that leaves, in both families', async () => {
      for (const family of ['v4', 'v6'] as const) {
        const served = await serve(allPods, { sessionAffinity: 'ClientIP' });
        const [chosen, ...more] = await podsAt('pod-a', served[family], 80);
        assert.deepEqual(more, []);
        const others = allPods.filter((pod) => pod !== chosen);
        await served.setPods(others);
        const [next = '', ...rest] = await podsAt('pod-a', served[family], 80);
        assert.ok(rest.length === 0 && others.some((pod) => pod === next), `${next} of ${others.join()}`);
        await served.setPods(allPods);
        assert.deepEqual(await podsAt('pod-a', served[family], 80), [next], 'it stays where it went');
      }
    });

    test('internalTrafficPolicy Local uses the endpoints of the own node, or turns away', async () => {
      const { v4, v6 } = await serve(['pod-a', 'pod-b'], { internalTrafficPolicy: 'Local' });
      for (const host of [v4, v6]) {
        assert.deepEqual(await podsAt('pod-a', host, 80), ['pod-a', 'pod-b']);
        assert.ok(turnedAway.includes(await agent('pod-c').tcp(host, 80, dropMs)));
      }
    });

    test('externalTrafficPolicy Local: outsiders keep to the node, insiders reach all', async () => {
      const spec = { type: 'NodePort', externalTrafficPolicy: 'Local' };
      const { nodePort } = await serve(['pod-a'], spec);
      const { client } = plane.network.agents;
      const seenAs = name === 'nftables' ? addresses.client : '10.42.0.1'; // README: userspace cannot keep it
      assert.equal(await client.tcp(addresses['node-0'], nodePort), `pod-a ${seenAs}`);
      assert.ok(turnedAway.includes(await client.tcp(addresses['node-1'], nodePort, dropMs)));
      for (const from of ['pod-c', 'node-1'] as const) {
        assert.deepEqual(await podsAt(from, addresses['node-1'], nodePort), ['pod-a'], `insider ${from}`);
      }
    });

    test('within each policy’s scope terminating endpoints serve only while none is ready', async () => {
      const served = await serve([{ pod: 'pod-a', conditions: terminating }, 'pod-c'], {
        type: 'NodePort',
        externalTrafficPolicy: 'Local',
      });
      const { v4, nodePort } = served;
      assert.deepEqual(await podsAt('pod-b', v4, 80), ['pod-c'], 'of the whole cluster one is ready');
      assert.deepEqual(await podsAt('client', addresses['node-0'], nodePort), ['pod-a'], 'of node-0 none');
      await served.setPods([{ pod: 'pod-a', conditions: terminating }]);
      assert.deepEqual(await podsAt('pod-b', v4, 80), ['pod-a']);
      assert.deepEqual(await podsAt('pod-b', v4, 80, 'udp'), ['pod-a']);
      await served.setPods([
        { pod: 'pod-a', conditions: gone },
        { pod: 'pod-c', conditions: { ready: false } },
      ]);
      assert.equal(await agent('pod-b').tcp(v4, 80), 'ECONNREFUSED', 'never one that does not serve');
    });

    test('publishNotReadyAddresses: endpoints that are called ready serve, ready or not', async () => {
      const conditions = { ready: true, serving: false, terminating: true };
      const { v4 } = await serve([{ pod: 'pod-a', conditions }, 'pod-c'], { publishNotReadyAddresses: true });
      assert.deepEqual(await podsAt('pod-b', v4, 80), ['pod-a', 'pod-c']);
    });

    test('hints: a zone and a node keep to the endpoints that are for them, while there are such', async () => {
      for (const [index, node] of nodeNames.entries()) {
        plane.update('nodes', node, {
          metadata: { labels: { 'topology.kubernetes.io/zone': `zone-${index}` } },
        });
      }
      const forZone = (number: number) => ({ forZones: [{ name: `zone-${number}` }] });
      const served = await serve([
        { pod: 'pod-a', hints: forZone(0) },
        { pod: 'pod-b', hints: forZone(0) },
        { pod: 'pod-c', hints: forZone(1) },
      ]);
      const { v4, v6 } = served;
      for (const host of [v4, v6]) {
        assert.deepEqual(await podsAt('pod-a', host, 80), ['pod-a', 'pod-b']);
        assert.deepEqual(await podsAt('pod-c', host, 80), ['pod-c']);
      }
      const forNode = (node: string, zone: number) => ({ ...forZone(zone), forNodes: [{ name: node }] });
      await served.setPods([
        { pod: 'pod-a', hints: forNode('node-0', 0) },
        { pod: 'pod-b', hints: forNode('node-1', 0) },
        { pod: 'pod-c', hints: forNode('node-1', 1) },
      ]);
      assert.deepEqual(await podsAt('pod-a', v4, 80), ['pod-a']);
      assert.deepEqual(await podsAt('pod-c', v4, 80), ['pod-b', 'pod-c']);
      await served.setPods([
        'pod-a',
        { pod: 'pod-b', hints: forZone(0) },
        { pod: 'pod-c', hints: forZone(1) },
      ]);
      assert.deepEqual(await podsAt('pod-c', v4, 80), allPods, 'an endpoint without hint: all are for all');
      await served.setPods([{ pod: 'pod-a', hints: forZone(0) }]);
      assert.deepEqual(await podsAt('pod-c', v4, 80), ['pod-a'], 'nothing is for this zone: all are');
    });

    test('a healthCheckNodePort fails when only terminating endpoints remain, which still serve', async () => {
      const healthCheckNodePort = 32_001;
      const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort };
      const served = await serve(['pod-a'], spec);
      const { client } = plane.network.agents;
      const health = async (node: 'node-0' | 'node-1') =>
        (await client.http(addresses[node], healthCheckNodePort)).slice(0, 3);
      await comesTrue(async () => (await health('node-0')) === '200', 'pod-a is ready on node-0');
      assert.equal(await health('node-1'), '503');
      await served.setPods([{ pod: 'pod-a', conditions: terminating }]);
      await comesTrue(async () => (await health('node-0')) === '503', 'none is ready');
      assert.deepEqual(await podsAt('client', addresses['node-0'], served.nodePort), ['pod-a']);
      await served.remove();
      await comesTrue(async () => (await health('node-0')) === 'ECO', 'nobody answers any more');
    });

    test('/healthz fails while the node is being removed, /livez does not', async () => {
      const statusOf = async (path: string) => (await plane.get('node-0', path)).status;
      assert.deepEqual([await statusOf('/healthz'), await statusOf('/livez')], [200, 200]);
      const taint = { key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' };
      plane.update('nodes', 'node-0', { spec: { taints: [taint] } });
      await comesTrue(async () => (await statusOf('/healthz')) === 503, 'not for load balancers');
      assert.equal(await statusOf('/livez'), 200);
      plane.update('nodes', 'node-0', { spec: { taints: null } });
      await comesTrue(async () => (await statusOf('/healthz')) === 200, 'again for load balancers');
    });

    test('a change meets new connections and leaves established ones alone', async () => {
      const served = await serve(['pod-a']);
      assert.match(await agent('pod-c').open('kept', served.v4, 80), /^pod-a /);
      await served.setPods(['pod-b']);
      assert.deepEqual(await podsAt('pod-c', served.v4, 80), ['pod-b']);
      assert.equal(await agent('pod-c').say('kept', 'still'), 'pod-a still');
      await served.setPods([]);
      assert.equal(await agent('pod-c').tcp(served.v4, 80), 'ECONNREFUSED');
      assert.equal(await agent('pod-c').say('kept', 'even now'), 'pod-a even now');
    });

    test('UDP: a client that keeps its port follows the endpoints, to none and back', async () => {
      const served = await serve(['pod-a'], { type: 'NodePort' });
      const clients = [
        ['node-0', served.v4, 80, 40_100],
        ['pod-c', served.v6, 80, 40_101],
        ['client', addresses['node-0'], served.nodePort, 40_102],
      ] as const;
      for (const pods of [['pod-a'], ['pod-b'], [], ['pod-c']] as const) {
        if (pods[0] !== 'pod-a') await served.setPods(pods);
        const want = pods[0] ?? 'ECONNREFUSED';
        for (const [from, host, port, localPort] of clients) {
          const asked = async () => (await agent(from).udp(host, port, localPort)).split(' ')[0];
          await comesTrue(async () => (await asked()) === want, `${from} at ${host}: ${want}`);
        }
      }
    });

    test('UDP: flows of a deleted Service end, so nothing comes to who has the Pod’s address next', async () => {
      const served = await serve(['pod-b']);
      const client = agent('pod-c');
      assert.match(await client.udp(served.v4, 80, 40_200), /^pod-b /);
      await served.remove();
      // pod-b still has its address and port: it stands for whoever would have them next.
      const refused = async () => (await client.udp(served.v4, 80, 40_200)) === 'ECONNREFUSED';
      await comesTrue(refused, 'the Service’s address is refused');
      for (let count = 0; count < 3; count++)
        assert.ok(!(await client.udp(served.v4, 80, 40_200)).includes('pod'));
    });

    test('nothing was complained of', () => {
      const unexpected = plane.complaints().filter((line) => !line.includes(': info: '));
      assert.deepEqual(unexpected, []);
    });
  });
}
