import { parseIp } from '../../base/ip.ts';
import { duplicate, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import { jsonEqual, objectAt, stringAt, stringsAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { ipProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';

/** Rules of clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy that hold whatever ranges the cluster has. */

const families = ['IPv4', 'IPv6'] as const;
const policies = ['SingleStack', 'PreferDualStack', 'RequireDualStack'] as const;
const addressesMax = 2;

/** The fields about addresses, all of which ExternalName goes without. */
export const addressFields = ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy'] as const;

/** `IPv4` or `IPv6`; undefined for what is no address. */
export function familyNameOf(address: string): 'IPv4' | 'IPv6' | undefined {
  const ip = parseIp(address);
  return ip === undefined ? undefined : `IPv${ip.family}`;
}

export function isHeadless(spec: JsonObject): boolean {
  return (stringsAt(spec, 'clusterIPs')[0] ?? stringAt(spec, 'clusterIP')) === 'None';
}

/** Headless and without selector: its endpoints are somebody else's, of whatever families. */
export function isHeadlessWithoutSelector(spec: JsonObject): boolean {
  return isHeadless(spec) && Object.keys(objectAt(spec, 'selector') ?? {}).length === 0;
}

export function validateServiceAddresses(spec: JsonObject): readonly FieldError[] {
  if (stringAt(spec, 'type') === 'ExternalName') return validateNone(spec);
  const errors: FieldError[] = [];
  const clusterIP = stringAt(spec, 'clusterIP');
  const clusterIPs = stringsAt(spec, 'clusterIPs');
  const path = 'spec.clusterIPs';
  if (clusterIP === '' && clusterIPs.length > 0) {
    errors.push(invalid(path, clusterIPs, 'must be empty when `clusterIP` is not specified'));
  } else if (clusterIP !== '' && clusterIPs.length === 0) errors.push(required(path));
  else if (clusterIP !== '' && clusterIPs[0] !== clusterIP) {
    errors.push(invalid(path, clusterIPs, 'first value must match `clusterIP`'));
  }
  errors.push(...validateFamilies(spec));
  const malformed = clusterIPs.flatMap((address, position) => {
    if (position === 0 && address === 'None') {
      return clusterIPs.length === 1
        ? []
        : [invalid(path, clusterIPs, "'None' must be the first and only value")];
    }
    return ipProblems(address).map((problem) => invalid(index(path, position), address, problem));
  });
  errors.push(...malformed);
  if (clusterIPs.length > addressesMax) {
    errors.push(invalid(path, clusterIPs, 'may only hold up to 2 values'));
  }
  if (malformed.length > 0) return errors;
  if (clusterIPs.length > 1 && new Set(clusterIPs.map(familyNameOf)).size !== clusterIPs.length) {
    errors.push(invalid(path, clusterIPs, 'may specify no more than one IP for each IP family'));
  }
  const asked = stringsAt(spec, 'ipFamilies');
  if (isHeadless(spec)) return errors;
  clusterIPs.forEach((address, position) => {
    const family = asked[position];
    if (!families.some((known) => known === family) || familyNameOf(address) === family) return;
    const detail = `expected an ${family ?? ''} value as indicated by \`ipFamilies[${position}]\``;
    errors.push(invalid(index(path, position), address, detail));
  });
  return errors;
}

function validateNone(spec: JsonObject): readonly FieldError[] {
  const detail = 'may not be set for ExternalName services';
  return [
    ...(stringsAt(spec, 'clusterIPs').length > 0 || stringAt(spec, 'clusterIP') !== ''
      ? [forbidden('spec.clusterIPs', detail)]
      : []),
    ...(stringsAt(spec, 'ipFamilies').length > 0 ? [forbidden('spec.ipFamilies', detail)] : []),
    ...(stringAt(spec, 'ipFamilyPolicy') === '' ? [] : [forbidden('spec.ipFamilyPolicy', detail)]),
  ];
}

function validateFamilies(spec: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const asked = stringsAt(spec, 'ipFamilies');
  asked.forEach((family, position) => {
    const at = index('spec.ipFamilies', position);
    if (!families.some((known) => known === family)) errors.push(notSupported(at, family, families));
    if (asked.indexOf(family) < position) errors.push(duplicate(at, family));
  });
  const policy = stringAt(spec, 'ipFamilyPolicy');
  if (policy !== '' && !policies.some((known) => known === policy)) {
    errors.push(notSupported('spec.ipFamilyPolicy', policy, policies));
  }
  return errors;
}

/** What was given stays: an update may add a second address or family, or give that one up as SingleStack. */
export function validateAddressUpdate(spec: JsonObject, oldSpec: JsonObject): readonly FieldError[] {
  if ([spec, oldSpec].some((each) => stringAt(each, 'type') === 'ExternalName')) return [];
  const wasHeadless = isHeadless(oldSpec);
  if (wasHeadless && isHeadless(spec)) return [];
  const errors = keptProblems(spec, oldSpec, 'clusterIPs', 'clusterIP');
  if (wasHeadless === isHeadless(spec)) {
    errors.push(...keptProblems(spec, oldSpec, 'ipFamilies', 'ipFamily'));
  }
  return errors;
}

function keptProblems(
  spec: JsonObject,
  oldSpec: JsonObject,
  field: 'clusterIPs' | 'ipFamilies',
  singular: string,
): FieldError[] {
  const path = `spec.${field}`;
  const before = stringsAt(oldSpec, field);
  const now = stringsAt(spec, field);
  if (before.length === 0) return [];
  if (now.length === 0) return [invalid(index(path, 0), null, `primary ${singular} can not be unset`)];
  const errors = before.flatMap((value, position) =>
    now[position] === undefined || now[position] === value
      ? []
      : [invalid(index(path, position), now, 'may not change once set')],
  );
  const policy = stringAt(spec, 'ipFamilyPolicy');
  if (now.length < before.length && policy !== 'SingleStack') {
    const detail = `must be set to 'SingleStack' when releasing the secondary ${singular}`;
    errors.push(invalid('spec.ipFamilyPolicy', policy, detail));
  }
  return errors;
}

/** The two spellings of the first address are one field: clients that know the first alone get the other. */
export function completeClusterIPs(spec: JsonObject): void {
  const clusterIP = stringAt(spec, 'clusterIP');
  if (clusterIP !== '' && stringsAt(spec, 'clusterIPs').length === 0) spec['clusterIPs'] = [clusterIP];
}

/**
 * Before an update: what the client left out stays as it was, so that `kubectl apply` of a bare manifest changes nothing,
 * and a client that only knows the first of the two spellings changes the other with it.
 */
export function keepAddresses(spec: JsonObject, oldSpec: JsonObject): void {
  const before = stringsAt(oldSpec, 'clusterIPs');
  const now = stringsAt(spec, 'clusterIPs');
  const clusterIP = stringAt(spec, 'clusterIP');
  const hasMoved = clusterIP !== stringAt(oldSpec, 'clusterIP');
  if (hasMoved && clusterIP !== '' && jsonEqual([...now], [...before])) spec['clusterIPs'] = [clusterIP];
  if (!hasMoved && now.length === 0 && before.length > 0) spec['clusterIPs'] = [...before];
  const isNamed = [spec, oldSpec].some((each) => stringAt(each, 'type') === 'ExternalName');
  if (!isNamed) {
    for (const field of addressFields) {
      const value = oldSpec[field];
      const left = spec[field];
      const isLeftOut = left === undefined || left === '' || (Array.isArray(left) && left.length === 0);
      // A client that names its address names all of them.
      const isGiven = field === 'clusterIPs' && clusterIP !== '' && hasMoved;
      if (isLeftOut && value !== undefined && !isGiven) spec[field] = structuredClone(value);
    }
  }
  completeClusterIPs(spec);
}
