/** What becomes of a connection of TLS that passes through, on a network and a clock of this test's own. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { objectKey } from '../../api/object.ts';
import { parseCidr } from '../../base/ip.ts';
import { defaultBalance } from '../balance/balance-policy.ts';
import { emptyPolicy, type RoutePolicy } from '../policy/policy.ts';
import type { AccessRecord } from '../proxy/context.ts';
import { defaultLimits, type ProxyLimits } from '../proxy/limits.ts';
import { ProxyWorker } from '../proxy/proxy-worker.ts';
import { emptyRouteTable, type Route } from '../routes/table.ts';
import type { Connection, ConnectionHandler } from '../transport/transport.ts';

class Wire implements Connection {
  readonly remoteAddress = '192.0.2.1';
  flowing = true;
  paused = false;
  ended = false;
  destroyed = false;
  text = '';

  write(data: Buffer | string): boolean {
    this.text += data.toString('latin1');
    return this.flowing;
  }

  end(): void {
    this.ended = true;
  }

  destroy(): void {
    this.destroyed = true;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }
}

type End = { readonly wire: Wire; readonly handler: ConnectionHandler; readonly address: string };

const say = ({ handler }: End, text: string): void => handler.onData(Buffer.from(text, 'latin1'));
const alertOf = ({ wire }: End): number => wire.text.charCodeAt(6);
const ingress = objectKey('default', 'web');

type World = {
  readonly endpoints?: readonly string[];
  readonly policy?: Partial<RoutePolicy>;
  readonly limits?: Partial<ProxyLimits>;
  /** Address to error: cannot be connected to. */
  readonly refused?: ReadonlyMap<string, string>;
};

function start(t: TestContext, { endpoints = ['10.0.0.1'], policy, limits, refused }: World = {}) {
  const clock = new FakeClock();
  const upstreams: End[] = [];
  const records: AccessRecord[] = [];
  const transport = {
    connect(address: string, _port: number, handler: ConnectionHandler) {
      const wire = new Wire();
      upstreams.push({ wire, handler, address });
      const error = refused?.get(address);
      if (error !== 'never')
        queueMicrotask(() => (error === undefined ? handler.onConnect('') : handler.onClose(error)));
      return wire;
    },
  };
  const worker = new ProxyWorker(transport, clock, {
    limits: { ...defaultLimits, ...limits },
    isTrusted: () => false,
    onAccess: (record) => records.push(record),
  });
  const route: Route = {
    ingress,
    host: 'db.example',
    path: '/',
    pathType: 'Prefix',
    pattern: undefined,
    backend: 0,
    policy: policy && { ...emptyPolicy(ingress), ...policy },
  };
  const key = 'default/db:443';
  const places = endpoints.map((address) => ({ address, port: 443 }));
  const rest = { tls: undefined, protocol: 'http1', answer: undefined, balance: defaultBalance } as const;
  const backends = [{ id: key, key, index: 0, endpoints: places, ...rest }];
  worker.publish({ ...emptyRouteTable, backends, relayed: new Map([['db.example', route]]) });
  t.after(() => worker.close());
  const open = async (serverName = 'db.example'): Promise<End> => {
    const wire = new Wire();
    const hello = { serverName, protocols: [], version: 0x0304 };
    const handler = worker.accept(wire, { scheme: 'https', protocol: '', hello })!;
    const end = { wire, handler, address: wire.remoteAddress };
    say(end, 'hello');
    await clock.advance(0);
    return end;
  };
  return { clock, worker, upstreams, records, open };
}

test('relay: bytes go both ways as they come, and the log tells of it at the end', async (t) => {
  const { worker, upstreams, records, open } = start(t);
  const client = await open();
  const [upstream] = upstreams;
  say(client, ' more');
  assert.equal(upstream!.wire.text, 'hello more');
  say(upstream!, 'answer');
  assert.equal(client.wire.text, 'answer');
  assert.equal(worker.metrics.relays, 1);
  client.handler.onEnd();
  assert.equal(upstream!.wire.ended, true);
  assert.equal(client.wire.ended, false, 'the other direction is still open');
  say(upstream!, ' rest');
  upstream!.handler.onEnd();
  upstream!.handler.onClose(undefined);
  assert.deepEqual([client.wire.text, client.wire.ended], ['answer rest', true]);
  client.handler.onClose(undefined);
  assert.deepEqual([worker.metrics.relays, worker.metrics.relaysEnded[200]], [0, 1]);
  assert.deepEqual([worker.metrics.receivedBytes, worker.metrics.sentBytes], [10, 11]);
  const [{ protocol, host, status, backend, endpoint }] = records as [AccessRecord];
  assert.deepEqual(
    [protocol, host, status, backend, endpoint],
    ['TLS', 'db.example', 200, 'default/db:443', '10.0.0.1:443'],
  );
  assert.equal(records.length, 1);
  const [{ receivedBytes, sentBytes, connectMs, firstByteMs, serverName }] = records as [AccessRecord];
  assert.deepEqual([receivedBytes, sentBytes, connectMs, firstByteMs], [10, 11, 0, 0]);
  assert.equal(serverName, 'db.example');
});

test('relay: a reader that is slow stops the other side, in both directions', async (t) => {
  const { upstreams, open } = start(t);
  const client = await open();
  const upstream = upstreams[0]!;
  upstream.wire.flowing = false;
  say(client, 'x');
  assert.equal(client.wire.paused, true);
  upstream.handler.onDrain();
  assert.equal(client.wire.paused, false);
  client.wire.flowing = false;
  say(upstream, 'y');
  assert.equal(upstream.wire.paused, true);
  client.handler.onDrain();
  assert.equal(upstream.wire.paused, false);
});

test('relay: while nobody is connected to, no more than what has come is held', async (t) => {
  const { upstreams, open } = start(t, { refused: new Map([['10.0.0.1', 'never']]) });
  const client = await open();
  assert.equal(client.wire.paused, true);
  say(client, ' and one more read');
  upstreams[0]!.handler.onConnect('');
  assert.equal(upstreams[0]!.wire.text, 'hello and one more read');
  assert.equal(client.wire.paused, false);
});

test('relay: an endpoint that cannot be connected to is passed over; with none left the client gets an alert', async (t) => {
  const { upstreams, open, records } = start(t, {
    endpoints: ['10.0.0.1', '10.0.0.2'],
    refused: new Map([['10.0.0.1', 'ECONNREFUSED']]),
  });
  await open();
  assert.deepEqual(
    upstreams.map(({ address, wire }) => [address, wire.text]),
    [
      ['10.0.0.1', ''],
      ['10.0.0.2', 'hello'],
    ],
  );
  const none = start(t, { refused: new Map([['10.0.0.1', 'ECONNREFUSED']]) });
  const client = await none.open();
  assert.deepEqual([alertOf(client), client.wire.ended], [80, true]);
  assert.deepEqual(
    none.records.map(({ status }) => status),
    [502],
  );
  assert.equal(records.length, 0);
});

test('relay: one that does not connect in time counts as failed', async (t) => {
  const { clock, open, records } = start(t, {
    refused: new Map([['10.0.0.1', 'never']]),
    policy: { limits: { upstreamConnectTimeoutMs: 2000 } },
  });
  const client = await open();
  await clock.advance(3000);
  assert.equal(alertOf(client), 80);
  assert.deepEqual(
    records.map(({ status }) => status),
    [504],
  );
});

test('relay: no endpoint, no route any more, and a source that is kept out', async (t) => {
  for (const [world, name, status, alert] of [
    [{ endpoints: [] }, 'db.example', 503, 80],
    [{}, 'gone.example', 404, 112],
    [{ policy: { sources: { allow: [parseCidr('10.0.0.0/8')!], deny: [] } } }, 'db.example', 403, 49],
    [{ policy: { rate: { perSecond: 0.001, burst: 0, exempt: [] } } }, 'db.example', 429, 49],
  ] as const) {
    const { open, upstreams, records } = start(t, world);
    const client = await open(name);
    assert.equal(upstreams.length, 0);
    assert.deepEqual([records[0]?.status, alertOf(client), client.wire.ended], [status, alert, true]);
  }
});

test('relay: connection-limit counts connections as long as they last', async (t) => {
  const { open, upstreams } = start(t, { policy: { connectionLimit: 1 } });
  const first = await open();
  assert.equal(alertOf(await open()), 49);
  first.handler.onClose('ECONNRESET');
  assert.equal(upstreams[0]!.wire.destroyed, true);
  assert.equal((await open()).wire.text, '');
  assert.equal(upstreams.length, 2);
});

test('relay: tunnelIdleTimeoutMs, and sooner who takes nothing of what is held for it', async (t) => {
  const limits = { tunnelIdleTimeoutMs: 60_000, clientBodyTimeoutMs: 10_000, upstreamSendTimeoutMs: 5_000 };
  const idle = start(t, { limits });
  const client = await idle.open();
  await idle.clock.advance(50_000);
  say(idle.upstreams[0]!, 'x');
  await idle.clock.advance(50_000);
  assert.equal(client.wire.destroyed, false);
  await idle.clock.advance(12_000);
  assert.deepEqual([client.wire.destroyed, idle.upstreams[0]!.wire.destroyed], [true, true]);
  for (const [slow, boundMs] of [
    ['client', 10_000],
    ['endpoint', 5_000],
  ] as const) {
    const { clock, open, upstreams } = start(t, { limits });
    const one = await open();
    const [reader, writer] = slow === 'client' ? [one, upstreams[0]!] : [upstreams[0]!, one];
    reader.wire.flowing = false;
    say(writer, 'held');
    await clock.advance(boundMs - 1000);
    say(reader, 'the other way it goes on');
    assert.equal(one.wire.destroyed, false);
    await clock.advance(2000);
    assert.equal(one.wire.destroyed, true, slow);
  }
});

test('relay: what a client that has ended has sent still goes out after its connection is gone', async (t) => {
  const { upstreams, open, records, clock } = start(t);
  const client = await open();
  const upstream = upstreams[0]!;
  client.handler.onEnd();
  upstream.handler.onEnd();
  client.handler.onClose(undefined);
  assert.deepEqual([upstream.wire.ended, upstream.wire.destroyed, records.length], [true, false, 0]);
  await clock.advance(0);
  upstream.handler.onClose(undefined);
  assert.equal(records.length, 1);
});

test('relay: a client that goes before anybody was reached counts as 499', async (t) => {
  const { open, records, upstreams } = start(t, { refused: new Map([['10.0.0.1', 'never']]) });
  const client = await open();
  client.handler.onClose('ECONNRESET');
  assert.deepEqual([records[0]?.status, upstreams[0]!.wire.destroyed], [499, true]);
});
