import {
  child,
  duplicate,
  forbidden,
  index,
  invalid,
  notSupported,
  required,
  tooLong,
} from '../field-errors.ts';
import { boolAt, listAt, objectAt, objectsAt, stringAt, stringsAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import type { Json, JsonObject } from '../object.ts';
import { descendingPath, oneOf } from './field-rules.ts';

/** Rules of the security contexts of Pods and containers, and of what the operating system has to do with them. */

/** Users and groups are numbers of 31 bits. */
const idMax = 2_147_483_647;

function idErrors(path: string, id: Json | undefined): readonly FieldError[] {
  if (id === undefined || (typeof id === 'number' && id >= 0 && id <= idMax)) return [];
  return [invalid(path, id, `must be between 0 and ${idMax}, inclusive`)];
}

export function validatePodSecurity(spec: JsonObject, path: string): readonly FieldError[] {
  const security = objectAt(spec, 'securityContext') ?? {};
  const at = child(path, 'securityContext');
  const errors: FieldError[] = [];
  for (const field of ['fsGroup', 'runAsUser', 'runAsGroup'])
    errors.push(...idErrors(child(at, field), security[field]));
  listAt(security, 'supplementalGroups').forEach((group, position) => {
    errors.push(...idErrors(index(child(at, 'supplementalGroups'), position), group));
  });
  if (boolAt(spec, 'shareProcessNamespace') && boolAt(spec, 'hostPID')) {
    const detail = 'ShareProcessNamespace and HostPID cannot both be enabled';
    errors.push(invalid(child(at, 'shareProcessNamespace'), true, detail));
  }
  errors.push(...validateSysctls(spec, child(at, 'sysctls')));
  errors.push(...oneOf(security, at, 'fsGroupChangePolicy', ['Always', 'OnRootMismatch']));
  errors.push(...validateSeccomp(objectAt(security, 'seccompProfile'), child(at, 'seccompProfile')));
  errors.push(...validateAppArmor(objectAt(security, 'appArmorProfile'), child(at, 'appArmorProfile')));
  errors.push(...oneOf(security, at, 'supplementalGroupsPolicy', ['Merge', 'Strict']));
  errors.push(...oneOf(security, at, 'seLinuxChangePolicy', ['MountOption', 'Recursive']));
  return [...errors, ...validateHostUsers(spec, path)];
}

/** A Pod with users of its own shares no other namespace with its node. */
function validateHostUsers(spec: JsonObject, path: string): readonly FieldError[] {
  if (spec['hostUsers'] !== false) return [];
  const detail = 'when `pod.Spec.HostUsers` is false';
  // The odd capitals are those that Kubernetes answers with.
  return [
    ['hostNetwork', 'hostNetwork'],
    ['hostPID', 'HostPID'],
    ['hostIPC', 'HostIPC'],
  ].flatMap(([field = '', shown = '']) =>
    boolAt(spec, field) ? [forbidden(child(path, shown), detail)] : [],
  );
}

const sysctlLengthMax = 253;
const sysctlName = /^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$/;

function validateSysctls(spec: JsonObject, path: string): readonly FieldError[] {
  const seen = new Set<string>();
  return objectsAt(spec, 'securityContext', 'sysctls').flatMap((sysctl, position) => {
    const at = child(index(path, position), 'name');
    const name = stringAt(sysctl, 'name');
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(at));
    else if (name.length > sysctlLengthMax || !sysctlName.test(name)) {
      const detail = `must have at most ${sysctlLengthMax} characters and match regex ${sysctlName.source}`;
      errors.push(invalid(at, name, detail));
    } else if (seen.has(name)) errors.push(duplicate(at, name));
    seen.add(name);
    const scope = sysctlScopeOf(name);
    if (scope === 'net' && boolAt(spec, 'hostNetwork')) {
      errors.push(invalid(at, name, "may not be specified when 'hostNetwork' is true"));
    } else if (scope === 'ipc' && boolAt(spec, 'hostIPC')) {
      errors.push(invalid(at, name, "may not be specified when 'hostIPC' is true"));
    }
    return errors;
  });
}

/** sysctl(8): where the first separator is a slash, slashes and dots stand for each other. */
export function dottedSysctl(name: string): string {
  const first = /[./]/.exec(name)?.[0];
  if (first !== '/') return name;
  return name.replace(/[./]/g, (sign) => (sign === '/' ? '.' : '/'));
}

/** The namespace that a kernel parameter belongs to; undefined: it is the whole machine's. Spec: namespaces(7). */
export function sysctlScopeOf(name: string): 'net' | 'ipc' | undefined {
  const dotted = dottedSysctl(name);
  if (dotted.startsWith('net.')) return 'net';
  if (dotted.startsWith('fs.mqueue.') || /^kernel\.(?:sem$|shm|msg)/.test(dotted)) return 'ipc';
  return undefined;
}

const profileTypes = ['Localhost', 'RuntimeDefault', 'Unconfined'] as const;

function validateSeccomp(profile: JsonObject | undefined, path: string): readonly FieldError[] {
  if (profile === undefined) return [];
  const type = stringAt(profile, 'type');
  const errors: FieldError[] = [];
  if (type === '') errors.push(required(child(path, 'type'), 'type is required when seccompProfile is set'));
  else errors.push(...oneOf(profile, path, 'type', profileTypes));
  const at = child(path, 'localhostProfile');
  const file = profile['localhostProfile'];
  if (type === 'Localhost') {
    if (file === undefined) errors.push(required(at, 'must be set when seccomp type is Localhost'));
    else errors.push(...descendingPath(at, stringAt(profile, 'localhostProfile')));
  } else if (file !== undefined) {
    errors.push(invalid(at, profile, 'can only be set when seccomp type is Localhost'));
  }
  return errors;
}

/** A path's longest length in the kernel, without its end. */
const profileNameBytesMax = 4095;

function validateAppArmor(profile: JsonObject | undefined, path: string): readonly FieldError[] {
  if (profile === undefined) return [];
  const type = stringAt(profile, 'type');
  if (type === '') return [required(child(path, 'type'), 'type is required when appArmorProfile is set')];
  if (!profileTypes.includes(type as 'Localhost')) return oneOf(profile, path, 'type', profileTypes);
  const at = child(path, 'localhostProfile');
  const isSet = profile['localhostProfile'] !== undefined;
  if (type !== 'Localhost') {
    const detail = 'can only be set when AppArmor type is Localhost';
    return isSet ? [invalid(at, profile['localhostProfile'], detail)] : [];
  }
  const name = stringAt(profile, 'localhostProfile');
  const errors: FieldError[] = [];
  if (name.trim() !== name) errors.push(invalid(at, name, 'must not be padded with whitespace'));
  else if (name === '') errors.push(required(at, 'must be set when AppArmor type is Localhost'));
  if (Buffer.byteLength(name) > profileNameBytesMax) errors.push(tooLong(at, profileNameBytesMax));
  return errors;
}

/** `hostUsers`: the Pod's own, whose absence means true. */
export function validateContainerSecurity(
  security: JsonObject | undefined,
  path: string,
  hostUsers: boolean,
): readonly FieldError[] {
  if (security === undefined) return [];
  const errors: FieldError[] = [];
  for (const field of ['runAsUser', 'runAsGroup'])
    errors.push(...idErrors(child(path, field), security[field]));
  errors.push(...oneOf(security, path, 'procMount', ['Default', 'Unmasked']));
  if (stringAt(security, 'procMount') === 'Unmasked' && hostUsers) {
    const detail = '`hostUsers` must be false to use `Unmasked`';
    errors.push(invalid(child(path, 'procMount'), 'Unmasked', detail));
  }
  errors.push(...validateSeccomp(objectAt(security, 'seccompProfile'), child(path, 'seccompProfile')));
  if (security['allowPrivilegeEscalation'] === false) {
    const cannot = (other: string) =>
      invalid(path, security, `cannot set \`allowPrivilegeEscalation\` to false and ${other}`);
    if (boolAt(security, 'privileged')) errors.push(cannot('`privileged` to true'));
    if (stringsAt(security, 'capabilities', 'add').includes('CAP_SYS_ADMIN'))
      errors.push(cannot('`capabilities.Add` CAP_SYS_ADMIN'));
  }
  const at = child(path, 'appArmorProfile');
  return [...errors, ...validateAppArmor(objectAt(security, 'appArmorProfile'), at)];
}

/** Fields of a Pod's and of a container's security context that only Linux knows. */
const linuxOfPod = [
  'appArmorProfile',
  'seLinuxOptions',
  'seccompProfile',
  'fsGroup',
  'fsGroupChangePolicy',
  'sysctls',
  'runAsUser',
  'runAsGroup',
  'supplementalGroups',
  'supplementalGroupsPolicy',
  'seLinuxChangePolicy',
] as const;
const linuxOfContainer = [
  'appArmorProfile',
  'seLinuxOptions',
  'seccompProfile',
  'capabilities',
  'readOnlyRootFilesystem',
  'privileged',
  'allowPrivilegeEscalation',
  'procMount',
  'runAsUser',
  'runAsGroup',
] as const;
const linuxOfSpec = ['hostUsers', 'hostPID', 'hostIPC', 'shareProcessNamespace'] as const;

/** spec.os: a Pod that names its system asks for nothing that only another one has. */
export function validateOs(spec: JsonObject, path: string): readonly FieldError[] {
  const os = objectAt(spec, 'os');
  if (os === undefined) return [];
  const name = stringAt(os, 'name');
  if (name === '') return [required(child(path, 'os.name'), 'cannot be empty')];
  if (name !== 'linux' && name !== 'windows')
    return [notSupported(child(path, 'os'), name, ['linux', 'windows'])];
  const isLinux = name === 'linux';
  const detail = isLinux
    ? 'windows options cannot be set for a linux pod'
    : 'cannot be set for a windows pod';
  const refused = (object: JsonObject | undefined, at: string, fields: readonly string[]) =>
    fields.flatMap((field) => {
      const value = object?.[field];
      const isUnset = value === undefined || value === false || (Array.isArray(value) && value.length === 0);
      return isUnset ? [] : [forbidden(child(at, field), detail)];
    });
  const windows = ['windowsOptions'];
  const errors = [
    ...refused(
      objectAt(spec, 'securityContext'),
      child(path, 'securityContext'),
      isLinux ? windows : linuxOfPod,
    ),
    ...(isLinux ? [] : refused(spec, path, linuxOfSpec)),
  ];
  for (const list of ['initContainers', 'containers', 'ephemeralContainers']) {
    objectsAt(spec, list).forEach((container, position) => {
      const at = child(index(child(path, list), position), 'securityContext');
      const own = objectAt(container, 'securityContext');
      errors.push(...refused(own, at, isLinux ? windows : linuxOfContainer));
    });
  }
  return errors;
}
