import { ensureObject, objectsAt, stringAt, stringMapAt } from '../api/fields.ts';
import type { JsonObject } from '../api/object.ts';
import { addQuantities, parseQuantity, type Quantity } from '../api/quantity.ts';

/** LimitRanges: defaults for containers that ask for nothing, and bounds for those that ask. Pure. */

/** Fills defaults into a new Pod. */
export function applyLimitDefaults(pod: JsonObject, ranges: readonly JsonObject[]): void {
  const limits = limitsOf(ranges, 'Container');
  for (const container of containersOf(pod)) {
    for (const limit of limits) {
      fill(container, 'limits', stringMapAt(limit, 'default'));
      // What was asked for as a limit is also the request, unless the range says otherwise.
      const own = stringMapAt(container, 'resources', 'limits');
      fill(container, 'requests', { ...own, ...stringMapAt(limit, 'defaultRequest') });
    }
  }
}

function limitsOf(ranges: readonly JsonObject[], type: string): readonly JsonObject[] {
  return ranges
    .flatMap((range) => objectsAt(range, 'spec', 'limits'))
    .filter((limit) => limit['type'] === type);
}

function containersOf(pod: JsonObject): readonly JsonObject[] {
  return [...objectsAt(pod, 'spec', 'initContainers'), ...objectsAt(pod, 'spec', 'containers')];
}

function fill(container: JsonObject, field: string, values: Readonly<Record<string, string>>): void {
  if (Object.keys(values).length === 0) return;
  const given = ensureObject(ensureObject(container, 'resources'), field);
  for (const [name, value] of Object.entries(values)) given[name] ??= value;
}

/** What the ranges forbid of a new Pod or claim, in Kubernetes' words. */
export function limitProblems(
  plural: 'pods' | 'persistentvolumeclaims',
  object: JsonObject,
  ranges: readonly JsonObject[],
): readonly string[] {
  if (plural === 'persistentvolumeclaims') {
    return limitsOf(ranges, 'PersistentVolumeClaim').flatMap((limit) =>
      boundProblems(limit, 'PersistentVolumeClaim', (field, name) =>
        amountAt(objectsOfClaim(object), field, name),
      ),
    );
  }
  const containers = containersOf(object);
  const each = limitsOf(ranges, 'Container').flatMap((limit) =>
    containers.flatMap((container) =>
      boundProblems(limit, 'Container', (field, name) => amountAt(container, field, name)),
    ),
  );
  const together = limitsOf(ranges, 'Pod').flatMap((limit) =>
    boundProblems(limit, 'Pod', (field, name) => sumOf(objectsAt(object, 'spec', 'containers'), field, name)),
  );
  return [...each, ...together];
}

function objectsOfClaim(claim: JsonObject): JsonObject {
  const requests = stringMapAt(claim, 'spec', 'resources', 'requests');
  return { resources: { requests: { ...requests }, limits: { ...requests } } };
}

function amountAt(container: JsonObject, field: string, name: string): Quantity | undefined {
  return parseQuantity(stringAt(container, 'resources', field, name));
}

function sumOf(containers: readonly JsonObject[], field: string, name: string): Quantity | undefined {
  let sum: Quantity | undefined;
  for (const container of containers) {
    const amount = amountAt(container, field, name);
    if (amount === undefined) return undefined;
    sum = sum === undefined ? amount : addQuantities(sum, amount);
  }
  return sum;
}

function boundProblems(
  limit: JsonObject,
  type: string,
  amountOf: (field: 'requests' | 'limits', name: string) => Quantity | undefined,
): readonly string[] {
  const problems: string[] = [];
  for (const [name, text] of Object.entries(stringMapAt(limit, 'min'))) {
    const least = parseQuantity(text);
    const request = amountOf('requests', name);
    if (least === undefined) continue;
    if (request === undefined)
      problems.push(`minimum ${name} usage per ${type} is ${text}.  No request is specified`);
    else if (request.nanos < least.nanos) {
      problems.push(`minimum ${name} usage per ${type} is ${text}, but request is lower`);
    }
  }
  for (const [name, text] of Object.entries(stringMapAt(limit, 'max'))) {
    const most = parseQuantity(text);
    const asked = amountOf('limits', name);
    if (most === undefined) continue;
    if (asked === undefined)
      problems.push(`maximum ${name} usage per ${type} is ${text}.  No limit is specified`);
    else if (asked.nanos > most.nanos) {
      problems.push(`maximum ${name} usage per ${type} is ${text}, but limit is higher`);
    }
  }
  for (const [name, text] of Object.entries(stringMapAt(limit, 'maxLimitRequestRatio'))) {
    const most = parseQuantity(text);
    const request = amountOf('requests', name);
    const asked = amountOf('limits', name);
    if (most === undefined || request === undefined || asked === undefined || request.nanos === 0n) continue;
    if (asked.nanos * 1_000_000_000n > most.nanos * request.nanos) {
      problems.push(
        `${name} max limit to request ratio per ${type} is ${text}, but the provided ratio is higher`,
      );
    }
  }
  return problems;
}
