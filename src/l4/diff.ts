import type { IpFamily } from '../base/ip.ts';
import { PersistentMap } from '../base/persistent-map.ts';
import { addElements, type BalancingChain, elementId, type RuleElement, type Ruleset } from './ruleset.ts';

/** The step from one ruleset to another, applied as one kernel transaction. */
export type RulesetChange = {
  readonly family: IpFamily;
  readonly chainsToAdd: readonly BalancingChain[];
  readonly elementsToDelete: readonly RuleElement[];
  readonly elementsToAdd: readonly RuleElement[];
  readonly chainsToDelete: readonly BalancingChain[];
};

/** Work grows with what changed. Both must be of one family. */
export function diffRulesets(old: Ruleset, now: Ruleset): RulesetChange {
  const before = new Map<string, RuleElement>();
  const after = new Map<string, RuleElement>();
  for (const change of PersistentMap.changes(old.fragments, now.fragments)) {
    addElements(before, change.old?.elements ?? []);
    addElements(after, change.now?.elements ?? []);
  }
  if (old.common !== now.common) {
    addElements(before, old.common);
    addElements(after, now.common);
  }
  const { toDelete, toAdd } = diffElements(before, after);
  const sameChains = old.chains === now.chains;
  return {
    family: now.family,
    chainsToAdd: sameChains ? [] : missing(now.chains, old.chains),
    elementsToDelete: toDelete,
    elementsToAdd: toAdd,
    chainsToDelete: sameChains ? [] : missing(old.chains, now.chains),
  };
}

/** An element whose value changes is deleted and added: maps have no replacement of one element. */
export function diffElements(
  before: ReadonlyMap<string, RuleElement>,
  after: ReadonlyMap<string, RuleElement>,
): { readonly toDelete: readonly RuleElement[]; readonly toAdd: readonly RuleElement[] } {
  const toDelete = [...before.values()].filter(
    (element) => after.get(elementId(element))?.value !== element.value,
  );
  const toAdd = [...after.values()].filter(
    (element) => before.get(elementId(element))?.value !== element.value,
  );
  return { toDelete, toAdd };
}

function missing(
  here: ReadonlyMap<string, BalancingChain>,
  there: ReadonlyMap<string, BalancingChain>,
): readonly BalancingChain[] {
  return [...here.values()].filter((chain) => !there.has(chain.name));
}

export function isEmptyChange(change: RulesetChange): boolean {
  return (
    change.chainsToAdd.length === 0 &&
    change.elementsToDelete.length === 0 &&
    change.elementsToAdd.length === 0 &&
    change.chainsToDelete.length === 0
  );
}
