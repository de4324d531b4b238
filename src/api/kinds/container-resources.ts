import {
  child,
  duplicate,
  forbidden,
  index,
  invalid,
  mapKey,
  notFound,
  notSupported,
  required,
} from '../field-errors.ts';
import { objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { labelKeyProblems } from '../names.ts';
import type { Json, JsonObject } from '../object.ts';
import { compareQuantities, formatQuantity, parseQuantity, type Quantity } from '../quantity.ts';
import { problemsAt } from './field-rules.ts';
import { isPodLevelResource } from './pod-defaults.ts';

/** Rules of requests and limits. */

const measured = ['cpu', 'memory'] as const;
const ofContainers: ReadonlySet<string> = new Set([...measured, 'ephemeral-storage']);
/** Names that Kubernetes knows anywhere; a plain name outside of them is a slip of the pen. */
const standard: ReadonlySet<string> = new Set([
  ...ofContainers,
  'requests.cpu',
  'requests.memory',
  'requests.ephemeral-storage',
  'limits.cpu',
  'limits.memory',
  'limits.ephemeral-storage',
  'pods',
  'resourcequotas',
  'services',
  'replicationcontrollers',
  'secrets',
  'configmaps',
  'persistentvolumeclaims',
  'storage',
  'requests.storage',
  'services.nodeports',
  'services.loadbalancers',
]);
const hugePages = 'hugepages-';

function isHugePages(name: string): boolean {
  return name.startsWith(hugePages);
}

/** Of Kubernetes itself: a plain name, or one with its prefix. */
function isNative(name: string): boolean {
  return !name.includes('/') || name.includes('kubernetes.io/');
}

/** Of a device plugin or an operator: `example.com/gpu`, counted in whole pieces. */
function isExtended(name: string): boolean {
  return (
    !isNative(name) && !name.startsWith('requests.') && labelKeyProblems(`requests.${name}`).length === 0
  );
}

/** Where a node may promise more than it has, limits may be larger than requests. */
function isOvercommitted(name: string): boolean {
  return isNative(name) && !isHugePages(name);
}

function validateName(name: string, path: string): readonly FieldError[] {
  const errors: FieldError[] = [...problemsAt(path, name, labelKeyProblems)];
  if (errors.length > 0) return errors;
  if (name.includes('/')) {
    if (!isNative(name) && !isExtended(name))
      errors.push(invalid(path, name, "doesn't follow extended resource name standard"));
    return errors;
  }
  if (!standard.has(name) && !isHugePages(name))
    errors.push(invalid(path, name, 'must be a standard resource type or fully qualified'));
  if (!ofContainers.has(name) && !isHugePages(name))
    errors.push(invalid(path, name, 'must be a standard resource for containers'));
  return errors;
}

function validateAmount(name: string, text: Json | undefined, path: string): readonly FieldError[] {
  if (typeof text !== 'string') return [];
  const amount = parseQuantity(text);
  if (amount === undefined) return [];
  if (amount.nanos < 0n) return [invalid(path, text, 'must be greater than or equal to 0')];
  if (isExtended(name) && amount.nanos % 1_000_000_000n !== 0n)
    return [invalid(path, text, 'must be an integer')];
  const size = isHugePages(name) ? parseQuantity(name.slice(hugePages.length)) : undefined;
  if (size !== undefined && size.nanos > 0n && amount.nanos % size.nanos !== 0n)
    return [invalid(path, text, `${text} is not positive integer multiple of ${name}`)];
  return [];
}

function quantityOf(value: Json | undefined): Quantity | undefined {
  return typeof value === 'string' ? parseQuantity(value) : undefined;
}

/** `claims`: names of the Pod's resourceClaims, which containers share. */
export function validateResources(
  resources: JsonObject | undefined,
  path: string,
  claims: ReadonlySet<string>,
  nameRule: (name: string, path: string) => readonly FieldError[] = validateName,
): readonly FieldError[] {
  if (resources === undefined) return [];
  const errors: FieldError[] = [];
  const limits = objectAt(resources, 'limits') ?? {};
  const requests = objectAt(resources, 'requests') ?? {};
  for (const [list, amounts] of [
    ['limits', limits],
    ['requests', requests],
  ] as const) {
    for (const [name, text] of Object.entries(amounts)) {
      const at = mapKey(child(path, list), name);
      errors.push(...nameRule(name, at), ...validateAmount(name, text, at));
    }
  }
  errors.push(...compareToLimits(requests, limits, path));
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  if (names.some(isHugePages) && !names.some((name) => measured.includes(name as 'cpu')))
    errors.push(forbidden(path, 'HugePages require cpu or memory'));
  return [...errors, ...validateClaims(objectsAt(resources, 'claims'), child(path, 'claims'), claims)];
}

function compareToLimits(requests: JsonObject, limits: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  for (const [name, text] of Object.entries(requests)) {
    const request = quantityOf(text);
    if (request === undefined) continue;
    const limit = quantityOf(limits[name]);
    if (limit === undefined) {
      if (isOvercommitted(name)) continue;
      errors.push(required(child(path, 'limits'), 'Limit must be set for non overcommitable resources'));
      continue;
    }
    const order = compareQuantities(request, limit);
    const relation = isOvercommitted(name) ? 'less than or equal' : 'equal';
    if (order === 0 || (isOvercommitted(name) && order < 0)) continue;
    const detail = `must be ${relation} to ${name} limit of ${stringAt(limits, name)}`;
    errors.push(invalid(child(path, 'requests'), text, detail));
  }
  return errors;
}

function validateClaims(
  used: readonly JsonObject[],
  path: string,
  claims: ReadonlySet<string>,
): readonly FieldError[] {
  const seen = new Set<string>();
  return used.flatMap((claim, position) => {
    const at = index(path, position);
    const name = stringAt(claim, 'name');
    const key = `${name}/${stringAt(claim, 'request')}`;
    if (name === '') return [required(at)];
    const errors: FieldError[] = seen.has(key) ? [duplicate(at, name)] : [];
    seen.add(key);
    if (!claims.has(name)) errors.push(notFound(at, name));
    return errors;
  });
}

/** Resources of the Pod as a whole: the containers together may not ask for more. */
export function validatePodResources(spec: JsonObject, path: string): readonly FieldError[] {
  const own = objectAt(spec, 'resources');
  if (own === undefined) return [];
  const at = child(path, 'resources');
  const errors: FieldError[] = [];
  if (own['claims'] !== undefined)
    errors.push(forbidden(child(at, 'claims'), 'claims cannot be set for Resources at pod-level'));
  const { claims: _claims, ...amounts } = own;
  errors.push(...validateResources(amounts, at, new Set(), podLevelName));
  const totals = new Map<string, bigint>();
  objectsAt(spec, 'containers').forEach((container, position) => {
    for (const [name, text] of Object.entries(objectAt(container, 'resources', 'requests') ?? {}))
      totals.set(name, (totals.get(name) ?? 0n) + (quantityOf(text)?.nanos ?? 0n));
    for (const [name, text] of Object.entries(objectAt(container, 'resources', 'limits') ?? {})) {
      const most = quantityOf(objectAt(own, 'limits')?.[name]);
      const limit = quantityOf(text);
      if (most === undefined || limit === undefined || compareQuantities(limit, most) <= 0) continue;
      const where = child(mapKey(index(child(at, 'containers'), position), name), 'limits');
      const detail = `must be less than or equal to pod limits of ${stringAt(own, 'limits', name)}`;
      errors.push(invalid(where, text, detail));
    }
  });
  for (const [name, total] of totals) {
    const text = objectAt(own, 'requests')?.[name];
    const request = quantityOf(text);
    if (request === undefined || total <= request.nanos) continue;
    const sum = formatQuantity({ nanos: total, format: request.format });
    const detail = `must be greater than or equal to aggregate container requests of ${sum}`;
    errors.push(invalid(mapKey(child(at, 'requests'), name), text, detail));
  }
  return errors;
}

function podLevelName(name: string, path: string): readonly FieldError[] {
  if (isPodLevelResource(name)) return [];
  return [notSupported(path, name, [...measured, hugePages])];
}
