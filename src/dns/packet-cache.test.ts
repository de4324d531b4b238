import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import packet from 'dns-packet';
import fc from 'fast-check';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { serviceOf, sliceOf } from '../../test/support/services.ts';
import { silentLogger } from '../base/log.ts';
import { ClientLimits, clientsMax } from './client-limits.ts';
import { clientOf } from './client-number.ts';
import { createForwarder } from './forward.ts';
import { DnsMetrics } from './metrics.ts';
import { PodTable } from './pods.ts';
import { compileService } from './records.ts';
import { createResolver, type Resolver, type Via } from './resolver.ts';
import { noHosts } from './settings.ts';
import { DnsTable } from './table.ts';

const udp: Via = { protocol: 'udp', family: 4 };
const tcp: Via = { protocol: 'tcp', family: 4 };
const zone = 'cluster.local';

function world(): { readonly table: DnsTable; readonly pods: PodTable; readonly resolver: Resolver } {
  const table = new DnsTable(7);
  const pods = new PodTable(zone);
  const clock = new FakeClock();
  const metrics = new DnsMetrics();
  const forwarder = createForwarder({ upstreams: [], stubDomains: new Map() }, clock, metrics);
  const resolver = createResolver(table, forwarder, metrics, clock, silentLogger, {
    zone,
    ttlSeconds: 5,
    settings: { hosts: noHosts, version: 0 },
    pods,
    autopath: true,
  });
  table.setNamespace('default', true);
  table.setNamespace('other', true);
  set(table, 'web', '10.43.0.80');
  table.setService(
    'default/db',
    compileService(serviceOf('db', 'None'), () => [sliceOf('db', ['10.42.0.1', '10.42.0.2', '10.42.0.3'])]),
  );
  table.synced = true;
  pods.set('default/a', { metadata: { namespace: 'default' }, status: { podIP: '10.42.0.5' } });
  return { table, pods, resolver };
}

function set(table: DnsTable, name: string, address: string): void {
  table.setService(
    `default/${name}`,
    compileService(serviceOf(name, address), () => []),
  );
}

type Asking = {
  readonly id?: number;
  readonly via?: Via;
  readonly client?: string;
  readonly type?: 'A' | 'AAAA';
};

/** Asks as a server does: quickly, and the long way where that fails. Tells which it was. */
function ask(
  resolver: Resolver,
  name: string,
  { id = 1, via = udp, client = '10.42.0.9', type = 'A' }: Asking = {},
) {
  const query = packet.encode({
    type: 'query',
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type, name }],
  });
  return askBytes(resolver, query, via, client);
}

function askBytes(resolver: Resolver, query: Buffer, via: Via, client: string) {
  const output = Buffer.alloc(1500);
  const { peer: who } = clientOf(client);
  const bytes = resolver.quick(query, 0, query.length, output, 10, via, who, 0);
  if (bytes > 0) return { way: 'quick', answer: output.subarray(10, 10 + bytes) } as const;
  const answer = resolver.resolve(query, via, who);
  assert.ok(!(answer instanceof Promise));
  return { way: 'long', answer } as const;
}

function addressesOf(answer: Buffer | undefined): readonly string[] {
  assert.ok(answer !== undefined);
  return (packet.decode(answer).answers ?? []).flatMap((record) =>
    record.type === 'A' ? [record.data] : [],
  );
}

describe('finished packets', () => {
  test('the second answer is the first with its own id and spelling', () => {
    const { resolver } = world();
    const first = ask(resolver, 'web.default.svc.cluster.local', { id: 7 });
    const second = ask(resolver, 'WEB.Default.svc.Cluster.local', { id: 4711 });
    assert.deepEqual([first.way, second.way], ['long', 'quick']);
    assert.ok(second.answer !== undefined);
    const decoded = packet.decode(Buffer.from(second.answer));
    assert.equal(decoded.id, 4711);
    assert.equal(decoded.questions?.[0]?.name, 'WEB.Default.svc.Cluster.local');
    assert.equal(decoded.answers?.[0]?.name, 'WEB.Default.svc.Cluster.local');
    assert.deepEqual(addressesOf(second.answer), ['10.43.0.80']);
  });

  test('a change is seen by the very next query', () => {
    const { resolver, table } = world();
    const name = 'web.default.svc.cluster.local';
    ask(resolver, name);
    assert.equal(ask(resolver, name).way, 'quick');
    set(table, 'web', '10.43.0.81');
    assert.deepEqual(addressesOf(ask(resolver, name).answer), ['10.43.0.81']);
    table.setService('default/web', undefined);
    assert.equal((ask(resolver, name).answer?.readUInt16BE(2) ?? 0) & 15, 3, 'NXDOMAIN');
  });

  test('equal records come in an order of chance, all of them each time', () => {
    const { resolver } = world();
    const orders = Array.from({ length: 60 }, () =>
      addressesOf(ask(resolver, 'db.default.svc.cluster.local').answer),
    );
    for (const addresses of orders) {
      assert.deepEqual(addresses.toSorted(), ['10.42.0.1', '10.42.0.2', '10.42.0.3']);
    }
    assert.equal(new Set(orders.map((addresses) => addresses.join(' '))).size, 6);
  });

  test('a client that asks for A and AAAA in turn meets every endpoint first', () => {
    const { resolver, table } = world();
    const two = compileService(serviceOf('two', 'None'), () => [sliceOf('two', ['10.42.0.1', '10.42.0.2'])]);
    table.setService('default/two', two);
    const firsts = Array.from({ length: 40 }, () => {
      ask(resolver, 'two.default.svc.cluster.local', { type: 'AAAA' });
      return addressesOf(ask(resolver, 'two.default.svc.cluster.local').answer)[0];
    });
    assert.equal(new Set(firsts).size, 2);
  });

  test('ways in, types and flags are told apart', () => {
    const { resolver } = world();
    const name = 'web.default.svc.cluster.local';
    ask(resolver, name);
    assert.equal(ask(resolver, name, { via: tcp }).way, 'long');
    assert.equal(ask(resolver, name, { type: 'AAAA' }).way, 'long');
    const opt = { type: 'OPT', name: '.', udpPayloadSize: 4096 } as const;
    const edns = packet.encode({
      type: 'query',
      id: 1,
      flags: packet.RECURSION_DESIRED,
      questions: [{ type: 'A', name }],
      additionals: [opt as packet.OptAnswer],
    });
    const first = askBytes(resolver, edns, udp, '10.42.0.9');
    const second = askBytes(resolver, edns, udp, '10.42.0.9');
    assert.deepEqual([first.way, second.way], ['long', 'quick']);
    assert.deepEqual(addressesOf(first.answer), addressesOf(second.answer));
  });

  test('whatever came before, a quick answer is what the long way gives', () => {
    const name = fc
      .constantFrom('web', 'db', 'gone', 'WEB', 'x.web', '_http._tcp.web')
      .map((text) => `${text}.default.svc.cluster.local`);
    const step = fc.record({
      name,
      type: fc.constantFrom('A' as const, 'AAAA' as const),
      id: fc.nat(65_535),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const { resolver } = world();
        for (const { name: asked, type, id } of steps) {
          const got = ask(resolver, asked, { id, type });
          const fresh = ask(world().resolver, asked, { id, type });
          assert.deepEqual(addressesOf(got.answer).toSorted(), addressesOf(fresh.answer).toSorted());
          assert.equal(got.answer?.length, fresh.answer?.length);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('no bytes make it throw, and it never answers what the long way does not', () => {
    const { resolver } = world();
    const valid = packet.encode({
      type: 'query',
      id: 1,
      questions: [{ type: 'A', name: 'web.default.svc.cluster.local' }],
    });
    const change = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(change, fc.nat(valid.length), (changes, length) => {
        const bytes = Buffer.from(valid.subarray(0, length));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const before = Buffer.from(bytes);
        const { answer } = askBytes(resolver, bytes, udp, '10.42.0.9');
        assert.deepEqual(bytes, before, 'the query is not touched');
        if (answer !== undefined) assert.deepEqual(answer.subarray(0, 2), bytes.subarray(0, 2));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('client limits', () => {
  test('a client has so many queries a second and a burst of one second', () => {
    const limits = new ClientLimits(10);
    const asked = (client: number, nowMs: number, count: number) =>
      Array.from({ length: count }, () => limits.allow(client, nowMs)).filter(Boolean).length;
    assert.equal(asked(1, 0, 20), 10);
    assert.equal(asked(2, 0, 5), 5, 'another client is not concerned');
    assert.equal(asked(1, 500, 20), 5);
    assert.equal(asked(1, 60_000, 20), 10, 'rest does not add up');
  });

  test('more clients than the table holds are all served', () => {
    const limits = new ClientLimits(1);
    for (let client = 0; client < 4 * clientsMax; client++) assert.equal(limits.allow(client, 0), true);
  });
});
