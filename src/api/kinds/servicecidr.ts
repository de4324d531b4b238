import { canonicalIp, formatCidr, parseCidr } from '../../base/ip.ts';
import { child, index, invalid, required, tooMany } from '../field-errors.ts';
import { ensureObject, jsonEqual, objectAt, stringAt, stringsAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { cidrProblems, dnsSubdomainProblems, ipProblems, pathSegmentProblems } from '../names.ts';
import type { Json, JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn, orNone } from './columns.ts';
import { defineKind } from './define.ts';

/** networking.k8s.io: ranges of Service addresses, and which of them are taken. */

/** Keeps a range for as long as Services have addresses of it. */
export const serviceCidrFinalizer = 'networking.k8s.io/service-cidr-finalizer';

/** At most one range a family. */
const cidrsMax = 2;

function validateServiceCidr(object: JsonObject): readonly FieldError[] {
  const path = 'spec.cidrs';
  const cidrs = stringsAt(object, 'spec', 'cidrs');
  if (cidrs.length === 0) return [required(path, 'at least one CIDR required')];
  if (cidrs.length > cidrsMax) return [tooMany(path, cidrs.length, cidrsMax)];
  const errors = cidrs.flatMap((cidr, position) => {
    const problems = cidrProblems(cidr);
    const parsed = parseCidr(cidr);
    const canonical = parsed === undefined ? cidr : formatCidr(parsed);
    if (problems.length === 0 && canonical !== cidr) {
      return [
        invalid(index(path, position), cidr, `must be in canonical form (${JSON.stringify(canonical)})`),
      ];
    }
    return problems.map((problem) => invalid(index(path, position), cidr, problem));
  });
  const families = new Set(cidrs.map((cidr) => cidr.includes(':')));
  if (errors.length === 0 && families.size < cidrs.length) {
    errors.push(
      invalid(
        path,
        cidrs,
        'may specify no more than one IP for each IP family, i.e ["192.168.0.0/24", "2001:db8::/64"]',
      ),
    );
  }
  return errors;
}

export const serviceCidrKind: Kind = defineKind({
  group: 'networking.k8s.io',
  version: 'v1',
  kind: 'ServiceCIDR',
  plural: 'servicecidrs',
  namespaced: false,
  schema: 'networking/v1.ServiceCIDR',
  subresources: ['status'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('CIDRs', 'Ranges that Services get their addresses from.', (object) =>
      orNone(stringsAt(object, 'spec', 'cidrs').join(',')),
    ),
    ageColumn,
  ],
  prepareForCreate(object) {
    const meta = ensureObject(object, 'metadata');
    const finalizers = stringsAt(meta, 'finalizers');
    if (!finalizers.includes(serviceCidrFinalizer))
      meta['finalizers'] = [...finalizers, serviceCidrFinalizer];
  },
  validate: validateServiceCidr,
  validateUpdate(object, old) {
    const now = stringsAt(object, 'spec', 'cidrs');
    const before = stringsAt(old, 'spec', 'cidrs');
    // A range of the other family may be added, nothing else.
    const kept = before.every((cidr, position) => now[position] === cidr);
    return kept && now.length <= before.length + 1
      ? []
      : [invalid('spec.cidrs', [...now], 'field is immutable')];
  },
});

function validateIpAddress(object: JsonObject): readonly FieldError[] {
  const name = stringAt(object, 'metadata', 'name');
  const errors: FieldError[] = ipProblems(name).map((problem) => invalid('metadata.name', name, problem));
  const canonical = canonicalIp(name);
  if (errors.length === 0 && canonical !== undefined && canonical !== name) {
    errors.push(invalid('metadata.name', name, `must be in canonical form (${JSON.stringify(canonical)})`));
  }
  const path = 'spec.parentRef';
  const parent = objectAt(object, 'spec', 'parentRef');
  if (parent === undefined) return [...errors, required(path)];
  const group = stringAt(parent, 'group');
  if (group !== '') {
    errors.push(
      ...dnsSubdomainProblems(group).map((problem) => invalid(child(path, 'group'), group, problem)),
    );
  }
  for (const [field, isNeeded] of [
    ['resource', true],
    ['name', true],
    ['namespace', false],
  ] as const) {
    const value = stringAt(parent, field);
    if (value === '') {
      if (isNeeded) errors.push(required(child(path, field)));
      continue;
    }
    errors.push(...pathSegmentProblems(value).map((problem) => invalid(child(path, field), value, problem)));
  }
  return errors;
}

/** "services/default/kubernetes", with the group behind the resource where there is one. */
function parentText(object: JsonObject): string {
  const parent = objectAt(object, 'spec', 'parentRef');
  const group = stringAt(parent, 'group');
  const resource = stringAt(parent, 'resource') + (group === '' ? '' : `.${group}`);
  return [resource.toLowerCase(), stringAt(parent, 'namespace'), stringAt(parent, 'name')]
    .filter((part) => part !== '')
    .join('/');
}

export const ipAddressKind: Kind = defineKind({
  group: 'networking.k8s.io',
  version: 'v1',
  kind: 'IPAddress',
  plural: 'ipaddresses',
  namespaced: false,
  schema: 'networking/v1.IPAddress',
  shortNames: ['ip'],
  nameRule: 'pathSegment',
  countsGenerations: true,
  columns: [
    nameColumn,
    column('ParentRef', 'Whose address it is.', (object) => orNone(parentText(object))),
    ageColumn,
  ],
  validate: validateIpAddress,
  validateUpdate(object, old) {
    const now: Json | undefined = objectAt(object, 'spec', 'parentRef');
    if (jsonEqual(now, objectAt(old, 'spec', 'parentRef'))) return [];
    return [invalid('spec.parentRef', now ?? null, 'field is immutable')];
  },
});
