import { listAt, numberAt, objectAt, objectsAt, stringAt, stringMapAt } from './fields.ts';
import type { JsonObject } from './object.ts';
import { addQuantities, parseQuantity, type Quantity } from './quantity.ts';

/** What one object uses of a ResourceQuota, by the quota's names of resources. Pure. */
export type Usage = ReadonlyMap<string, Quantity>;

type Place = { readonly group: string; readonly plural: string };

const one: Quantity = { nanos: 1_000_000_000n, format: 'decimal' };

/** Core kinds that quotas have always counted under their plain plural. */
const plainCounts: ReadonlySet<string> = new Set([
  'configmaps',
  'persistentvolumeclaims',
  'pods',
  'replicationcontrollers',
  'resourcequotas',
  'secrets',
  'services',
]);

export function usageOf({ group, plural }: Place, object: JsonObject): Usage {
  const usage = new Map<string, Quantity>([
    [group === '' ? `count/${plural}` : `count/${plural}.${group}`, one],
  ]);
  if (group !== '') return usage;
  if (plural === 'pods') addPod(usage, object);
  else if (plainCounts.has(plural)) usage.set(plural, one);
  if (plural === 'services') addService(usage, object);
  if (plural === 'persistentvolumeclaims') {
    const storage = parseQuantity(stringAt(object, 'spec', 'resources', 'requests', 'storage'));
    if (storage !== undefined) usage.set('requests.storage', storage);
  }
  return usage;
}

function addService(usage: Map<string, Quantity>, service: JsonObject): void {
  const type = stringAt(service, 'spec', 'type');
  if (type === 'LoadBalancer') usage.set('services.loadbalancers', one);
  if (type !== 'LoadBalancer' && type !== 'NodePort') return;
  usage.set('services.nodeports', {
    nanos: BigInt(listAt(service, 'spec', 'ports').length) * 1_000_000_000n,
    format: 'decimal',
  });
}

/** A Pod that is over uses nothing but its place in the count of objects. */
export function isPodOver(pod: JsonObject): boolean {
  const phase = stringAt(pod, 'status', 'phase');
  return phase === 'Succeeded' || phase === 'Failed';
}

function addPod(usage: Map<string, Quantity>, pod: JsonObject): void {
  if (isPodOver(pod)) return;
  usage.set('pods', one);
  for (const kind of ['requests', 'limits'] as const) {
    for (const [name, amount] of podResources(pod, kind)) {
      usage.set(`${kind}.${name}`, amount);
      if (kind === 'requests') usage.set(name, amount);
    }
  }
}

/** Containers together; an init container that needs more than all of them counts instead. */
function podResources(pod: JsonObject, kind: 'requests' | 'limits'): ReadonlyMap<string, Quantity> {
  const total = new Map<string, Quantity>();
  for (const container of objectsAt(pod, 'spec', 'containers')) {
    for (const [name, amount] of amountsOf(container, kind)) {
      const before = total.get(name);
      total.set(name, before === undefined ? amount : addQuantities(before, amount));
    }
  }
  for (const container of objectsAt(pod, 'spec', 'initContainers')) {
    for (const [name, amount] of amountsOf(container, kind)) {
      const before = total.get(name);
      if (before === undefined || before.nanos < amount.nanos) total.set(name, amount);
    }
  }
  return total;
}

function amountsOf(
  container: JsonObject,
  kind: 'requests' | 'limits',
): readonly (readonly [string, Quantity])[] {
  return Object.entries(stringMapAt(container, 'resources', kind)).flatMap(([name, text]) => {
    const amount = parseQuantity(text);
    return amount === undefined ? [] : [[name, amount] as const];
  });
}

/** Whether the quota's scopes cover the object. Only Pods have scopes: others are covered by a quota without any. */
export function quotaCovers(quota: JsonObject, { group, plural }: Place, object: JsonObject): boolean {
  const scopes = [
    ...listAt(quota, 'spec', 'scopes').map((scope): JsonObject => ({ scopeName: scope, operator: 'Exists' })),
    ...objectsAt(quota, 'spec', 'scopeSelector', 'matchExpressions'),
  ];
  if (scopes.length === 0) return true;
  if (group !== '' || plural !== 'pods') return false;
  return scopes.every((scope) => podInScope(scope, object));
}

function podInScope(scope: JsonObject, pod: JsonObject): boolean {
  const bestEffort = [
    ...objectsAt(pod, 'spec', 'containers'),
    ...objectsAt(pod, 'spec', 'initContainers'),
  ].every(
    (container) =>
      Object.keys({
        ...objectAt(container, 'resources', 'requests'),
        ...objectAt(container, 'resources', 'limits'),
      }).length === 0,
  );
  const terminating = numberAt(pod, 'spec', 'activeDeadlineSeconds') !== undefined;
  switch (scope['scopeName']) {
    case 'BestEffort':
      return bestEffort;
    case 'NotBestEffort':
      return !bestEffort;
    case 'Terminating':
      return terminating;
    case 'NotTerminating':
      return !terminating;
    case 'PriorityClass': {
      const name = stringAt(pod, 'spec', 'priorityClassName');
      const values = listAt(scope, 'values');
      switch (scope['operator']) {
        case 'In':
          return values.includes(name);
        case 'NotIn':
          return !values.includes(name);
        case 'DoesNotExist':
          return name === '';
        default:
          return name !== '';
      }
    }
    default:
      return false;
  }
}
