/** Each bound of the proxy and what happens at it, on a network and a clock of this test's own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { send, startWorker } from '../../../test/support/l7-worker.ts';
import { framesOf, frame, settings, type as frameType } from '../../../test/support/http2-frames.ts';
import { silentLogger } from '../../base/log.ts';
import { BackendMetricsSet, backendsCountedMax } from '../observe/backend-metrics.ts';
import { lingerBytesMax } from '../http1/client-connection.ts';
import { PolicyStates, passwordsMax, rateClientsMax } from '../policy/policy-states.ts';
import { emptyRouteTable } from '../routes/table.ts';
import { Certificates } from '../transport/tls.ts';
import { sessionsMax, TlsSessions } from '../transport/tls-sessions.ts';

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

test('clientConnectionsMax: one more is refused and counted', (t) => {
  const { worker, open } = startWorker(t, { clientConnectionsMax: 2 });
  const [first] = [open(), open()];
  assert.equal(open(), undefined);
  assert.equal(worker.metrics.clientConnectionsRefused, 1);
  first!.handler.onClose(undefined);
  assert.ok(open() !== undefined);
});

test('tunnelIdleTimeoutMs: a tunnel without a byte either way is closed, one that moves is not', async (t) => {
  const { clock, upstreams, ask } = startWorker(t, { tunnelIdleTimeoutMs: 10_000 });
  const client = await ask(
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  const upstream = upstreams[0]!;
  send(upstream, 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  assert.match(client.wire.takeText(), /^HTTP\/1.1 101/);
  for (const end of [client, upstream, client]) {
    await clock.advance(9000);
    send(end, 'x');
  }
  await clock.advance(9000);
  assert.deepEqual([client.wire.destroyed, upstream.wire.destroyed], [false, false]);
  await clock.advance(2000);
  assert.deepEqual([client.wire.destroyed, upstream.wire.destroyed], [true, true]);
});

test('a tunnel whose reader takes nothing is cut by clientBodyTimeoutMs or upstreamSendTimeoutMs, whatever the other side sends', async (t) => {
  const limits = { tunnelIdleTimeoutMs: 100_000, clientBodyTimeoutMs: 10_000, upstreamSendTimeoutMs: 5_000 };
  for (const [slow, boundMs] of [
    ['client', 10_000],
    ['endpoint', 5_000],
  ] as const) {
    const { clock, upstreams, ask } = startWorker(t, limits);
    const client = await ask(
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    );
    const upstream = upstreams[0]!;
    send(upstream, 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    const [reader, writer] = slow === 'client' ? [client, upstream] : [upstream, client];
    const stall = (): void => {
      reader.wire.flowing = false;
      send(writer, 'held');
    };
    // It takes what is held in time: nothing is lost.
    stall();
    await clock.advance(boundMs - 1000);
    reader.wire.flowing = true;
    reader.handler.onDrain();
    await clock.advance(boundMs + 1000);
    assert.deepEqual([client.wire.destroyed, upstream.wire.destroyed], [false, false], slow);
    stall();
    await clock.advance(boundMs - 1000);
    send(reader, 'it still sends itself');
    assert.deepEqual([client.wire.destroyed, upstream.wire.destroyed], [false, false], slow);
    await clock.advance(2000);
    assert.deepEqual([client.wire.destroyed, upstream.wire.destroyed], [true, true], slow);
  }
});

test('upstreamIdleTimeoutMs: an unused connection to an endpoint is closed', async (t) => {
  const { clock, worker, upstreams, ask } = startWorker(t, { upstreamIdleTimeoutMs: 5000 });
  await ask(get);
  send(upstreams[0]!, ok);
  await clock.advance(4000);
  assert.equal(upstreams[0]!.wire.destroyed, false);
  await clock.advance(2000);
  assert.equal(upstreams[0]!.wire.destroyed, true);
  assert.equal(worker.metrics.upstreamConnections, 0);
});

test('endpointIdleMax: so many unused connections are kept, and no more', async (t) => {
  const { upstreams, ask } = startWorker(t, { endpointIdleMax: 2 });
  for (let index = 0; index < 3; index += 1) await ask(get);
  for (const upstream of upstreams) send(upstream, ok);
  assert.deepEqual(
    upstreams.map(({ wire }) => wire.destroyed),
    [false, false, true],
  );
});

test('informationalMax: one more informational answer is 502', async (t) => {
  const { upstreams, ask } = startWorker(t, { informationalMax: 2 });
  const client = await ask(get);
  const hint = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';
  send(upstreams[0]!, hint + hint);
  assert.equal(client.wire.takeText().match(/HTTP\/1.1 103/g)?.length, 2);
  send(upstreams[0]!, hint);
  assert.match(client.wire.takeText(), /^HTTP\/1.1 502/);
});

test('replayBytesMax: a body beyond it is not sent again, one within is', async (t) => {
  const { clock, upstreams, ask } = startWorker(t, { replayBytesMax: 8 });
  for (const [bytes, wanted] of [
    [8, 'again'],
    [9, 'never'],
  ] as const) {
    await ask(get);
    const kept = upstreams.at(-1)!;
    send(kept, ok); // a connection that was used before may end at any time, which says nothing of its endpoint
    const before = upstreams.length;
    const put = `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n${'x'.repeat(bytes)}`;
    const client = await ask(put);
    kept.handler.onClose('ECONNRESET');
    await clock.advance(0);
    assert.equal(upstreams.length - before, wanted === 'again' ? 1 : 0);
    if (wanted === 'again') {
      assert.match(upstreams.at(-1)!.wire.takeText(), /x{8}$/);
      send(upstreams.at(-1)!, `HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n`);
    }
    assert.match(client.wire.takeText(), wanted === 'again' ? /^HTTP\/1.1 204/ : /^HTTP\/1.1 502/);
  }
});

test('responseHeadBytesMax: a head of an answer that does not end is 502', async (t) => {
  const { upstreams, ask } = startWorker(t, { responseHeadBytesMax: 1000 });
  const client = await ask(get);
  send(upstreams[0]!, `HTTP/1.1 200 OK\r\nA: ${'a'.repeat(900)}`);
  assert.equal(client.wire.takeText(), '');
  send(upstreams[0]!, 'a'.repeat(200));
  assert.match(client.wire.takeText(), /^HTTP\/1.1 502/);
  assert.equal(upstreams[0]!.wire.destroyed, true);
});

test('upstreamSendTimeoutMs: an endpoint that takes no more of a body is 504', async (t) => {
  const { clock, upstreams, ask } = startWorker(t, { upstreamSendTimeoutMs: 5000 });
  const client = await ask('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n');
  upstreams[0]!.wire.flowing = false;
  send(client, 'x'.repeat(10));
  await clock.advance(4000);
  assert.equal(client.wire.takeText(), '');
  await clock.advance(2000);
  assert.match(client.wire.takeText(), /^HTTP\/1.1 504/);
});

test('upstreamPingIntervalMs and -TimeoutMs: a dead peer of HTTP/2 is found while a call is silent', async (t) => {
  const limits = {
    upstreamPingIntervalMs: 30_000,
    upstreamPingTimeoutMs: 5000,
    upstreamHeaderTimeoutMs: Number.POSITIVE_INFINITY,
    upstreamStallMs: Number.POSITIVE_INFINITY,
  };
  const { clock, upstreams, ask } = startWorker(t, limits, 'http2');
  const client = await ask('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n');
  const upstream = upstreams[0]!;
  upstream.handler.onData(settings());
  await clock.advance(0);
  upstream.wire.take();
  const pings = (): number =>
    framesOf(upstream.wire.take()).frames.filter(({ type }) => type === frameType.ping).length;
  await clock.advance(29_000);
  assert.equal(pings(), 0);
  await clock.advance(2000);
  assert.equal(pings(), 1);
  upstream.handler.onData(frame(frameType.ping, 1, 0, 'fairlead'));
  await clock.advance(29_000);
  assert.equal(upstream.wire.destroyed, false);
  await clock.advance(2000);
  assert.equal(pings(), 1);
  await clock.advance(6000);
  assert.equal(upstream.wire.destroyed, true);
  assert.match(client.wire.takeText(), /^HTTP\/1.1 504/);
});

test('lingerBytesMax: after a refusal so much is thrown away, then the client is cut', async (t) => {
  const { ask } = startWorker(t, {});
  const client = await ask('NO\r\n\r\n');
  assert.match(client.wire.takeText(), /^HTTP\/1.1 400/);
  client.handler.onData(Buffer.alloc(lingerBytesMax));
  assert.equal(client.wire.destroyed, false);
  client.handler.onData(Buffer.alloc(1));
  assert.equal(client.wire.destroyed, true);
});

test('rateClientsMax: beyond, the client asked for longest ago starts afresh', () => {
  const states = new PolicyStates();
  const rate = { perSecond: 0.001, burst: 1, exempt: [] };
  assert.equal(states.takeRate('default/web', 'first', rate, 0), 0);
  for (let index = 1; index < rateClientsMax; index += 1) states.takeRate('default/web', `${index}`, rate, 0);
  assert.ok(states.takeRate('default/web', 'first', rate, 0) > 0); // and is the latest now
  states.takeRate('default/web', 'one more', rate, 0);
  assert.equal(states.takeRate('default/web', '1', rate, 0), 0);
  assert.ok(states.takeRate('default/web', 'first', rate, 0) > 0);
});

test('passwordsMax: beyond, the oldest is checked again', () => {
  const states = new PolicyStates();
  let checks = 0;
  const check = (): boolean => {
    checks += 1;
    return true;
  };
  for (let index = 0; index < passwordsMax; index += 1) states.checkPassword(`${index}`, check);
  states.checkPassword('0', check);
  assert.equal(checks, passwordsMax);
  states.checkPassword('one more', check);
  states.checkPassword('0', check);
  assert.equal(checks, passwordsMax + 2);
});

test('issuedMax: beyond, the oldest certificate of our own is made anew', async () => {
  const certificates = new Certificates(silentLogger, new FakeClock(), undefined, undefined, 2);
  const hosts = ['a.example', 'b.example', 'c.example'];
  const routes = {
    exact: new Map(),
    prefix: new Map(),
    patterns: [],
    prefixElementsMax: 0,
    defaultRoute: undefined,
  };
  certificates.publish({ ...emptyRouteTable, exactHosts: new Map(hosts.map((host) => [host, routes])) });
  const [a, b, c] = [
    await certificates.pairFor('a.example'),
    await certificates.pairFor('b.example'),
    await certificates.pairFor('c.example'),
  ];
  assert.equal(await certificates.pairFor('c.example'), c);
  assert.equal(await certificates.pairFor('b.example'), b);
  assert.notEqual(await certificates.pairFor('a.example'), a);
});

test('sessionsMax: beyond, the session that came first is forgotten', () => {
  const sessions = new TlsSessions();
  for (let index = 0; index < sessionsMax; index += 1) sessions.remember(`${index}`, Buffer.from('s'));
  sessions.remember('0', Buffer.from('later'));
  sessions.remember('one more', Buffer.from('s'));
  assert.equal(sessions.of('1'), undefined);
  assert.equal(sessions.of('0')?.toString(), 'later');
});

test('backendsCountedMax: further backends are counted together', () => {
  const counted = new BackendMetricsSet();
  for (let index = 0; index < backendsCountedMax; index += 1) counted.of(`default/${index}:80`);
  assert.equal(counted.of('default/more:80'), counted.of('default/another:80'));
  assert.notEqual(counted.of('default/0:80'), counted.of('default/more:80'));
  assert.equal([...counted.entries()].length, backendsCountedMax + 1);
});
