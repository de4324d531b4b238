import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Endpoint, EndpointSlice } from '../../api/gen/discovery-v1.ts';
import { endpointsPerSliceMax, type Group, inSafeOrder, planFill, type SliceWrite } from './fill.ts';

/** Pod number to whether it is ready. */
type Pods = ReadonlyMap<number, boolean>;

let made = 0;

function groupsOf(pods: Pods): ReadonlyMap<string, Group> {
  const ports = [{ name: '', port: 8080, protocol: 'TCP' }];
  const endpoints = [...pods].map(
    ([number, ready]): Endpoint => ({
      addresses: [`10.42.${number >> 8}.${number & 255}`],
      conditions: { ready },
      targetRef: { uid: String(number) },
    }),
  );
  return new Map(endpoints.length === 0 ? [] : [[JSON.stringify(ports), { ports, endpoints }]]);
}

function plan(pods: Pods, slices: readonly EndpointSlice[]): readonly SliceWrite[] {
  return inSafeOrder(
    planFill(groupsOf(pods), slices, (ports, endpoints, base) => ({
      metadata: base?.metadata ?? { name: `slice-${++made}` },
      addressType: 'IPv4',
      ports,
      endpoints,
    })),
  );
}

/** The slices after one write. */
function after(slices: readonly EndpointSlice[], { kind, slice }: SliceWrite): readonly EndpointSlice[] {
  const others = slices.filter(({ metadata }) => metadata?.name !== slice.metadata?.name);
  return kind === 'delete' ? others : [...others, slice];
}

function podsIn(slices: readonly EndpointSlice[]): readonly (readonly [number, boolean])[] {
  const all = slices.flatMap(({ endpoints }) => endpoints ?? []);
  return all.map(
    ({ targetRef, conditions }) => [Number(targetRef?.uid), conditions?.ready === true] as const,
  );
}

/** Numbers of a first and a last Pod that come, go, or change their readiness. */
const step = fc.record({
  what: fc.constantFrom('come', 'go', 'change'),
  first: fc.integer({ min: 0, max: 400 }),
  count: fc.integer({ min: 0, max: 250 }),
  every: fc.integer({ min: 1, max: 7 }),
});

function stepped(
  pods: Pods,
  { what, first, count, every }: typeof step extends fc.Arbitrary<infer T> ? T : never,
): Pods {
  const next = new Map(pods);
  for (let number = first; number < first + count; number += every) {
    if (what === 'come') next.set(number, next.get(number) ?? true);
    else if (what === 'go') next.delete(number);
    else if (next.has(number)) next.set(number, !(next.get(number) ?? false));
  }
  return next;
}

test('slices: whatever comes and goes, they hold each Pod once, are filled, and cost few writes', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
      let pods: Pods = new Map();
      let slices: readonly EndpointSlice[] = [];
      for (const next of steps) {
        const wanted = stepped(pods, next);
        const writes = plan(wanted, slices);
        const touched = slices.filter((slice) =>
          podsIn([slice]).some(([number, ready]) => wanted.get(number) !== ready),
        );
        const added = [...wanted.keys()].filter((number) => !pods.has(number));
        assert.ok(writes.length <= touched.length + Math.ceil(added.length / endpointsPerSliceMax) + 1);
        for (const write of writes) {
          slices = after(slices, write);
          const seen = new Set(podsIn(slices).map(([number]) => number));
          for (const number of pods.keys()) {
            assert.ok(seen.has(number) || !wanted.has(number), `Pod ${number} is never missing in between`);
          }
        }
        // The naive model: a map of Pods.
        assert.deepEqual(
          podsIn(slices).toSorted(([a], [b]) => a - b),
          [...wanted].toSorted(([a], [b]) => a - b),
        );
        for (const { endpoints = [] } of slices) assert.ok(endpoints.length <= endpointsPerSliceMax);
        assert.deepEqual(plan(wanted, slices), [], 'what is right stays');
        pods = wanted;
      }
    }),
    { numRuns: 60 },
  );
});

const numbers = (first: number, last: number): readonly (readonly [number, boolean])[] =>
  Array.from({ length: last - first + 1 }, (_, index) => [first + index, true] as const);

function build(pods: Pods, slices: readonly EndpointSlice[] = []): readonly EndpointSlice[] {
  return plan(pods, slices).reduce(after, slices);
}

test('slices: new endpoints go into the slice that is written anyway', () => {
  const slices = build(new Map(numbers(1, 150)));
  assert.deepEqual(
    slices.map(({ endpoints }) => endpoints?.length),
    [100, 50],
  );
  // One leaves the full slice, one comes: one write, although the other slice has room.
  const writes = plan(new Map(numbers(2, 151)), slices);
  assert.deepEqual(
    writes.map(({ kind, slice }) => [kind, slice.metadata?.name]),
    [['replace', slices[0]?.metadata?.name]],
  );
});

test('slices: the rest goes where all of it has room, else into a new slice', () => {
  const slices = build(new Map(numbers(1, 150)));
  const kinds = (last: number) => plan(new Map(numbers(1, last)), slices).map(({ kind }) => kind);
  assert.deepEqual(kinds(200), ['replace']);
  assert.deepEqual(kinds(201), ['create']);
  assert.deepEqual(kinds(260), ['create', 'replace']);
});

test('slices: a Service scaled down has one slice again', () => {
  const slices = build(new Map(numbers(1, 500)));
  const few = new Map([...numbers(1, 500)].filter(([number]) => number % 50 === 0));
  const writes = plan(few, slices);
  assert.deepEqual(
    writes.map(({ kind }) => kind),
    ['replace', 'delete', 'delete', 'delete', 'delete'],
  );
  assert.equal(build(few, slices).length, 1);
});
