import { child, duplicate, forbidden, index, invalid, required, tooLong } from '../field-errors.ts';
import { boolAt, listAt, numberAt, objectAt, objectsAt, stringAt, stringMapAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import {
  dnsLabelProblems,
  dnsSubdomainProblems,
  ipProblems,
  labelKeyProblems,
  searchDomainProblems,
} from '../names.ts';
import { validateAnnotations, validateLabels } from '../object-meta.ts';
import { isJsonObject, type JsonObject } from '../object.ts';
import { validatePodResources, validateResources } from './container-resources.ts';
import { validateContainers } from './container-validation.ts';
import { inRange, oneOf, problemsAt } from './field-rules.ts';
import { validateEphemeralContainers } from './pod-parts.ts';
import { validateAffinity, validateSpread, validateTolerations } from './pod-placement.ts';
import { validateOs, validatePodSecurity } from './pod-security.ts';
import { type PodSubject, validateVolumes } from './pod-volumes.ts';

/** Rules of a Pod. `old`: of an update, which needs nothing of what is only asked of new ones. */
export function validatePod(pod: JsonObject, old: JsonObject | undefined): readonly FieldError[] {
  const spec = objectAt(pod, 'spec') ?? {};
  const name = stringAt(pod, 'metadata', 'name');
  const errors: FieldError[] = [...validatePodSpec(spec, 'spec', { kind: 'pod', name })];
  if (old !== undefined) return errors;
  if (listAt(spec, 'ephemeralContainers').length > 0)
    errors.push(forbidden('spec.ephemeralContainers', 'cannot be set on create'));
  if (stringAt(spec, 'nodeName') !== '' && listAt(spec, 'schedulingGates').length > 0) {
    const detail = 'cannot be set until all schedulingGates have been cleared';
    errors.push(forbidden('spec.nodeName', detail));
  }
  return errors;
}

/** Rules of a PodTemplateSpec. */
export function validatePodTemplate(template: JsonObject, path: string): readonly FieldError[] {
  const spec = objectAt(template, 'spec') ?? {};
  const errors: FieldError[] = [
    ...validateLabels(stringMapAt(template, 'metadata', 'labels'), child(path, 'labels')),
    ...validateAnnotations(stringMapAt(template, 'metadata', 'annotations'), child(path, 'annotations')),
    ...validatePodSpec(spec, child(path, 'spec'), { kind: 'template', name: '' }),
  ];
  if (listAt(spec, 'ephemeralContainers').length > 0) {
    const detail = 'ephemeral containers not allowed in pod template';
    errors.push(forbidden(child(path, 'spec.ephemeralContainers'), detail));
  }
  return errors;
}

/** Rules of PodSpec beyond the schema's types, under `path` (`spec` or `spec.template.spec`). */
function validatePodSpec(spec: JsonObject, path: string, subject: PodSubject): readonly FieldError[] {
  return [
    ...validateParts(spec, path, subject),
    ...validatePodResources(spec, path),
    ...oneOf(spec, path, 'restartPolicy', ['Always', 'OnFailure', 'Never']),
    ...oneOf(spec, path, 'dnsPolicy', ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None']),
    ...validateLabels(stringMapAt(spec, 'nodeSelector'), child(path, 'nodeSelector')),
    ...validatePodSecurity(spec, path),
    ...validateAffinity(objectAt(spec, 'affinity'), child(path, 'affinity')),
    ...validateDns(spec, path),
    ...validateGates(spec, path),
    ...validateSpread(
      objectsAt(spec, 'topologySpreadConstraints'),
      child(path, 'topologySpreadConstraints'),
      subject.kind,
    ),
    ...validateNames(spec, path),
    ...validateHostnameOverride(spec, path),
    ...inRange(spec, path, 'activeDeadlineSeconds', { least: 1, most: 2_147_483_647 }),
    ...validateTolerations(objectsAt(spec, 'tolerations'), child(path, 'tolerations')),
    ...validateHostAliases(spec, child(path, 'hostAliases')),
    ...oneOf(spec, path, 'preemptionPolicy', ['PreemptLowerPriority', 'Never']),
    ...validateResources({ limits: objectAt(spec, 'overhead') ?? {} }, child(path, 'overhead'), new Set()),
    ...validateOs(spec, path),
  ];
}

/** Volumes, claims and containers, which name each other. */
function validateParts(spec: JsonObject, path: string, subject: PodSubject): readonly FieldError[] {
  const volumes = new Map<string, JsonObject>();
  const claims = new Set<string>();
  const names = new Set<string>();
  const errors: FieldError[] = [
    ...validateVolumes(objectsAt(spec, 'volumes'), child(path, 'volumes'), subject, volumes),
    ...validateResourceClaims(objectsAt(spec, 'resourceClaims'), child(path, 'resourceClaims'), claims),
  ];
  if (listAt(spec, 'containers').length === 0) errors.push(required(child(path, 'containers')));
  const shared = {
    volumes,
    claims,
    subject: subject.kind,
    hostNetwork: boolAt(spec, 'hostNetwork'),
    hostUsers: spec['hostUsers'] !== false,
    graceSeconds: numberAt(spec, 'terminationGracePeriodSeconds'),
    restartPolicy: stringAt(spec, 'restartPolicy'),
  };
  for (const [list, role] of [
    ['containers', 'main'],
    ['initContainers', 'init'],
    ['ephemeralContainers', 'ephemeral'],
  ] as const) {
    const context = { ...shared, role };
    errors.push(...validateContainers(objectsAt(spec, list), child(path, list), context, names));
  }
  return [...errors, ...validateEphemeralContainers(spec, child(path, 'ephemeralContainers'))];
}

function validateResourceClaims(
  claims: readonly JsonObject[],
  path: string,
  names: Set<string>,
): readonly FieldError[] {
  const kinds = ['resourceClaimName', 'resourceClaimTemplateName'];
  return claims.flatMap((claim, position) => {
    const at = index(path, position);
    const name = stringAt(claim, 'name');
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(child(at, 'name')));
    else if (names.has(name)) errors.push(duplicate(child(at, 'name'), name));
    else errors.push(...problemsAt(child(at, 'name'), name, dnsLabelProblems));
    names.add(name);
    const chosen = kinds.filter((kind) => claim[kind] !== undefined);
    if (chosen.length > 1) {
      const detail = 'at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified';
      errors.push(invalid(at, claim, detail));
    } else if (chosen.length === 0) {
      const detail = 'must specify one of: `resourceClaimName`, `resourceClaimTemplateName`';
      errors.push(invalid(at, claim, detail));
    }
    for (const kind of chosen)
      errors.push(...problemsAt(child(at, kind), stringAt(claim, kind), dnsSubdomainProblems));
    return errors;
  });
}

function validateGates(spec: JsonObject, path: string): readonly FieldError[] {
  const errors = objectsAt(spec, 'readinessGates').flatMap((gate, position) => {
    const at = child(index(child(path, 'readinessGates'), position), 'conditionType');
    return problemsAt(at, stringAt(gate, 'conditionType'), labelKeyProblems);
  });
  const seen = new Set<string>();
  objectsAt(spec, 'schedulingGates').forEach((gate, position) => {
    const at = index(child(path, 'schedulingGates'), position);
    const name = stringAt(gate, 'name');
    errors.push(...problemsAt(at, name, labelKeyProblems));
    if (seen.has(name)) errors.push(duplicate(at, name));
    seen.add(name);
  });
  return errors;
}

function validateNames(spec: JsonObject, path: string): readonly FieldError[] {
  const rules = [
    ['serviceAccountName', dnsSubdomainProblems],
    ['nodeName', dnsSubdomainProblems],
    ['hostname', dnsLabelProblems],
    ['subdomain', dnsLabelProblems],
    ['priorityClassName', dnsSubdomainProblems],
    ['runtimeClassName', dnsSubdomainProblems],
  ] as const;
  return rules.flatMap(([field, problemsOf]) => {
    const name = stringAt(spec, field);
    return name === '' ? [] : problemsAt(child(path, field), name, problemsOf);
  });
}

/** The kernel's own limit of a host name. */
const hostnameBytesMax = 64;

/** spec.hostnameOverride says all of a host name, so nothing else may. */
function validateHostnameOverride(spec: JsonObject, path: string): readonly FieldError[] {
  const name = stringAt(spec, 'hostnameOverride');
  if (spec['hostnameOverride'] === undefined) return [];
  const at = child(path, 'hostnameOverride');
  const errors: FieldError[] = [...problemsAt(at, name, dnsSubdomainProblems)];
  if (name.length > hostnameBytesMax) errors.push(tooLong(at, hostnameBytesMax));
  if (boolAt(spec, 'hostNetwork'))
    errors.push(forbidden(at, 'may not be specified when hostNetwork is true'));
  if (boolAt(spec, 'setHostnameAsFQDN')) {
    const detail = 'setHostnameAsFQDN and hostnameOverride are mutually exclusive';
    errors.push(invalid(child(path, 'setHostnameAsFQDN'), true, detail));
  }
  return errors;
}

function validateHostAliases(spec: JsonObject, path: string): readonly FieldError[] {
  return objectsAt(spec, 'hostAliases').flatMap((alias, position) => {
    const at = index(path, position);
    const names = listAt(alias, 'hostnames').map(String);
    return [
      ...problemsAt(child(at, 'ip'), stringAt(alias, 'ip'), ipProblems),
      ...names.flatMap((name, place) =>
        problemsAt(index(child(at, 'hostnames'), place), name, dnsSubdomainProblems),
      ),
    ];
  });
}

/** What one resolv.conf holds. */
const dnsLimits = { nameserversMax: 3, searchesMax: 32, searchCharactersMax: 2048 } as const;

function validateDns(spec: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const at = child(path, 'dnsConfig');
  const servers = listAt(spec, 'dnsConfig', 'nameservers');
  servers.forEach((server, position) => {
    const text = typeof server === 'string' ? server : '';
    const field = index(child(at, 'nameservers'), position);
    errors.push(...ipProblems(text).map((problem) => invalid(field, text, problem)));
  });
  if (stringAt(spec, 'dnsPolicy') === 'None' && servers.length === 0) {
    errors.push(
      required(child(at, 'nameservers'), 'must provide at least one DNS nameserver when `dnsPolicy` is None'),
    );
  }
  const searches = listAt(spec, 'dnsConfig', 'searches').map(String);
  const tooMany = (what: string, field: string, value: readonly unknown[]): void => {
    errors.push(invalid(child(at, field), JSON.stringify(value), `must not have more than ${what}`));
  };
  if (servers.length > dnsLimits.nameserversMax) {
    tooMany(`${dnsLimits.nameserversMax} nameservers`, 'nameservers', servers);
  }
  if (searches.length > dnsLimits.searchesMax) {
    tooMany(`${dnsLimits.searchesMax} search paths`, 'searches', searches);
  }
  if (searches.join(' ').length > dnsLimits.searchCharactersMax) {
    const limit = `${dnsLimits.searchCharactersMax} characters (including spaces) in the search list`;
    tooMany(limit, 'searches', searches);
  }
  searches.forEach((search, position) => {
    const problems = search === '.' ? [] : searchDomainProblems(search.replace(/\.$/, ''));
    const field = index(child(at, 'searches'), position);
    errors.push(...problems.map((problem) => invalid(field, search, problem)));
  });
  listAt(spec, 'dnsConfig', 'options').forEach((option, position) => {
    if (isJsonObject(option) && stringAt(option, 'name') !== '') return;
    errors.push(required(index(child(at, 'options'), position), 'must not be empty'));
  });
  return errors;
}
