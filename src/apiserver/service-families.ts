import { invalid } from '../api/field-errors.ts';
import { jsonEqual, stringAt, stringsAt } from '../api/fields.ts';
import type { FieldError } from '../api/kind.ts';
import {
  addressFields,
  familyNameOf,
  isHeadlessWithoutSelector,
  validateServiceAddresses,
} from '../api/kinds/service-address-validation.ts';
import type { JsonObject } from '../api/object.ts';

export type FamilyName = 'IPv4' | 'IPv6';

/**
 * Fills ipFamilyPolicy and ipFamilies of a Service in place, by the rules of Kubernetes (KEP-563), for a cluster that has
 * Service addresses of the families `own`, the first of which is the default. `oldSpec`: as it is stored, for an update.
 * An update that says SingleStack and leaves the lists as they were gives up the second family with its address.
 */
export function settleFamilies(
  spec: JsonObject,
  oldSpec: JsonObject | undefined,
  own: readonly FamilyName[],
): readonly FieldError[] {
  spec['ipFamilyPolicy'] = stringAt(spec, 'ipFamilyPolicy') || defaultPolicy(spec, oldSpec);
  const malformed = validateServiceAddresses(spec);
  if (malformed.length > 0) return malformed;
  const isSingle = spec['ipFamilyPolicy'] === 'SingleStack';
  const errors = oldSpec === undefined ? [] : settleReduction(spec, oldSpec, isSingle);
  if (isSingle) {
    for (const [field, plural] of [
      ['clusterIPs', 'cluster IPs'],
      ['ipFamilies', 'IP families'],
    ] as const) {
      if (stringsAt(spec, field).length < 2) continue;
      errors.push(
        policyError(
          spec,
          `must be 'RequireDualStack' or 'PreferDualStack' when multiple ${plural} are specified`,
        ),
      );
    }
  }
  errors.push(...inferFamilies(spec, own));
  return errors.length > 0 ? errors : completeFamilies(spec, own, isSingle);
}

/** True where an update leaves everything alone that decides about addresses: it keeps those it has. */
export function keepsFamilies(spec: JsonObject, oldSpec: JsonObject): boolean {
  return (
    stringAt(spec, 'type') === stringAt(oldSpec, 'type') &&
    isHeadlessWithoutSelector(spec) === isHeadlessWithoutSelector(oldSpec) &&
    stringAt(oldSpec, 'ipFamilyPolicy') !== '' &&
    addressFields.every((field) => jsonEqual(spec[field], oldSpec[field]))
  );
}

function defaultPolicy(spec: JsonObject, oldSpec: JsonObject | undefined): string {
  const before = stringAt(oldSpec, 'ipFamilyPolicy');
  if (before !== '') return before;
  return isHeadlessWithoutSelector(spec) ? 'RequireDualStack' : 'SingleStack';
}

function settleReduction(spec: JsonObject, oldSpec: JsonObject, isSingle: boolean): FieldError[] {
  return (['clusterIPs', 'ipFamilies'] as const).flatMap((field) => {
    const now = stringsAt(spec, field);
    const before = stringsAt(oldSpec, field);
    if (isSingle) {
      if (now.length > 1 && jsonEqual([...now], [...before])) spec[field] = now.slice(0, 1);
      return [];
    }
    if (now.length === 0 || now.length >= before.length) return [];
    const what = field === 'clusterIPs' ? 'cluster IP' : 'IP family';
    return [policyError(spec, `must be 'SingleStack' to release the secondary ${what}`)];
  });
}

/** Addresses that the client names say of which family they are. */
function inferFamilies(spec: JsonObject, own: readonly FamilyName[]): readonly FieldError[] {
  const clusterIPs = stringsAt(spec, 'clusterIPs');
  const families = [...stringsAt(spec, 'ipFamilies')];
  const errors: FieldError[] = [];
  for (const [position, address] of clusterIPs.entries()) {
    const family = familyNameOf(address);
    if (family === undefined || position < families.length) continue; // "None"
    if (own.includes(family)) families.push(family);
    else {
      const detail = `${family} is not configured on this cluster`;
      errors.push(invalid(`spec.clusterIPs[${position}]`, clusterIPs, detail));
    }
  }
  spec['ipFamilies'] = families;
  return errors;
}

function completeFamilies(
  spec: JsonObject,
  own: readonly FamilyName[],
  isSingle: boolean,
): readonly FieldError[] {
  const isOpen = isHeadlessWithoutSelector(spec);
  const asked = stringsAt(spec, 'ipFamilies');
  if (!isOpen) {
    const errors: FieldError[] = [];
    if (spec['ipFamilyPolicy'] === 'RequireDualStack' && own.length < 2) {
      errors.push(policyError(spec, 'this cluster is not configured for dual-stack services'));
    }
    asked.forEach((family, position) => {
      if (own.some((known) => known === family)) return;
      errors.push(invalid(`spec.ipFamilies[${position}]`, family, 'not configured on this cluster'));
    });
    if (errors.length > 0) return errors;
  }
  const families = asked.length > 0 ? [...asked] : own.slice(0, 1);
  if (!isSingle && families.length === 1 && (isOpen || own.length > 1)) {
    families.push(families[0] === 'IPv4' ? 'IPv6' : 'IPv4');
  }
  spec['ipFamilies'] = families;
  return [];
}

function policyError(spec: JsonObject, detail: string): FieldError {
  return invalid('spec.ipFamilyPolicy', stringAt(spec, 'ipFamilyPolicy'), detail);
}
