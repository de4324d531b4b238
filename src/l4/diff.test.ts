import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nodeFacts, serviceOf, sliceOf } from '../../test/support/services.ts';
import { PersistentMap } from '../base/persistent-map.ts';
import { buildNodeView, type NodeView } from '../model/view.ts';
import { type CompileOptions, compileRuleset } from './compile.ts';
import { diffRulesets, isEmptyChange } from './diff.ts';
import { renderCanonical, renderChange, renderFull } from './render.ts';
import { elementId, elementsOf, type Ruleset } from './ruleset.ts';

const options: CompileOptions = {
  clusterCidrs: ['10.42.0.0/16'],
  serviceCidrs: ['10.43.0.0/16'],
  clusterNodeAddresses: [],
};

/** Service i has these endpoints; undefined: there is no such Service. */
type World = readonly (readonly number[] | undefined)[];

/** All want one external address; the second is of UDP, so it is nobody's rival. */
const kinds = [
  {},
  { externalIPs: ['192.0.2.50'], ports: [{ port: 80, protocol: 'UDP' }] },
  { externalIPs: ['192.0.2.50'], sessionAffinity: 'ClientIP' },
  { externalIPs: ['192.0.2.50', '192.0.2.51'] },
];

function viewOf(world: World, previous?: NodeView): NodeView {
  const present = [...world.entries()].filter(([, endpoints]) => endpoints !== undefined);
  const view = buildNodeView(
    present.map(([index]) => serviceOf(`s${index}`, `10.43.0.${index + 1}`, kinds[index % kinds.length])),
    present.map(([index, endpoints = []]) =>
      sliceOf(
        `s${index}`,
        endpoints.map((last) => ({
          address: `10.42.0.${last + 2}`,
          node: last % 2 === 0 ? 'node-0' : 'node-1',
        })),
        [{ name: '', port: 8080, protocol: index % kinds.length === 1 ? 'UDP' : 'TCP' }],
      ),
    ),
    nodeFacts,
  );
  // As the tracker does: what did not change stays the same object.
  const services = PersistentMap.from(
    [...view.services].map(([key, service]) => {
      const old = previous?.services.get(key);
      return [
        key,
        old !== undefined && JSON.stringify(old) === JSON.stringify(service) ? old : service,
      ] as const;
    }),
  );
  return { node: view.node, services };
}

test('diff: the same view is no change', () => {
  const view = viewOf([[1, 2], []]);
  const ruleset = compileRuleset(view, 4, options);
  const change = diffRulesets(ruleset, compileRuleset(view, 4, options, ruleset));
  assert.ok(isEmptyChange(change));
  assert.equal(renderChange(change), '');
});

test('diff: an endpoint more is a few elements: the chain for it is there before', () => {
  const before = viewOf([[1], [1, 3]]);
  const old = compileRuleset(before, 4, options);
  const now = compileRuleset(
    viewOf(
      [
        [1, 3],
        [1, 3],
      ],
      before,
    ),
    4,
    options,
    old,
  );
  assert.equal(
    renderChange(diffRulesets(old, now)),
    [
      'delete element ip fairlead vips { 10.43.0.1 . tcp . 80 : goto vips-tcp-1 }',
      'add element ip fairlead vips { 10.43.0.1 . tcp . 80 : goto vips-tcp-2 }',
      'add element ip fairlead vips_tcp_endpoints { 10.43.0.1 . 80 . 1 : 10.42.0.5 . 8080 }',
      '',
    ].join('\n'),
  );
});

test('diff: chains come with the first Service that needs their block and go with the last', () => {
  const nine = [...Array(9).keys()];
  const [none, small, large] = [viewOf([]), viewOf([[1]]), viewOf([nine])].map((view) =>
    compileRuleset(view, 4, options),
  ) as [Ruleset, Ruleset, Ruleset];
  const names = (chains: readonly { readonly name: string }[]) => chains.map(({ name }) => name);
  const block = (first: number) => Array.from({ length: 8 }, (_, index) => `vips-tcp-${first + index}`);
  assert.deepEqual(names(diffRulesets(none, small).chainsToAdd), block(1));
  const { chainsToAdd, chainsToDelete } = diffRulesets(small, large);
  assert.deepEqual([names(chainsToAdd), names(chainsToDelete)], [block(9), block(1)]);
  assert.deepEqual(names(diffRulesets(large, none).chainsToDelete), block(9));
});

test('diff: replayed on the old elements it always gives the new ones', () => {
  const world = fc.array(
    fc.option(fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }), { nil: undefined }),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(world, world, world, (...worlds) => {
      let view = viewOf([]);
      let old = compileRuleset(view, 4, options);
      for (const world of worlds) {
        view = viewOf(world, view);
        const now = compileRuleset(view, 4, options, old);
        assert.deepEqual(replay(old, now), [...elementsOf(now).keys()].toSorted());
        const fresh = compileRuleset(viewOf(world), 4, options);
        assert.equal(renderCanonical(now), renderCanonical(fresh));
        assert.deepEqual(new Map(now.problems), new Map(fresh.problems));
        assert.deepEqual(new Map(now.udpFronts), new Map(fresh.udpFronts));
        old = now;
      }
    }),
  );
});

/** The kernel's rule: what is deleted must be there, what is added must not. */
function replay(old: Ruleset, now: Ruleset): readonly string[] {
  const change = diffRulesets(old, now);
  const present = new Map(elementsOf(old));
  for (const element of change.elementsToDelete) {
    assert.equal(present.get(elementId(element))?.value, element.value);
    present.delete(elementId(element));
  }
  for (const element of change.elementsToAdd) {
    assert.ok(!present.has(elementId(element)));
    present.set(elementId(element), element);
  }
  return [...present.keys()].toSorted();
}

test('render: the whole table is replaced in one transaction, clients are put back', () => {
  const ruleset = compileRuleset(viewOf([[1]]), 4, options);
  const script = renderFull(ruleset, [
    {
      map: 'vips_clients',
      key: '10.43.0.1 . tcp . 80 . 10.42.0.9',
      value: '0x00000001',
      timeoutSeconds: 100,
      expiresSeconds: 7,
    },
  ]);
  assert.ok(script.startsWith('add table ip fairlead\ndelete table ip fairlead\ntable ip fairlead {\n'));
  assert.ok(
    script.includes(
      'add element ip fairlead vips_clients { 10.43.0.1 . tcp . 80 . 10.42.0.9 timeout 100s expires 7s : 0x00000001 }',
    ),
  );
});
