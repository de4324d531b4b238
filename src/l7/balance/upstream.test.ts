import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { defaultLimits } from '../proxy/limits.ts';
import { ProxyMetrics } from '../observe/metrics.ts';
import type { ConnectionHandler, Transport } from '../transport/transport.ts';
import { UpstreamEndpoint, type UpstreamOwner, UpstreamPool } from './upstream.ts';

/** A network in which the test decides what becomes of each connection. */
function world() {
  const clock = new FakeClock();
  const made: ConnectionHandler[] = [];
  const transport: Transport = {
    connect(_address, _port, handler) {
      made.push(handler);
      return {
        remoteAddress: '10.0.0.1',
        write: () => true,
        end: () => {},
        destroy: () => {},
        pause: () => {},
        resume: () => {},
      };
    },
  };
  const pool = new UpstreamPool(transport, defaultLimits, new ProxyMetrics(), () => clock.monotonicMs());
  const endpoint = new UpstreamEndpoint('10.0.0.1:80', '10.0.0.1', 80, 100);
  const tick = async (ms: number): Promise<void> => {
    await clock.advance(ms);
    pool.tick([endpoint], clock.monotonicMs());
  };
  return { clock, made, pool, endpoint, tick };
}

function noting(told: string[]): UpstreamOwner {
  return {
    onUpstreamConnect: () => told.push('connect'),
    onUpstreamData: () => told.push('data'),
    onUpstreamDrain: () => told.push('drain'),
    onUpstreamEnd: () => told.push('end'),
    onUpstreamClose: (error) => told.push(`close ${error}`),
    onUpstreamTimeout: () => told.push('timeout'),
    onUpstreamLost: () => told.push('lost'),
  };
}

test('l7 upstream: an endpoint that is out is tried by a connection of our own, which is then kept', async () => {
  const { clock, made, pool, endpoint, tick } = world();
  pool.eject(endpoint, clock.monotonicMs());
  assert.equal(endpoint.avoided, true);
  await tick(defaultLimits.quarantineMs - 1);
  assert.equal(made.length, 0);
  await tick(1);
  assert.equal(made.length, 1);
  assert.equal(endpoint.avoided, true, 'no request goes there before it is known');
  made[0]?.onConnect('');
  assert.equal(endpoint.avoided, false);
  assert.equal(endpoint.idle.length, 1);
});

test('l7 upstream: a probe that is refused, or never answered, doubles the time', async () => {
  const { clock, made, pool, endpoint, tick } = world();
  pool.eject(endpoint, clock.monotonicMs());
  await tick(defaultLimits.quarantineMs);
  made[0]?.onClose('ECONNREFUSED');
  assert.equal(endpoint.ejection.untilMs - clock.monotonicMs(), 2 * defaultLimits.quarantineMs);
  await tick(2 * defaultLimits.quarantineMs);
  assert.equal(made.length, 2);
  await tick(defaultLimits.upstreamConnectTimeoutMs); // a black hole
  assert.equal(endpoint.ejection.untilMs - clock.monotonicMs(), 4 * defaultLimits.quarantineMs);
  assert.equal(endpoint.connections, 0);
});

test('l7 upstream: a slow endpoint that can be connected to keeps its requests', async () => {
  const { clock, made, pool, endpoint, tick } = world();
  const told: string[] = [];
  const waiting = pool.acquire(endpoint, noting(told), 'any', clock.monotonicMs());
  made[0]?.onConnect('');
  waiting.deadlineMs = clock.monotonicMs() + defaultLimits.upstreamHeaderTimeoutMs;
  waiting.stallMs = clock.monotonicMs() + defaultLimits.upstreamStallMs;
  await tick(defaultLimits.upstreamStallMs);
  assert.equal(made.length, 2);
  made[1]?.onConnect('');
  await tick(1);
  assert.equal(made.length, 2, 'not asked at every tick');
  await tick(defaultLimits.upstreamStallMs);
  assert.equal(made.length, 3);
  assert.deepEqual(told, ['connect']);
});

test('l7 upstream: when a node is cut off, those that wait for an answer from it are told', async () => {
  const { clock, made, pool, endpoint, tick } = world();
  const told: string[] = [];
  const waiting = pool.acquire(endpoint, noting(told), 'any', clock.monotonicMs());
  const idle = pool.acquire(endpoint, noting([]), 'any', clock.monotonicMs());
  for (const handler of made) handler.onConnect('');
  pool.release(idle, clock.monotonicMs());
  waiting.deadlineMs = clock.monotonicMs() + defaultLimits.upstreamHeaderTimeoutMs;
  waiting.stallMs = clock.monotonicMs() + defaultLimits.upstreamStallMs;
  await tick(defaultLimits.upstreamStallMs);
  await tick(defaultLimits.upstreamConnectTimeoutMs);
  assert.deepEqual(told, ['connect', 'lost']);
  assert.equal(endpoint.avoided, true);
  assert.equal(endpoint.idle.length, 0, 'kept connections lead nowhere, too');
});
