/** Where DNS ends: names not known yet, too many questions, answers too big, names too long, and IPv6. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { describe, test } from 'node:test';
import packet from 'dns-packet';
import { endpointSlices, namespaces, pods, services } from '../../src/api/resource.ts';
import { silentLogger } from '../../src/base/log.ts';
import { runDns } from '../../src/dns/run.ts';
import { get } from '../support/load.ts';
import { freePort } from '../support/ports.ts';
import { serviceOf, sliceOf } from '../support/services.ts';
import { eventually } from '../support/shell.ts';
import { dig, noDig, seeded, short, start } from './dns-server.ts';

/** Asks once over UDP from an address; resolves to the answer. */
async function ask(port: number, name: string, from: string, to: string): Promise<packet.DecodedPacket> {
  const socket = createSocket(to.includes(':') ? 'udp6' : 'udp4');
  await new Promise<void>((done) => socket.bind(0, from, done));
  const answer = Promise.withResolvers<Buffer>();
  socket.once('message', answer.resolve);
  const query = packet.encode({ type: 'query', id: 1, questions: [{ type: 'A', name }] });
  socket.send(query, port, to);
  try {
    return packet.decode(await answer.promise);
  } finally {
    socket.close();
  }
}

describe('dns at its limits', { skip: noDig, timeout: 300_000 }, () => {
  test('until the first complete list "no" is SERVFAIL and not ready; then it is NXDOMAIN', async () => {
    const api = seeded();
    api.disconnect({ down: true });
    const port = await freePort();
    const healthPort = await freePort();
    const host = '127.0.0.1';
    const stop = new AbortController();
    const finished = runDns(
      {
        listen: [{ host, port }],
        clusterDomain: 'cluster.local',
        upstreams: [],
        ttlSeconds: 5,
        healthAddress: { host, port: healthPort },
      },
      api,
      silentLogger,
      stop.signal,
    );
    try {
      for (const question of [
        'web.default.svc.cluster.local A',
        'gone.default.svc.cluster.local A',
        '-x 10.43.0.80',
      ]) {
        await eventually(async () =>
          assert.match(await dig({ port }, question), /status: SERVFAIL[^]*EDE: 14 \(Not Ready\)/),
        );
      }
      assert.equal((await get(`http://${host}:${healthPort}/readyz`)).status, 503);
      assert.equal((await get(`http://${host}:${healthPort}/healthz`)).status, 200);
      assert.deepEqual(await short({ port }, 'localhost A'), ['127.0.0.1'], 'what needs no list is answered');
      api.reconnect();
      await eventually(async () =>
        assert.equal((await get(`http://${host}:${healthPort}/readyz`)).status, 200),
      );
      assert.deepEqual(await short({ port }, 'web.default.svc.cluster.local A'), ['10.43.0.80']);
      assert.match(await dig({ port }, 'gone.default.svc.cluster.local A'), /status: NXDOMAIN/);
    } finally {
      stop.abort();
      await finished;
    }
  });

  test('dig tells why there is no answer, and without EDNS the same answer comes without words', async () => {
    const silent = createSocket('udp4');
    await new Promise<void>((done) => silent.bind(0, '127.0.0.1', done));
    const { port } = silent.address();
    const server = await start(seeded(), []);
    const asking = await start(seeded(), [{ host: '127.0.0.1', port }]);
    try {
      for (const [question, why] of [
        ['gone.default.svc.cluster.local A', 'there is no Service default/gone'],
        ['web.nowhere.svc.cluster.local A', 'there is no namespace nowhere'],
        [
          'x.db.default.svc.cluster.local A',
          'Service default/db (headless) has no ready endpoint named x, of 2 ready endpoints',
        ],
        ['web.default.svc.cluster.local AAAA', 'Service default/web (ClusterIP)'],
        ['www.example.com A', 'only questions for single names of cluster.local are answered here'],
      ] as const) {
        for (const transport of ['+notcp', '+tcp', '+notcp']) {
          const told = await dig(server, `${question} +edns ${transport}`);
          assert.match(told, /EDE: (0 \(Other\)|20 \(Not Authoritative\))/, question);
          assert.ok(told.includes(`(${why})`), `${question}: ${told}`);
        }
        assert.doesNotMatch(await dig(server, `${question} +noedns`), /EDE/);
      }
      assert.doesNotMatch(await dig(server, 'web.default.svc.cluster.local A +edns'), /EDE/);
      assert.match(
        await dig(asking, 'www.example.com A +edns'),
        /SERVFAIL[^]*EDE: 22 \(No Reachable Authority\): \(no server answered for www\.example\.com\)/,
      );
    } finally {
      await server.stop();
      await asking.stop();
      silent.close();
    }
  });

  test('a client beyond its limit is not answered, another one is, on UDP and TCP', async () => {
    const server = await start(seeded(), [], { clientQueriesPerSecond: 5 });
    const name = 'web.default.svc.cluster.local';
    const limited = async (): Promise<number> => {
      const { body } = await get(`http://127.0.0.1:${server.healthPort}/metrics`);
      return Number(/^fairlead_dns_limited_total (\d+)/m.exec(body)?.[1]);
    };
    const socket = createSocket('udp4');
    let answered = 0;
    socket.on('message', () => (answered += 1));
    try {
      const query = packet.encode({ type: 'query', id: 1, questions: [{ type: 'A', name }] });
      const count = 60;
      for (let index = 0; index < count; index++) socket.send(query, server.port, '127.0.0.1');
      await eventually(async () => assert.equal((await limited()) + answered, count));
      assert.ok(answered >= 5 && answered < count, `${answered} answers`);
      const other = await ask(server.port, name, '127.0.0.2', '127.0.0.1');
      assert.equal(other.answers?.length, 1);
      await eventually(async () => {
        const before = await limited();
        await dig(server, `${name} A +tcp +time=1`);
        assert.ok((await limited()) > before, 'TCP counts too');
      });
    } finally {
      socket.close();
      await server.stop();
    }
  });

  test('1,000 endpoints: cut over UDP, whole over TCP, addresses and ports', async () => {
    const server = await start(seeded(), []);
    const { api } = server;
    const name = 'big.default.svc.cluster.local';
    api.seed(services, serviceOf('big', 'None'));
    for (let slice = 0; slice < 10; slice++) {
      const addresses = Array.from({ length: 100 }, (_, index) => `10.42.${slice}.${index + 1}`);
      const made = sliceOf('big', addresses, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
      api.seed(endpointSlices, { ...made, metadata: { ...made.metadata, name: `big-${slice}` } });
    }
    try {
      await eventually(async () => assert.equal((await short(server, `${name} A +tcp`)).length, 1000));
      const all = await short(server, `${name} A +tcp`);
      assert.equal(new Set(all).size, 1000, 'each once');
      assert.notDeepEqual(all, await short(server, `${name} A +tcp`), 'in another order');
      for (const how of ['+noedns', '+bufsize=1232', '+bufsize=65535']) {
        const cut = await dig(server, `${name} A +notcp +ignore ${how}`);
        assert.match(cut, /flags: qr aa tc rd/, how);
        const size = Number(/MSG SIZE\s+rcvd: (\d+)/.exec(cut)?.[1]);
        assert.ok(size <= (how === '+noedns' ? 512 : 1232), `${how}: ${size} bytes`);
      }
      assert.equal((await short(server, `${name} A`)).length, 1000, 'dig asks again over TCP by itself');
      const ports = await short(server, `_http._tcp.${name} SRV +tcp`);
      assert.equal(new Set(ports).size, 1000);
      assert.ok(ports.includes('0 100 8080 10-42-9-100.big.default.svc.cluster.local.'));
    } finally {
      await server.stop();
    }
  });

  test('the longest names and labels are answered', async () => {
    const label = 'a'.repeat(63);
    const server = await start(seeded(), []);
    const { port, api } = server;
    const namespace = 'n'.repeat(63);
    api.seed(namespaces, { metadata: { name: namespace } });
    const service = serviceOf(label, '10.43.0.99');
    api.seed(services, { ...service, metadata: { ...service.metadata, namespace } });
    try {
      const longest = `${label}.${namespace}.svc.cluster.local`;
      await eventually(async () => assert.deepEqual(await short({ port }, `${longest} A`), ['10.43.0.99']));
      assert.deepEqual(await short({ port }, '-x 10.43.0.99'), [`${longest}.`]);
      // 255 bytes with the lengths of its labels and the root.
      const head = [label, label, label, 'b'.repeat(255 - 3 * 64 - 'svc.cluster.local'.length - 3)].join('.');
      assert.match(await dig({ port }, `${head}.svc.cluster.local A`), /status: NXDOMAIN/);
    } finally {
      await server.stop();
    }
  });

  test('both families at once: each is answered where it asks', async () => {
    const port = await freePort();
    const listen = [
      { host: '127.0.0.1', port },
      { host: '::1', port },
    ];
    const server = await start(seeded(), [], { listen });
    try {
      for (const [from, to] of [
        ['127.0.0.1', '127.0.0.1'],
        ['::1', '::1'],
      ] as const) {
        const told = await ask(port, 'web.default.svc.cluster.local', from, to);
        assert.equal(told.answers?.length, 1, to);
      }
      const { body } = await get(`http://127.0.0.1:${server.healthPort}/metrics`);
      for (const family of [1, 2]) {
        assert.match(body, new RegExp(`coredns_dns_requests_total\\{[^}]*family="${family}"[^}]*\\} [1-9]`));
      }
    } finally {
      await server.stop();
    }
  });

  test('over IPv6: names, and the searches of a Pod by its address', async () => {
    const api = seeded();
    api.seed(pods, {
      metadata: { name: 'six', namespace: 'default' },
      spec: { containers: [] },
      status: { podIPs: [{ ip: '::1' }] },
    });
    const server = await start(api, [], {
      listen: [{ host: '::1', port: 0 }],
      autopath: true,
      podsVerified: true,
    });
    try {
      const first = 'web.default.default.svc.cluster.local'; // "web.default" as a Pod of "default" asks for it
      const told = async (name: string): Promise<readonly unknown[]> => {
        const { answers = [] } = await ask(server.port, name, '::1', '::1');
        return answers.map((record) => (record.type === 'A' ? record.data : record.type));
      };
      for (const way of ['long', 'quick']) {
        assert.deepEqual(await told('web.default.svc.cluster.local'), ['10.43.0.80'], way);
        assert.deepEqual(await told(first), ['10.43.0.80'], way);
      }
      // Several in one batch are known by the same addresses.
      const batch = await Promise.all(Array.from({ length: 20 }, async () => told(first)));
      assert.deepEqual(new Set(batch.flat()), new Set(['10.43.0.80']));
      api.remove(pods, 'default/six');
      await eventually(async () => assert.deepEqual(await told(first), []));
    } finally {
      await server.stop();
    }
  });
});
