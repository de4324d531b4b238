import { child, duplicate, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import {
  boolAt,
  jsonEqual,
  listAt,
  numberAt,
  objectAt,
  objectsAt,
  stringAt,
  stringMapAt,
} from '../fields.ts';
import type { FieldError } from '../kind.ts';
import {
  dnsLabelProblems,
  dnsSubdomainProblems,
  ipProblems,
  labelKeyProblems,
  labelValueProblems,
  searchDomainProblems,
} from '../names.ts';
import { validateAnnotations, validateLabels } from '../object-meta.ts';
import { isJsonObject, type JsonObject } from '../object.ts';
import { validateEphemeralContainers } from './pod-parts.ts';
import { oneOf, validateContainers } from './container-validation.ts';

/** Rules of PodSpec beyond the schema's types, under `path` (`spec` or `spec.template.spec`). */
export function validatePodSpec(spec: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const volumes = new Set<string>();
  errors.push(...validateVolumes(objectsAt(spec, 'volumes'), child(path, 'volumes'), volumes));
  const hostNetwork = boolAt(spec, 'hostNetwork');
  const names = new Set<string>();
  const containers = objectsAt(spec, 'containers');
  if (containers.length === 0) errors.push(required(child(path, 'containers')));
  for (const [list, role] of [
    ['containers', 'main'],
    ['initContainers', 'init'],
    ['ephemeralContainers', 'ephemeral'],
  ] as const) {
    const context = { volumes, hostNetwork, role };
    errors.push(...validateContainers(objectsAt(spec, list), child(path, list), context, names));
  }
  errors.push(...validateEphemeralContainers(spec, child(path, 'ephemeralContainers')));
  errors.push(...oneOf(spec, path, 'restartPolicy', ['Always', 'OnFailure', 'Never']));
  errors.push(
    ...oneOf(spec, path, 'dnsPolicy', ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None']),
  );
  errors.push(...validateDns(spec, path));
  errors.push(...validateNumbers(spec, path));
  errors.push(...validatePlacement(spec, path));
  for (const field of ['serviceAccountName', 'nodeName'] as const) {
    const name = stringAt(spec, field);
    if (name === '') continue;
    errors.push(...dnsSubdomainProblems(name).map((problem) => invalid(child(path, field), name, problem)));
  }
  for (const field of ['hostname', 'subdomain'] as const) {
    const name = stringAt(spec, field);
    if (name === '') continue;
    errors.push(...dnsLabelProblems(name).map((problem) => invalid(child(path, field), name, problem)));
  }
  objectsAt(spec, 'hostAliases').forEach((alias, position) => {
    const at = child(index(child(path, 'hostAliases'), position), 'ip');
    errors.push(...ipProblems(stringAt(alias, 'ip')).map((p) => invalid(at, stringAt(alias, 'ip'), p)));
  });
  return errors;
}

function validateNumbers(spec: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const grace = numberAt(spec, 'terminationGracePeriodSeconds');
  if (grace !== undefined && grace < 0) {
    errors.push(
      invalid(child(path, 'terminationGracePeriodSeconds'), grace, 'must be greater than or equal to 0'),
    );
  }
  const deadline = numberAt(spec, 'activeDeadlineSeconds');
  if (deadline !== undefined && (deadline < 1 || deadline > 2_147_483_647)) {
    errors.push(
      invalid(child(path, 'activeDeadlineSeconds'), deadline, 'must be between 1 and 2147483647, inclusive'),
    );
  }
  return errors;
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

function validateVolumes(
  volumes: readonly JsonObject[],
  path: string,
  names: Set<string>,
): readonly FieldError[] {
  return volumes.flatMap((volume, position) => {
    const at = index(path, position);
    const errors: FieldError[] = [];
    const name = stringAt(volume, 'name');
    if (name === '') errors.push(required(child(at, 'name')));
    else {
      errors.push(...dnsLabelProblems(name).map((problem) => invalid(child(at, 'name'), name, problem)));
      if (names.has(name)) errors.push(duplicate(child(at, 'name'), name));
    }
    names.add(name);
    const sources = Object.keys(volume).filter((key) => key !== 'name' && isJsonObject(volume[key]));
    if (sources.length === 0) errors.push(required(at, 'must specify a volume type'));
    for (const extra of sources.slice(1)) {
      errors.push(forbidden(child(at, extra), 'may not specify more than 1 volume type'));
    }
    for (const [source, field] of [
      ['secret', 'secretName'],
      ['configMap', 'name'],
      ['hostPath', 'path'],
      ['persistentVolumeClaim', 'claimName'],
    ] as const) {
      const found = objectAt(volume, source);
      if (found !== undefined && stringAt(found, field) === '') {
        errors.push(required(child(at, `${source}.${field}`)));
      }
    }
    return errors;
  });
}

const taintEffects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'] as const;

function validatePlacement(spec: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [
    ...validateLabels(stringMapAt(spec, 'nodeSelector'), child(path, 'nodeSelector')),
  ];
  objectsAt(spec, 'tolerations').forEach((toleration, position) => {
    const at = index(child(path, 'tolerations'), position);
    const key = stringAt(toleration, 'key');
    const value = stringAt(toleration, 'value');
    const operator = stringAt(toleration, 'operator');
    const effect = stringAt(toleration, 'effect');
    if (key !== '') errors.push(...labelKeyProblems(key).map((p) => invalid(child(at, 'key'), key, p)));
    else if (operator !== 'Exists') {
      errors.push(
        invalid(
          child(at, 'operator'),
          operator,
          'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        ),
      );
    }
    if (operator === 'Exists' && value !== '') {
      errors.push(invalid(child(at, 'operator'), value, "value must be empty when `operator` is 'Exists'"));
    }
    if (operator === '' || operator === 'Equal') {
      errors.push(...labelValueProblems(value).map((p) => invalid(child(at, 'operator'), value, p)));
    } else if (operator !== 'Exists') {
      errors.push(notSupported(child(at, 'operator'), operator, ['Equal', 'Exists']));
    }
    errors.push(...oneOf(toleration, at, 'effect', taintEffects));
    if (toleration['tolerationSeconds'] !== undefined && effect !== 'NoExecute') {
      errors.push(
        invalid(child(at, 'effect'), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"),
      );
    }
  });
  return errors;
}

/** Rules of a PodTemplateSpec. */
export function validatePodTemplate(template: JsonObject, path: string): readonly FieldError[] {
  return [
    ...validateLabels(stringMapAt(template, 'metadata', 'labels'), child(path, 'labels')),
    ...validateAnnotations(stringMapAt(template, 'metadata', 'annotations'), child(path, 'annotations')),
    ...validatePodSpec(objectAt(template, 'spec') ?? {}, child(path, 'spec')),
  ];
}

const podUpdateHint =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

/** A Pod's spec is fixed once created, but for a few fields. */
export function validatePodUpdate(pod: JsonObject, old: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const spec = objectAt(pod, 'spec') ?? {};
  const oldSpec = objectAt(old, 'spec') ?? {};
  for (const list of ['containers', 'initContainers']) {
    const count = listAt(spec, list).length;
    if (count !== listAt(oldSpec, list).length) {
      errors.push(forbidden(child('spec', list), 'pod updates may not add or remove containers'));
    }
  }
  if (errors.length > 0) return errors;
  errors.push(...validateDeadline(spec, oldSpec));
  const kept = objectsAt(oldSpec, 'tolerations').every((before) =>
    objectsAt(spec, 'tolerations').some((now) => sameToleration(before, now)),
  );
  if (!kept) {
    errors.push(
      forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds'),
    );
  }
  if (!jsonEqual(withoutMutable(spec), withoutMutable(oldSpec)))
    errors.push(forbidden('spec', podUpdateHint));
  return errors;
}

function validateDeadline(spec: JsonObject, oldSpec: JsonObject): readonly FieldError[] {
  const now = numberAt(spec, 'activeDeadlineSeconds');
  const before = numberAt(oldSpec, 'activeDeadlineSeconds');
  if (before === undefined || (now !== undefined && now <= before)) return [];
  const detail = `must be less than or equal to previous value`;
  return [
    invalid(
      'spec.activeDeadlineSeconds',
      now ?? null,
      now === undefined ? 'must not update from a positive integer to nil value' : detail,
    ),
  ];
}

function sameToleration(a: JsonObject, b: JsonObject): boolean {
  const { tolerationSeconds: _a, ...restA } = a;
  const { tolerationSeconds: _b, ...restB } = b;
  return jsonEqual(restA, restB);
}

/** The spec with the changeable fields taken out. */
function withoutMutable(spec: JsonObject): JsonObject {
  const { activeDeadlineSeconds: _deadline, tolerations: _tolerations, ...rest } = spec;
  const result: JsonObject = { ...rest };
  for (const list of ['containers', 'initContainers']) {
    if (rest[list] === undefined) continue;
    result[list] = objectsAt(rest, list).map(({ image: _image, ...container }) => container);
  }
  return result;
}
