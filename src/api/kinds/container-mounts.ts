import { child, forbidden, index, invalid, notFound, notSupported, required } from '../field-errors.ts';
import { boolAt, objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { descendingPath, noBacksteps, oneOf } from './field-rules.ts';

/** Rules of how containers use their Pod's volumes. `volumes`: those without fault, by name. */

type Volumes = ReadonlyMap<string, JsonObject>;

/**
 * Some of these errors name the list instead of its entry: that is where Kubernetes, too, says they are.
 */
export function validateMounts(container: JsonObject, path: string, volumes: Volumes): readonly FieldError[] {
  const taken = new Set<string>();
  const devices = objectsAt(container, 'volumeDevices');
  return objectsAt(container, 'volumeMounts').flatMap((mount, position) => {
    const at = index(path, position);
    const errors: FieldError[] = [];
    const name = stringAt(mount, 'name');
    const mountPath = stringAt(mount, 'mountPath');
    if (name === '') errors.push(required(child(at, 'name')));
    if (!volumes.has(name)) errors.push(notFound(child(at, 'name'), name));
    if (mountPath === '') errors.push(required(child(at, 'mountPath')));
    if (taken.has(mountPath)) errors.push(invalid(child(at, 'mountPath'), mountPath, 'must be unique'));
    taken.add(mountPath);
    if (devices.some((device) => device['name'] === name))
      errors.push(invalid(child(at, 'name'), name, 'must not already exist in volumeDevices'));
    if (devices.some((device) => device['devicePath'] === mountPath)) {
      const detail = 'must not already exist as a path in volumeDevices';
      errors.push(invalid(child(at, 'mountPath'), mountPath, detail));
    }
    errors.push(...validateSubPaths(mount, at, path, volumes.get(name)));
    errors.push(...validatePropagation(container, mount, path));
    return [...errors, ...validateRecursiveReadOnly(mount, path)];
  });
}

function validateSubPaths(
  mount: JsonObject,
  at: string,
  list: string,
  volume: JsonObject | undefined,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  const plain = stringAt(mount, 'subPath');
  const expression = stringAt(mount, 'subPathExpr');
  if (volume?.['image'] !== undefined) {
    for (const field of ['subPath', 'subPathExpr']) {
      const value = stringAt(mount, field);
      if (value === '') continue;
      errors.push(invalid(child(at, field), value, 'not allowed in image volume sources'));
    }
  }
  if (plain !== '') errors.push(...descendingPath(child(list, 'subPath'), plain));
  if (expression === '') return errors;
  if (plain !== '') {
    const detail = 'subPathExpr and subPath are mutually exclusive';
    errors.push(invalid(child(at, 'subPathExpr'), expression, detail));
  }
  return [...errors, ...descendingPath(child(list, 'subPathExpr'), expression)];
}

function validatePropagation(container: JsonObject, mount: JsonObject, path: string): readonly FieldError[] {
  const modes = ['Bidirectional', 'HostToContainer', 'None'];
  const errors: FieldError[] = [...oneOf(mount, path, 'mountPropagation', modes)];
  const isPrivileged = boolAt(container, 'securityContext', 'privileged');
  if (stringAt(mount, 'mountPropagation') === 'Bidirectional' && !isPrivileged) {
    const detail = 'Bidirectional mount propagation is available only to privileged containers';
    errors.push(forbidden(child(path, 'mountPropagation'), detail));
  }
  return errors;
}

function validateRecursiveReadOnly(mount: JsonObject, path: string): readonly FieldError[] {
  const wanted = stringAt(mount, 'recursiveReadOnly');
  const at = child(path, 'recursiveReadOnly');
  if (wanted === '' || wanted === 'Disabled') return [];
  if (wanted !== 'Enabled' && wanted !== 'IfPossible')
    return [notSupported(at, wanted, ['Disabled', 'Enabled', 'IfPossible'])];
  const errors: FieldError[] = [];
  if (!boolAt(mount, 'readOnly')) errors.push(forbidden(at, 'may only be specified when readOnly is true'));
  const propagation = stringAt(mount, 'mountPropagation');
  if (propagation !== '' && propagation !== 'None') {
    const detail = 'may only be specified when mountPropagation is None or not specified';
    errors.push(forbidden(at, detail));
  }
  return errors;
}

/** Volumes as block devices. */
export function validateDevices(
  container: JsonObject,
  path: string,
  volumes: Volumes,
): readonly FieldError[] {
  const names = new Set<string>();
  const paths = new Set<string>();
  const mounts = objectsAt(container, 'volumeMounts');
  return objectsAt(container, 'volumeDevices').flatMap((device, position) => {
    const at = index(path, position);
    const atName = child(at, 'name');
    const atPath = child(at, 'devicePath');
    const name = stringAt(device, 'name');
    const devicePath = stringAt(device, 'devicePath');
    const volume = volumes.get(name);
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(atName));
    if (names.has(name)) errors.push(invalid(atName, name, 'must be unique'));
    names.add(name);
    if (volume === undefined) errors.push(notFound(atName, name));
    else if (objectAt(volume, 'persistentVolumeClaim') === undefined && volume['ephemeral'] === undefined) {
      const detail = 'can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode';
      errors.push(invalid(atName, name, detail));
    }
    if (devicePath === '') errors.push(required(atPath));
    if (paths.has(devicePath)) errors.push(invalid(atPath, devicePath, 'must be unique'));
    paths.add(devicePath);
    if (noBacksteps(atPath, devicePath).length > 0)
      errors.push(invalid(atPath, devicePath, "can not contain backsteps ('..')"));
    if (mounts.some((mount) => mount['name'] === name))
      errors.push(invalid(atName, name, 'must not already exist in volumeMounts'));
    if (mounts.some((mount) => mount['mountPath'] === devicePath))
      errors.push(invalid(atPath, devicePath, 'must not already exist as a path in volumeMounts'));
    return errors;
  });
}
