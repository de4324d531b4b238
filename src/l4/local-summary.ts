import type { ObjectKey } from '../api/object.ts';
import { PersistentMap } from '../base/persistent-map.ts';
import type { NodeView, ServiceView } from '../model/view.ts';

/** What the proxy tells of Services whose policy is Local. Kept from view to view in time of what changed. */
export type LocalSummary = {
  readonly services: NodeView['services'];
  /** Service ports of policy Local that have endpoints, but none on this node. */
  readonly noLocalInternal: number;
  readonly noLocalExternal: number;
  /** Services with a healthCheckNodePort. The same object while none of them changes. */
  readonly checked: PersistentMap<ObjectKey, ServiceView>;
};

export const emptyLocalSummary: LocalSummary = {
  services: PersistentMap.empty(),
  noLocalInternal: 0,
  noLocalExternal: 0,
  checked: PersistentMap.empty(),
};

export function summarizeLocals(view: NodeView, previous: LocalSummary): LocalSummary {
  let { noLocalInternal, noLocalExternal } = previous;
  const checked: (readonly [ObjectKey, ServiceView | undefined])[] = [];
  for (const { key, old, now } of PersistentMap.changes(previous.services, view.services)) {
    for (const [service, sign] of [[old, -1] as const, [now, 1] as const]) {
      for (const { facts, cluster, local } of service?.ports ?? []) {
        if (local.length > 0 || cluster.length === 0) continue;
        noLocalInternal += facts.internalPolicy === 'Local' ? sign : 0;
        noLocalExternal += facts.externalPolicy === 'Local' ? sign : 0;
      }
    }
    checked.push([key, isChecked(now) ? now : undefined]);
  }
  return {
    services: view.services,
    noLocalInternal,
    noLocalExternal,
    checked: previous.checked.with(checked),
  };
}

function isChecked(service: ServiceView | undefined): boolean {
  const facts = service?.ports[0]?.facts;
  return facts !== undefined && facts.healthCheckNodePort !== 0 && facts.externalPolicy === 'Local';
}
