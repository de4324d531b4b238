import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
} from 'node:net';
import { test } from 'node:test';
import { endpointSlices, events, nodes, services } from '../../src/api/resource.ts';
import { silentLogger } from '../../src/base/log.ts';
import { NftError } from '../../src/l4/apply.ts';
import { proxyDefaults } from '../../src/l4/config.ts';
import { runProxy } from '../../src/l4/run.ts';
import { Balancer } from '../../src/l4/userspace/balance.ts';
import type { Backend, Front } from '../../src/l4/userspace/fronts.ts';
import { listen, type Shared, type SocketLimits, socketLimits } from '../../src/l4/userspace/sockets.ts';
import { FakeApi } from '../support/fake-api.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';
import { freePort } from '../support/ports.ts';
import { serviceOf, sliceOf, terminating } from '../support/services.ts';
import { eventually } from '../support/shell.ts';
import { machineOf } from './l4-machine.ts';

test('l4: the proxy tells its health, its metrics and its rules', async () => {
  const api = new FakeApi();
  api.seed(nodes, { metadata: { name: 'node-0' } });
  api.seed(endpointSlices, sliceOf('web', ['10.42.0.2']));
  api.seed(services, serviceOf('web', '10.43.0.5'));
  let failures = 1;
  let applied = Promise.withResolvers<void>();
  const run = () => {
    if (failures-- > 0) return Promise.reject(new NftError('refused', 'not now'));
    applied.resolve();
    return Promise.resolve();
  };
  const stop = new AbortController();
  const ready = Promise.withResolvers<number | undefined>();
  const running = runProxy(
    { ...proxyDefaults, nodeName: 'node-0', healthAddress: { host: '127.0.0.1', port: 0 } },
    api,
    silentLogger,
    stop.signal,
    machineOf({ run, onReady: ready.resolve }),
  );
  try {
    const port = await ready.promise;
    const get = async (path: string): Promise<readonly [number, string]> => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      return [response.status, await response.text()];
    };
    assert.equal((await get('/healthz'))[0], 200);
    const [, rules] = await get('/debug/ruleset');
    assert.ok(rules.includes('vips_tcp_endpoints 10.43.0.5 . 80 . 0 : 10.42.0.2 . 8080'), rules);

    applied = Promise.withResolvers<void>();
    api.seed(services, serviceOf('more', '10.43.0.6'));
    await applied.promise;
    const [status, metrics] = await get('/metrics');
    assert.equal(status, 200);
    for (const line of [
      'kubeproxy_sync_proxy_rules_service_changes_total 2',
      'kubeproxy_sync_proxy_rules_nftables_sync_failures_total 1',
      'fairlead_proxy_full_syncs_total 1',
      'kubeproxy_sync_full_proxy_rules_duration_seconds_count 1',
      'kubeproxy_sync_proxy_rules_no_local_endpoints{traffic_policy="external"} 0',
      'kubeproxy_sync_proxy_rules_service_changes_pending 0',
      'kubeproxy_sync_proxy_rules_endpoint_changes_pending 0',
      'kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family="IPv4"} 0',
      'kubeproxy_proxy_healthz_total{code="200"} 1',
      'kubeproxy_proxy_livez_total{code="503"} 0',
    ]) {
      assert.ok(metrics.includes(line), `${line} is not in ${metrics}`);
    }

    api.update(nodes, 'node-0', {
      spec: { taints: [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }] },
    });
    while ((await get('/healthz'))[0] === 200);
    assert.equal((await get('/livez'))[0], 200);
    assert.equal((await get('/nothing'))[0], 404);
  } finally {
    stop.abort();
    await running;
  }
});

test('l4: no change of rules waits until stale UDP flows are found', async () => {
  const api = new FakeApi();
  const ports = [{ port: 53, protocol: 'UDP' }];
  const sliceAt = (pod: string) => sliceOf('dns', [pod], [{ name: '', port: 53, protocol: 'UDP' }]);
  api.seed(nodes, { metadata: { name: 'node-0' } });
  api.seed(services, serviceOf('dns', '10.43.0.5', { ports }));
  api.seed(endpointSlices, sliceAt('10.42.0.2'));
  let script = '';
  const run = (text: string) => {
    script = text;
    return Promise.resolve();
  };
  let looks = 0;
  const held = Promise.withResolvers<readonly []>();
  // The first look is that of the start; the second does not end.
  const udpFlows = () => (++looks === 2 ? held.promise : Promise.resolve([]));
  const stop = new AbortController();
  const ready = Promise.withResolvers<unknown>();
  const running = runProxy(
    { ...proxyDefaults, nodeName: 'node-0', healthAddress: undefined },
    api,
    silentLogger,
    stop.signal,
    machineOf({ run, udpFlows, onReady: ready.resolve }),
  );
  try {
    await ready.promise;
    for (const pod of ['10.42.0.3', '10.42.0.4', '10.42.0.5']) {
      const { endpoints } = sliceAt(pod);
      api.update(endpointSlices, 'default/dns-1', { endpoints: structuredClone(endpoints) as never });
      await eventually(() => assert.ok(script.includes(pod), `${pod} is in the kernel`));
    }
    assert.equal(looks, 2, 'one look at a time');
    held.resolve([]);
    await eventually(() => assert.equal(looks, 3, 'and one more for all that came meanwhile'));
  } finally {
    held.resolve([]);
    stop.abort();
    await running;
  }
});

test('l4: the first change after a quiet time is applied at once, those that follow it together', async () => {
  const clock = new FakeClock();
  const api = new FakeApi({ clock });
  api.seed(nodes, { metadata: { name: 'node-0' } });
  const stop = new AbortController();
  let transactions = 0;
  const run = () => Promise.resolve(void transactions++);
  const ready = Promise.withResolvers<unknown>();
  const running = runProxy(
    { ...proxyDefaults, nodeName: 'node-0', healthAddress: undefined },
    api,
    silentLogger,
    stop.signal,
    { ...machineOf({ run, onReady: ready.resolve }), clock },
  );
  try {
    await ready.promise;
    await clock.advance(100);
    const before = transactions;
    api.seed(services, serviceOf('first', '10.43.1.0'));
    await eventually(() => assert.equal(transactions, before + 1, 'no time has passed'));
    for (let index = 1; index <= 50; index++) {
      api.seed(services, serviceOf(`web-${index}`, `10.43.1.${index}`));
      await settle(); // each comes by itself
    }
    assert.equal(transactions, before + 1);
    await clock.advance(proxyDefaults.syncIntervalMinMs);
    assert.equal(transactions, before + 2);
  } finally {
    stop.abort();
    await clock.advance(1000);
    await running;
  }
});

test('l4: a healthCheckNodePort tells whether ready endpoints are here', async () => {
  const port = await freePort();
  const api = new FakeApi();
  const ready = { address: '10.42.0.2', node: 'node-0' };
  const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: port };
  api.seed(nodes, { metadata: { name: 'node-0' } });
  api.seed(endpointSlices, sliceOf('web', [ready, '10.42.1.2']));
  api.seed(services, serviceOf('web', '10.43.0.5', spec));
  const stop = new AbortController();
  const started = Promise.withResolvers<unknown>();
  const running = runProxy(
    { ...proxyDefaults, nodeName: 'node-0', healthAddress: undefined },
    api,
    silentLogger,
    stop.signal,
    machineOf({ onReady: started.resolve }),
  );
  const answers = (wanted: unknown): Promise<void> =>
    eventually(async () => {
      const response = await fetch(`http://127.0.0.1:${port}/`);
      assert.deepEqual([response.status, await response.json()], wanted);
    });
  const service = { namespace: 'default', name: 'web' };
  try {
    await started.promise;
    await answers([200, { service, localEndpoints: 1, serviceProxyHealthy: true }]);
    const { endpoints } = sliceOf('web', [{ ...ready, conditions: terminating }, '10.42.1.2']);
    api.update(endpointSlices, 'default/web-1', { endpoints: structuredClone(endpoints) as never });
    await answers([503, { service, localEndpoints: 0, serviceProxyHealthy: true }]);
    api.update(services, 'default/web', {
      spec: { externalTrafficPolicy: 'Cluster', healthCheckNodePort: null },
    });
    await eventually(() => assert.rejects(fetch(`http://127.0.0.1:${port}/`)));
  } finally {
    stop.abort();
    await running;
  }
});

test('l4: what a Service does not get is told by an Event', async () => {
  const api = new FakeApi();
  const external = { externalIPs: ['192.0.2.50'] };
  api.seed(nodes, { metadata: { name: 'node-0' } });
  api.seed(services, serviceOf('first', '10.43.0.5', external), serviceOf('second', '10.43.0.6', external));
  api.seed(services, serviceOf('tel', '10.43.0.7', { ports: [{ port: 2905, protocol: 'SCTP' }] }));
  const stop = new AbortController();
  const running = runProxy(
    { ...proxyDefaults, nodeName: 'node-0', healthAddress: undefined },
    api,
    silentLogger,
    stop.signal,
    machineOf({ tracksSctp: false }),
  );
  try {
    await eventually(() => {
      const told = api
        .objects(events)
        .map(({ type, reason, message, involvedObject }) => [type, reason, involvedObject?.name, message]);
      assert.deepEqual(
        told.toSorted(([, , a = ''], [, , b = '']) => (a < b ? -1 : 1)),
        [
          ['Warning', 'AddressTaken', 'second', '192.0.2.50 . tcp . 80 already belongs to default/first'],
          ['Warning', 'SCTPNotSupported', 'tel', 'the kernel does not track SCTP: port 2905 is not served'],
        ],
      );
      return Promise.resolve();
    });
  } finally {
    stop.abort();
    await running;
  }
});

/** A socket of 127.0.0.1 that leads to `backend`, with bounds that a test can reach. */
async function listenAt(protocol: 'tcp' | 'udp', backend: Backend, limits: Partial<SocketLimits>) {
  const port = await freePort();
  const front: Front = {
    id: `${protocol} 127.0.0.1 ${port}`,
    service: 'default/web' as Front['service'],
    protocol,
    address: '127.0.0.1',
    port,
    inside: [backend],
    outside: [backend],
    sourceRanges: [],
    affinityTimeoutSeconds: undefined,
    serving: new Set([`${backend.address} ${backend.port}`]),
  };
  /** Sockets of flows get their address when this is called; until then they wait. */
  let connect: (() => void)[] | undefined;
  let draws = 0;
  const shared: Shared = {
    limits: { ...socketLimits, ...limits },
    balancer: new Balancer(
      () => draws++ * 0,
      () => 0,
    ),
    inside: [],
    relay: undefined,
    clients: new Set(),
    flows: 0,
    openUdp(type) {
      const socket = createSocket(type);
      const now = socket.connect.bind(socket);
      socket.connect = ((to: number, address: string, done: () => void) => {
        if (connect === undefined) now(to, address, done);
        else connect.push(() => now(to, address, done));
      }) as typeof socket.connect;
      return socket;
    },
  };
  return {
    port,
    listener: await listen(front, shared),
    /** How often an endpoint was chosen. */
    draws: () => draws,
    holdFlows: (): void => {
      connect = [];
    },
    letFlowsGo: (): void => {
      for (const now of connect ?? []) now();
      connect = undefined;
    },
  };
}

test('l4 userspace: TCP clients beyond the bound are reset; where one has gone the next is served', async () => {
  const server = createTcpServer((socket) => void socket.write('hello')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const backend = { address: '127.0.0.1', port: (server.address() as AddressInfo).port };
  const { port, listener } = await listenAt('tcp', backend, { connectionsMax: 2 });
  const open = async (): Promise<Socket> => {
    const client = connectTcp(port, '127.0.0.1');
    await once(client, 'data'); // rejects where it is reset
    return client;
  };
  const [first, second] = [await open(), await open()];
  await assert.rejects(open(), { code: 'ECONNRESET' });
  first.destroy();
  const third = await eventually(open);
  for (const client of [second, third]) client.destroy();
  await listener.close();
  server.close();
});

/** An endpoint that keeps what comes, and clients of `port`. */
async function udpEndpoint() {
  const server = createSocket('udp4');
  const came: string[] = [];
  server.on('message', (message) => came.push(message.toString()));
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const clients = [createSocket('udp4'), createSocket('udp4')];
  for (const client of clients) {
    client.bind(0, '127.0.0.1'); // by itself it would do so with the first packet, which then might come behind another's
    await once(client, 'listening');
  }
  return {
    came,
    backend: { address: '127.0.0.1', port: server.address().port },
    send: (client: number, text: string, port: number) => clients[client]?.send(text, port, '127.0.0.1'),
    close: () => {
      for (const socket of [server, ...clients]) socket.close();
    },
  };
}

test('l4 userspace: packets of UDP clients beyond the bound of flows are dropped until a flow has ended', async () => {
  const { came, backend, send, close } = await udpEndpoint();
  const { port, listener } = await listenAt('udp', backend, { flowsMax: 1 });
  const heard = (...texts: readonly string[]) => eventually(() => assert.deepEqual(came, texts));
  send(0, 'a', port);
  await heard('a');
  send(1, 'of another client', port);
  send(0, 'b', port);
  await heard('a', 'b');
  assert.equal(listener.update({ ...listener.front, serving: new Set() }), 1);
  send(1, 'c', port);
  await heard('a', 'b', 'c');
  await listener.close();
  close();
});

test('l4 userspace: of the packets that wait for a flow’s socket those beyond the bound are dropped', async () => {
  const { came, backend, send, close } = await udpEndpoint();
  const { port, listener, holdFlows, letFlowsGo, draws } = await listenAt('udp', backend, {
    waitingPacketsMax: 2,
  });
  holdFlows();
  for (const text of ['a', 'b', 'c']) send(0, text, port);
  send(1, 'd', port); // its flow is the second one: what came before has been seen
  await eventually(() => assert.equal(draws(), 2));
  letFlowsGo();
  await eventually(() => assert.equal(came.length, 3));
  assert.deepEqual(came.toSorted(), ['a', 'b', 'd']);
  await listener.close();
  close();
});
