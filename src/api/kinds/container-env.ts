import { child, index, invalid, notSupported, required } from '../field-errors.ts';
import { objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { configKeyProblems, dnsSubdomainProblems, envVarNameProblems, labelKeyProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { canonicalQuantity, parseQuantity } from '../quantity.ts';
import { problemsAt } from './field-rules.ts';

/** Rules of a container's environment, and of the downward API that its variables and volumes share. */

/** What a variable can tell of its Pod. */
const envFields = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
] as const;

/** What a file can: it follows changes, but is written before the Pod has an address. */
const fileFields = [
  'metadata.name',
  'metadata.namespace',
  'metadata.labels',
  'metadata.annotations',
  'metadata.uid',
] as const;

const fieldsOf = { env: envFields, file: fileFields } as const;

/** All paths of the downward API; another path has no value at all. */
const knownFields: ReadonlySet<string> = new Set([...envFields, ...fileFields]);

export function validateFieldRef(
  selector: JsonObject,
  path: string,
  of: 'env' | 'file',
): readonly FieldError[] {
  const version = stringAt(selector, 'apiVersion');
  if (version === '') return [required(child(path, 'apiVersion'))];
  const field = stringAt(selector, 'fieldPath');
  const at = child(path, 'fieldPath');
  if (field === '') return [required(at)];
  if (version !== 'v1') {
    const detail = `error converting fieldPath: unsupported pod version: ${version}`;
    return [invalid(at, field, detail)];
  }
  const keyed = /^(.*)\['([^']*)'\]$/.exec(field);
  if (keyed !== null) {
    const [, map = '', key = ''] = keyed;
    if (map === 'metadata.annotations') return problemsAt(path, key.toLowerCase(), labelKeyProblems);
    if (map === 'metadata.labels') return problemsAt(path, key, labelKeyProblems);
  }
  if (keyed !== null || !knownFields.has(field)) {
    const detail = `error converting fieldPath: field label not supported: ${field}`;
    return [invalid(at, field, detail)];
  }
  if ((fieldsOf[of] as readonly string[]).includes(field)) return [];
  return [notSupported(at, field, fieldsOf[of])];
}

const resourceNames = ['cpu', 'memory', 'ephemeral-storage'] as const;
const resourceFields = ['limits', 'requests'].flatMap((list) =>
  resourceNames.map((name) => `${list}.${name}`),
);
const byteDivisors = ['1', '1k', '1M', '1G', '1T', '1P', '1E', '1Ki', '1Mi', '1Gi', '1Ti', '1Pi', '1Ei'];
const divisorsOf: Readonly<Record<string, { readonly allowed: readonly string[]; readonly detail: string }>> =
  {
    cpu: {
      allowed: ['1m', '1'],
      detail: "only divisor's values 1m and 1 are supported with the cpu resource",
    },
    memory: { allowed: byteDivisors, detail: byteDivisorsOf('memory') },
    'ephemeral-storage': { allowed: byteDivisors, detail: byteDivisorsOf('local ephemeral storage') },
    hugepages: { allowed: byteDivisors, detail: byteDivisorsOf('hugepages') },
  };

function byteDivisorsOf(resource: string): string {
  return `only divisor's values ${byteDivisors.join(', ')} are supported with the ${resource} resource`;
}

export function validateResourceFieldRef(
  selector: JsonObject,
  path: string,
  of: 'env' | 'file',
): readonly FieldError[] {
  const resource = stringAt(selector, 'resource');
  const hugePages = /^(?:limits|requests)\.hugepages-/.test(resource);
  const errors: FieldError[] = [];
  if (of === 'file' && stringAt(selector, 'containerName') === '') {
    errors.push(required(child(path, 'containerName')));
  } else if (resource === '') errors.push(required(child(path, 'resource')));
  else if (!hugePages && !resourceFields.includes(resource)) {
    errors.push(notSupported(child(path, 'resource'), resource, resourceFields));
  }
  const divisor = canonicalQuantity(stringAt(selector, 'divisor'));
  const name = hugePages ? 'hugepages' : resource.slice(resource.indexOf('.') + 1);
  const rule = divisorsOf[name];
  const isUnset = divisor === '' || parseQuantity(divisor)?.nanos === 0n;
  if (!isUnset && rule !== undefined && !rule.allowed.includes(divisor))
    errors.push(invalid(child(path, 'divisor'), resource, rule.detail));
  return errors;
}

const sources = ['fieldRef', 'resourceFieldRef', 'configMapKeyRef', 'secretKeyRef', 'fileKeyRef'] as const;

export function validateEnv(env: readonly JsonObject[], path: string): readonly FieldError[] {
  return env.flatMap((variable, position) => {
    const at = index(path, position);
    const name = stringAt(variable, 'name');
    const errors: FieldError[] =
      name === ''
        ? [required(child(at, 'name'))]
        : [...problemsAt(child(at, 'name'), name, envVarNameProblems)];
    const source = objectAt(variable, 'valueFrom');
    if (source === undefined) return errors;
    return [...errors, ...validateValueFrom(variable, source, child(at, 'valueFrom'))];
  });
}

function validateValueFrom(variable: JsonObject, source: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const field = objectAt(source, 'fieldRef');
  if (field !== undefined) errors.push(...validateFieldRef(field, child(path, 'fieldRef'), 'env'));
  const resource = objectAt(source, 'resourceFieldRef');
  if (resource !== undefined)
    errors.push(...validateResourceFieldRef(resource, child(path, 'resourceFieldRef'), 'env'));
  for (const ref of ['configMapKeyRef', 'secretKeyRef']) {
    const selector = objectAt(source, ref);
    if (selector === undefined) continue;
    const at = child(path, ref);
    errors.push(...problemsAt(child(at, 'name'), stringAt(selector, 'name'), dnsSubdomainProblems));
    const key = stringAt(selector, 'key');
    if (key === '') errors.push(required(child(at, 'key')));
    else errors.push(...problemsAt(child(at, 'key'), key, configKeyProblems));
  }
  const chosen = sources.filter((key) => source[key] !== undefined);
  if (chosen.length === 0) {
    const detail = 'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`';
    errors.push(invalid(path, '', detail));
  } else if (stringAt(variable, 'value') !== '') {
    errors.push(invalid(path, '', 'may not be specified when `value` is not empty'));
  } else if (chosen.length > 1) {
    errors.push(invalid(path, '', 'may not have more than one field specified at a time'));
  }
  return errors;
}

export function validateEnvFrom(container: JsonObject, path: string): readonly FieldError[] {
  return objectsAt(container, 'envFrom').flatMap((from, position) => {
    const at = index(path, position);
    const errors: FieldError[] = [];
    const prefix = stringAt(from, 'prefix');
    if (prefix !== '') errors.push(...problemsAt(child(at, 'prefix'), prefix, envVarNameProblems));
    const chosen = ['configMapRef', 'secretRef'].filter((ref) => from[ref] !== undefined);
    for (const ref of chosen) {
      const name = stringAt(from, ref, 'name');
      const where = child(child(at, ref), 'name');
      if (name === '') errors.push(required(where));
      else {
        // A prefix of a generated name is allowed here, as in Kubernetes.
        const probe = name.endsWith('-') ? `${name.slice(0, -1)}a` : name;
        errors.push(...dnsSubdomainProblems(probe).map((problem) => invalid(where, name, problem)));
      }
    }
    // Kubernetes tells of these two at the list, not at its entry.
    if (chosen.length === 0) {
      errors.push(invalid(path, '', 'must specify one of: `configMapRef` or `secretRef`'));
    } else if (chosen.length > 1) {
      errors.push(invalid(path, '', 'may not have more than one field specified at a time'));
    }
    return errors;
  });
}
