/** The DNS server on real sockets, asked by dig; its API is in memory and its upstreams are in this process. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import packet from 'dns-packet';
import { configMaps, endpointSlices, events, services } from '../../src/api/resource.ts';
import { get } from '../support/load.ts';
import { serviceOf, sliceOf } from '../support/services.ts';
import { eventually, runOk } from '../support/shell.ts';
import { dig, noDig as skip, type RunningDns, seeded, short, start } from './dns-server.ts';
import { startUpstream, type TestUpstream } from './dns-upstream.ts';

describe('dns', { skip, timeout: 300_000 }, () => {
  let upstream: TestUpstream;
  let server: RunningDns;

  before(async () => {
    upstream = await startUpstream((name, type, protocol) => {
      const record = { name, type: 'A', ttl: 60, class: 'IN' } as const;
      if (name === 'big.example.com' && protocol === 'udp') return { flags: packet.TRUNCATED_RESPONSE };
      if (name === 'gone.example.com') return { flags: 3 };
      if (type !== 'A') return {};
      return { answers: [{ ...record, data: '192.0.2.7' }] };
    });
    server = await start(seeded(), [{ host: '127.0.0.1', port: upstream.port }]);
  });

  after(async () => {
    await server.stop();
    await upstream.close();
  });

  for (const transport of ['+notcp', '+tcp']) {
    test(`names of Services answer (${transport})`, async () => {
      const ask = (question: string) => short(server, `${question} ${transport}`);
      assert.deepEqual(await ask('web.default.svc.cluster.local A'), ['10.43.0.80']);
      assert.deepEqual((await ask('db.default.svc.cluster.local A')).toSorted(), ['10.42.0.5', '10.42.1.5']);
      assert.deepEqual(await ask('10-42-1-5.db.default.svc.cluster.local A'), ['10.42.1.5']);
      assert.deepEqual(await ask('_http._tcp.web.default.svc.cluster.local SRV'), [
        '0 100 80 web.default.svc.cluster.local.',
      ]);
      assert.deepEqual(await ask('-x 10.43.0.80'), ['web.default.svc.cluster.local.']);
      assert.deepEqual(await ask('dns-version.cluster.local TXT'), ['"1.1.0"']);
      assert.deepEqual(await ask('outside.default.svc.cluster.local A'), ['www.example.com.', '192.0.2.7']);
      assert.deepEqual(await ask('www.example.com A'), ['192.0.2.7']);
    });
  }

  test('a missing name is NXDOMAIN with the SOA, a missing type NOERROR with the SOA', async () => {
    const missing = await dig(server, 'gone.default.svc.cluster.local A');
    assert.match(missing, /status: NXDOMAIN/);
    assert.match(missing, /flags: qr aa rd ra;/);
    assert.match(missing, /AUTHORITY: 1/);
    assert.match(missing, /IN\s+SOA\s+ns\.dns\.cluster\.local\. hostmaster\.cluster\.local\./);
    const typeless = await dig(server, 'web.default.svc.cluster.local AAAA');
    assert.match(typeless, /status: NOERROR/);
    assert.match(typeless, /ANSWER: 0, AUTHORITY: 1/);
  });

  test('the search list of a Pod finds the name', async () => {
    for (const [name, namespace, want] of [
      ['web', 'default', ['10.43.0.80']],
      ['web', 'other', []],
      ['web.default', 'other', ['10.43.0.80']],
    ] as const) {
      const found: string[] = [];
      for (const suffix of [`${namespace}.svc.cluster.local`, 'svc.cluster.local', 'cluster.local']) {
        found.push(...(await short(server, `${name}.${suffix} A`)));
      }
      assert.deepEqual(found, want, `${name} in ${namespace}`);
    }
  });

  test('the case of the question comes back', async () => {
    assert.match(
      await dig(server, 'WeB.dEfAuLt.sVc.ClUsTeR.LoCaL A'),
      /WeB\.dEfAuLt\.sVc\.ClUsTeR\.LoCaL\.\s+5\s+IN\s+A\s+10\.43\.0\.80/,
    );
  });

  test('names follow the endpoints', async () => {
    const { api } = server;
    api.seed(services, serviceOf('moving', 'None'));
    api.seed(endpointSlices, sliceOf('moving', ['10.42.0.1']));
    const addresses = async () => (await short(server, 'moving.default.svc.cluster.local A')).toSorted();
    await eventually(async () => assert.deepEqual(await addresses(), ['10.42.0.1']));
    const ready = (address: string, yes: boolean) => ({ addresses: [address], conditions: { ready: yes } });
    api.update(endpointSlices, 'default/moving-1', {
      endpoints: [ready('10.42.0.1', false), ready('10.42.0.2', true), ready('10.42.0.3', true)],
    });
    await eventually(async () => assert.deepEqual(await addresses(), ['10.42.0.2', '10.42.0.3']));
    api.remove(services, 'default/moving');
    await eventually(async () =>
      assert.match(await dig(server, 'moving.default.svc.cluster.local A'), /status: NXDOMAIN/),
    );
  });

  test('an answer too big for UDP is cut there and whole over TCP', async () => {
    const { api } = server;
    const many = Array.from({ length: 200 }, (_, index) => `10.42.7.${index + 1}`);
    api.seed(services, serviceOf('many', 'None'));
    api.seed(endpointSlices, sliceOf('many', many));
    const name = 'many.default.svc.cluster.local';
    await eventually(async () => assert.equal((await short(server, `${name} A +tcp`)).length, 200));
    const cut = await dig(server, `${name} A +notcp +ignore +noedns`);
    assert.match(cut, /flags: qr aa tc rd ra;/);
    assert.match(cut, /MSG SIZE\s+rcvd: (4\d\d|50\d|51[0-2])$/m);
    assert.equal((await short(server, `${name} A +notcp`)).length, 200, 'dig asks again by itself');
  });

  test('forwarded: a cut answer is asked for again over TCP, and kept', async () => {
    assert.deepEqual(await short(server, 'big.example.com A'), ['192.0.2.7']);
    assert.deepEqual(await short(server, 'big.example.com A'), ['192.0.2.7']);
    const asked = upstream.asked.filter((line) => line.includes('big.example.com'));
    assert.deepEqual(asked, ['udp big.example.com A', 'tcp big.example.com A']);
    assert.match(await dig(server, 'gone.example.com A'), /status: NXDOMAIN/);
  });

  test('names of one label stay here', async () => {
    assert.match(await dig(server, 'web A'), /status: NXDOMAIN/);
    assert.ok(!upstream.asked.some((line) => line.includes(' web ')));
  });

  test('many questions on one TCP connection are all answered', async () => {
    const count = 300;
    const socket = connect({ host: '127.0.0.1', port: server.port });
    const queries: Buffer[] = [];
    for (let id = 0; id < count; id++) {
      const name = id % 2 === 0 ? 'web.default.svc.cluster.local' : `n${id}.example.com`;
      queries.push(packet.streamEncode({ type: 'query', id, questions: [{ type: 'A', name }] }));
    }
    socket.write(Buffer.concat(queries));
    let received = Buffer.alloc(0);
    const answered = new Set<number>();
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0);
        const message = packet.decode(received.subarray(2, end));
        assert.equal(message.answers?.length, 1);
        answered.add(message.id ?? -1);
        received = received.subarray(end);
      }
      if (answered.size === count) break;
    }
    assert.equal(answered.size, count);
  });

  test('health, readiness, metrics and the table are served', async () => {
    const base = `http://127.0.0.1:${server.healthPort}`;
    assert.equal((await get(`${base}/healthz`)).status, 200);
    assert.equal((await get(`${base}/readyz`)).status, 200);
    const metrics = (await get(`${base}/metrics`)).body;
    assert.match(metrics, /coredns_dns_requests_total\{[^}]*proto="tcp"[^}]*type="A"\} \d+/);
    assert.match(metrics, /coredns_dns_responses_total\{[^}]*rcode="NXDOMAIN"[^}]*\} \d+/);
    assert.match(metrics, /coredns_dns_request_duration_seconds_bucket\{[^}]*le="\+Inf"\} \d+/);
    assert.match(metrics, /coredns_cache_hits_total\{[^}]*\} [1-9]/);
    assert.match(
      (await get(`${base}/debug/records`)).body,
      /web\.default\.svc\.cluster\.local\. 10\.43\.0\.80 http:80/,
    );
  });
});

describe('dns without all of its parts', { skip, timeout: 300_000 }, () => {
  test('a server that is silent or fails is passed over', async () => {
    const silent = await startUpstream(() => undefined);
    const failing = await startUpstream(() => ({ flags: 2 }));
    const good = await startUpstream((name) => ({
      answers: [{ name, type: 'A', ttl: 60, class: 'IN', data: '192.0.2.9' }],
    }));
    const all = [silent, failing, good];
    const server = await start(
      seeded(),
      all.map(({ port }) => ({ host: '127.0.0.1', port })),
    );
    try {
      assert.deepEqual(await short(server, 'a.example.com A'), ['192.0.2.9']);
      assert.deepEqual(await short(server, 'b.example.com A'), ['192.0.2.9']);
      assert.equal(
        silent.asked.filter((line) => line.includes('example')).length,
        1,
        'one that did not answer is not asked first again',
      );
    } finally {
      await server.stop();
      for (const upstream of all) await upstream.close();
    }
  });

  test('an upstream that went away: the last answer is given on, and a new one when it is back', async () => {
    let isUp = true;
    let address = '192.0.2.1';
    const upstream = await startUpstream((name) =>
      isUp ? { answers: [{ name, type: 'A', ttl: 1, class: 'IN', data: address }] } : { flags: 2 },
    );
    const server = await start(seeded(), [{ host: '127.0.0.1', port: upstream.port }]);
    const ask = async () => dig(server, 'a.example.com A');
    try {
      assert.match(await ask(), /a\.example\.com\.\s+1\s+IN\s+A\s+192\.0\.2\.1/);
      isUp = false;
      await eventually(async () =>
        assert.match(await ask(), /EDE: 3 \(Stale Answer\)[^]*\s30\s+IN\s+A\s+192\.0\.2\.1/),
      );
      const metrics = (await get(`http://127.0.0.1:${server.healthPort}/metrics`)).body;
      assert.match(metrics, /coredns_cache_served_stale_total\{[^}]*\} [1-9]/);
      isUp = true;
      address = '192.0.2.2';
      assert.deepEqual(await short(server, 'b.example.com A'), ['192.0.2.2']);
    } finally {
      await server.stop();
      await upstream.close();
    }
  });

  test('an upstream that leads back to this server is found out', async () => {
    const relay = createSocket('udp4');
    await new Promise<void>((done) => relay.bind(0, '127.0.0.1', done));
    const server = await start(seeded(), [{ host: '127.0.0.1', port: relay.address().port }]);
    const back = createSocket('udp4');
    // What it is asked goes to the server itself, as a resolver does that asks cluster DNS for everything.
    relay.on('message', (query) => back.send(query, server.port, '127.0.0.1'));
    try {
      assert.match(await dig(server, 'www.example.com A'), /status: SERVFAIL/);
      await eventually(async () => {
        const metrics = (await get(`http://127.0.0.1:${server.healthPort}/metrics`)).body;
        assert.match(metrics, /fairlead_dns_loops_total [1-9]/);
      });
    } finally {
      await server.stop();
      relay.close();
      back.close();
    }
  });

  test('the ConfigMap sets hosts, stub domains and upstreams; a bad edit keeps the last good one', async () => {
    const answering = async (address: string) =>
      startUpstream((name) => ({ answers: [{ name, type: 'A', ttl: 60, class: 'IN', data: address }] }));
    const [first, second, stub] = [
      await answering('192.0.2.1'),
      await answering('192.0.2.2'),
      await answering('192.0.2.3'),
    ];
    const server = await start(seeded(), [{ host: '127.0.0.1', port: first.port }]);
    const { api } = server;
    const at = ({ port }: TestUpstream) => `127.0.0.1:${port}`;
    const becomes = async (question: string, want: readonly string[]) =>
      eventually(async () => assert.deepEqual(await short(server, question), want));
    try {
      await becomes('www.example.com A', ['192.0.2.1']);
      api.seed(configMaps, {
        metadata: { name: 'fairlead-dns', namespace: 'kube-system' },
        data: {
          upstreamNameservers: JSON.stringify([at(second)]),
          stubDomains: JSON.stringify({ 'acme.local': [at(stub)] }),
          hosts: '192.0.2.4 db.corp',
        },
      });
      await becomes('www.example.com A', ['192.0.2.2']);
      await becomes('a.acme.local A', ['192.0.2.3']);
      await becomes('db.corp A', ['192.0.2.4']);
      await becomes('-x 192.0.2.4', ['db.corp.']);
      await eventually(() => assert.equal(api.objects(events)[0]?.reason, 'SettingsApplied'));
      api.update(configMaps, 'kube-system/fairlead-dns', {
        data: { hosts: 'nonsense', stubDomains: '{' },
      });
      await eventually(() => {
        const warning = api.objects(events).find(({ type }) => type === 'Warning');
        assert.equal(warning?.reason, 'InvalidSettings');
        assert.match(warning.message ?? '', /stubDomains: is not JSON; hosts: line 1/);
      });
      const { body } = await get(`http://127.0.0.1:${server.healthPort}/metrics`);
      assert.match(body, /^coredns_reload_failed_total 1$/m);
      assert.match(body, /^coredns_hosts_entries 1$/m, 'those of the last good one');
      await becomes('db.corp A', ['192.0.2.4']);
      await becomes('b.acme.local A', ['192.0.2.3']);
      api.remove(configMaps, 'kube-system/fairlead-dns');
      await becomes('www.example.com A', ['192.0.2.1']);
    } finally {
      await server.stop();
      for (const upstream of [first, second, stub]) await upstream.close();
    }
  });

  test('answers never name an endpoint that has left, however fast they change', async () => {
    const api = seeded();
    const server = await start(api, []);
    const name = 'churn.default.svc.cluster.local';
    api.seed(services, serviceOf('churn', 'None'));
    api.seed(endpointSlices, sliceOf('churn', ['10.42.1.1']));
    await eventually(async () => assert.equal((await short(server, `${name} A`)).length, 1));
    // Each state names one endpoint more than the last; what is told may never fall behind what was told or known before.
    const rounds = 40;
    const socket = createSocket('udp4');
    try {
      for (let round = 2; round <= rounds; round++) {
        api.update(endpointSlices, 'default/churn-1', {
          endpoints: [{ addresses: [`10.42.1.${round}`], conditions: { ready: true } }],
        });
        const answer = Promise.withResolvers<Buffer>();
        socket.once('message', answer.resolve);
        const question = { type: 'A' as const, name };
        // The watch's event was queued before this datagram is sent: it is read first.
        await new Promise((done) => setImmediate(done));
        socket.send(
          packet.encode({ type: 'query', id: round, questions: [question] }),
          server.port,
          '127.0.0.1',
        );
        const [record] = packet.decode(await answer.promise).answers ?? [];
        assert.equal(record?.type === 'A' && record.data, `10.42.1.${round}`);
      }
    } finally {
      socket.close();
      await server.stop();
    }
  });

  test('nobody to ask: outside names are refused at once', async () => {
    const server = await start(seeded(), []);
    try {
      const refused = await dig(server, 'www.example.com A');
      assert.match(refused, /status: REFUSED/);
      assert.match(refused, /flags: qr rd;/);
      assert.deepEqual(await short(server, 'outside.default.svc.cluster.local A'), ['www.example.com.']);
    } finally {
      await server.stop();
    }
  });

  test('a server that nobody listens at is SERVFAIL, not silence', async () => {
    const closed = await startUpstream(() => undefined);
    await closed.close();
    const server = await start(seeded(), [{ host: '127.0.0.1', port: closed.port }]);
    try {
      assert.match(await dig(server, 'www.example.com A'), /status: SERVFAIL/);
    } finally {
      await server.stop();
    }
  });

  test('while the API is away the last known names are served', async () => {
    const server = await start(seeded(), []);
    try {
      server.api.disconnect({ down: true });
      assert.deepEqual(await short(server, 'web.default.svc.cluster.local A'), ['10.43.0.80']);
      server.api.reconnect();
      server.api.seed(services, serviceOf('late', '10.43.0.90'));
      await eventually(async () =>
        assert.deepEqual(await short(server, 'late.default.svc.cluster.local A'), ['10.43.0.90']),
      );
    } finally {
      await server.stop();
    }
  });
});

const noNamespaces = skip !== false ? skip : process.getuid?.() === 0 ? false : 'needs root';

test('dns: on a wildcard address the answer comes from the address that was asked', {
  skip: noNamespaces,
}, async () => {
  // The source of the query is an address of the same machine: by the route alone the answer would come from there.
  const command = new URL('../../src/cmd/dns.ts', import.meta.url).href;
  const program = `const { dnsCommand } = await import(${JSON.stringify(command)}); await dnsCommand().parseAsync(process.argv.slice(1), { from: "user" });`;
  const script = [
    'set -e',
    'ip link set lo up',
    'ip addr add 10.9.0.1/24 dev lo',
    'ip addr add 10.9.1.1/24 dev lo',
    `"$1" --disable-warning=ExperimentalWarning --input-type=module -e "$2" -- --kubeconfig "$3" --upstream none --health-address "" &`,
    'server=$!',
    'trap "kill $server; wait $server" EXIT',
    'for i in $(seq 1000); do dig +tries=1 +time=1 +short @10.9.0.1 localhost A | grep -q 127.0.0.1 && break; done',
    'dig +tries=1 +time=30 -b 10.9.1.1 @10.9.0.1 localhost A',
  ].join('\n');
  const kubeconfig = new URL('./dns-kubeconfig.yaml', import.meta.url).pathname;
  const output = await runOk('unshare', [
    '--net',
    'sh',
    '-c',
    script,
    'sh',
    process.execPath,
    program,
    kubeconfig,
  ]);
  assert.match(output, /SERVER: 10\.9\.0\.1#53/);
  assert.match(output, /localhost\.\s+5\s+IN\s+A\s+127\.0\.0\.1/);
});
