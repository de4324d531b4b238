import { child, forbidden, index, invalid, notFound } from '../field-errors.ts';
import { jsonEqual, objectAt, objectsAt, stringAt, stringMapAt } from '../fields.ts';
import type { FieldError, Part } from '../kind.ts';
import { isJsonObject, type JsonObject } from '../object.ts';
import { qosClassOf } from './pod-defaults.ts';

/** Parts of a Pod that change through subresources of their own while it runs: ephemeral containers, CPU and memory. */

const mirrorAnnotation = 'kubernetes.io/config.mirror';

function isStatic(pod: JsonObject): boolean {
  return stringMapAt(pod, 'metadata', 'annotations')[mirrorAnnotation] !== undefined;
}

function withSpec(pod: JsonObject, change: JsonObject): JsonObject {
  return { ...pod, spec: { ...objectAt(pod, 'spec'), ...change } };
}

/** Container fields that make no sense in a container that comes to look at others and never restarts. */
const notEphemeral = [
  'livenessProbe',
  'readinessProbe',
  'startupProbe',
  'lifecycle',
  'ports',
  'resizePolicy',
  'restartPolicy',
  'restartPolicyRules',
] as const;

/** Rules of ephemeral containers beyond those of any container. */
export function validateEphemeralContainers(spec: JsonObject, path: string): readonly FieldError[] {
  const targets = new Set(
    ['containers', 'initContainers'].flatMap((list) =>
      objectsAt(spec, list).map((container) => stringAt(container, 'name')),
    ),
  );
  return objectsAt(spec, 'ephemeralContainers').flatMap((container, position) => {
    const at = index(path, position);
    const errors: FieldError[] = notEphemeral
      .filter((field) => isSet(container, field))
      .map((field) => forbidden(child(at, field), 'cannot be set for an Ephemeral Container'));
    if (Object.keys(objectAt(container, 'resources') ?? {}).length > 0) {
      errors.push(forbidden(child(at, 'resources'), 'cannot be set for an Ephemeral Container'));
    }
    objectsAt(container, 'volumeMounts').forEach((mount, mountPosition) => {
      const mountAt = index(child(at, 'volumeMounts'), mountPosition);
      for (const field of ['subPath', 'subPathExpr']) {
        if (stringAt(mount, field) === '') continue;
        errors.push(forbidden(child(mountAt, field), 'cannot be set for an Ephemeral Container'));
      }
    });
    const target = stringAt(container, 'targetContainerName');
    if (target !== '' && !targets.has(target))
      errors.push(notFound(child(at, 'targetContainerName'), target));
    return errors;
  });
}

function isSet(container: JsonObject, field: string): boolean {
  const value = container[field];
  return value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0);
}

/** pods/ephemeralcontainers: containers are added to a running Pod, never changed and never taken away. */
export const ephemeralContainersPart: Part = {
  of: 'spec',
  take(wanted, old) {
    const containers = objectAt(wanted, 'spec')?.['ephemeralContainers'];
    return withSpec(old, { ephemeralContainers: containers ?? [] });
  },
  validate(pod, old) {
    const path = 'spec.ephemeralContainers';
    if (isStatic(old)) return [forbidden('', 'static pods do not support ephemeral containers')];
    const now = objectsAt(pod, 'spec', 'ephemeralContainers');
    return objectsAt(old, 'spec', 'ephemeralContainers').flatMap((before) => {
      const name = stringAt(before, 'name');
      const position = now.findIndex((container) => stringAt(container, 'name') === name);
      const after = now[position];
      const quoted = JSON.stringify(name);
      if (after === undefined) {
        return [forbidden(path, `existing ephemeral containers ${quoted} may not be removed\n`)];
      }
      if (jsonEqual(after, before)) return [];
      return [forbidden(path, `existing ephemeral containers ${quoted} may not be changed\n`)];
    });
  },
};

const resizable = ['containers', 'initContainers'] as const;

/** pods/resize: CPU and memory of containers that run for as long as the Pod does. */
export const resizePart: Part = {
  of: 'spec',
  take(wanted, old) {
    const spec: JsonObject = {};
    for (const list of resizable) {
      const now = objectsAt(wanted, 'spec', list);
      const before = objectsAt(old, 'spec', list);
      if (before.length === 0 && now.length === 0) continue;
      // Another number of containers is kept, for validation to tell of it.
      spec[list] =
        now.length === before.length
          ? before.map((container, position) => withResources(container, now[position]))
          : [...now];
    }
    return withSpec(old, spec);
  },
  validate(pod, old) {
    const spec = objectAt(pod, 'spec') ?? {};
    const oldSpec = objectAt(old, 'spec') ?? {};
    if (isStatic(old)) return [forbidden('', 'static pods cannot be resized')];
    const counts = resizable.filter(
      (list) => objectsAt(spec, list).length !== objectsAt(oldSpec, list).length,
    );
    if (counts.length > 0) {
      return counts.map((list) =>
        forbidden(child('spec', list), `${list} may not be added or removed on resize`),
      );
    }
    const errors = resizable.flatMap((list) =>
      objectsAt(spec, list).flatMap((container, position) =>
        validateResize(
          container,
          objectsAt(oldSpec, list)[position] ?? {},
          index(child('spec', list), position),
          list === 'initContainers',
        ),
      ),
    );
    const qosClass = qosClassOf(spec);
    if (qosClass !== qosClassOf(oldSpec)) {
      errors.push(invalid('spec', qosClass, 'Pod QOS Class may not change as a result of resizing'));
    }
    return errors;
  },
};

function withResources(container: JsonObject, wanted: JsonObject | undefined): JsonObject {
  const result = { ...container };
  for (const field of ['resources', 'resizePolicy']) {
    const value = wanted?.[field];
    if (value === undefined) delete result[field];
    else result[field] = value;
  }
  return result;
}

function validateResize(
  container: JsonObject,
  old: JsonObject,
  path: string,
  isInit: boolean,
): readonly FieldError[] {
  const now = objectAt(container, 'resources') ?? {};
  const before = objectAt(old, 'resources') ?? {};
  if (jsonEqual(now, before)) return [];
  const at = child(path, 'resources');
  if (isInit && stringAt(container, 'restartPolicy') !== 'Always') {
    return [forbidden(at, 'only sidecar containers can be resized among init containers')];
  }
  const errors: FieldError[] = [];
  for (const field of ['limits', 'requests'] as const) {
    const amounts = stringMapAt(now, field);
    const oldAmounts = stringMapAt(before, field);
    const isRemoved = ['cpu', 'memory'].some(
      (name) => oldAmounts[name] !== undefined && amounts[name] === undefined,
    );
    if (isRemoved) errors.push(forbidden(child(at, field), `resource ${field} cannot be removed`));
  }
  if (!jsonEqual(withoutMeasured(now), withoutMeasured(before))) {
    errors.push(forbidden('spec', 'only cpu and memory resources are mutable'));
  }
  return errors;
}

function withoutMeasured(resources: JsonObject): JsonObject {
  const result: JsonObject = { ...resources };
  for (const field of ['limits', 'requests']) {
    const amounts = resources[field];
    if (!isJsonObject(amounts)) continue;
    const { cpu: _cpu, memory: _memory, ...others } = amounts;
    if (Object.keys(others).length === 0) delete result[field];
    else result[field] = others;
  }
  return result;
}
