import {
  child,
  duplicate,
  forbidden,
  index,
  invalid,
  notFound,
  notSupported,
  required,
} from '../field-errors.ts';
import { objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import {
  dnsLabelProblems,
  envVarNameProblems,
  labelKeyProblems,
  portNameProblems,
  portNumberProblems,
} from '../names.ts';
import type { Json, JsonObject } from '../object.ts';
import { compareQuantities, parseQuantity } from '../quantity.ts';

export type ContainerContext = {
  readonly volumes: ReadonlySet<string>;
  readonly hostNetwork: boolean;
  readonly role: 'main' | 'init' | 'ephemeral';
};

/** Rules of one list of containers; `names` collects the names of the whole Pod, which must differ. */
export function validateContainers(
  containers: readonly JsonObject[],
  path: string,
  context: ContainerContext,
  names: Set<string>,
): readonly FieldError[] {
  return containers.flatMap((container, position) => {
    const at = index(path, position);
    const name = stringAt(container, 'name');
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(child(at, 'name')));
    else {
      errors.push(...dnsLabelProblems(name).map((problem) => invalid(child(at, 'name'), name, problem)));
      if (names.has(name)) errors.push(duplicate(child(at, 'name'), name));
      names.add(name);
    }
    errors.push(...validateContainer(container, at, context));
    return errors;
  });
}

function validateContainer(
  container: JsonObject,
  path: string,
  context: ContainerContext,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  const image = stringAt(container, 'image');
  if (image === '') errors.push(required(child(path, 'image')));
  else if (image.trim() !== image) {
    errors.push(invalid(child(path, 'image'), image, 'must not have leading or trailing whitespace'));
  }
  errors.push(...oneOf(container, path, 'imagePullPolicy', ['Always', 'IfNotPresent', 'Never']));
  errors.push(...oneOf(container, path, 'terminationMessagePolicy', ['File', 'FallbackToLogsOnError']));
  errors.push(...validatePorts(objectsAt(container, 'ports'), child(path, 'ports'), context));
  errors.push(...validateEnv(objectsAt(container, 'env'), child(path, 'env')));
  errors.push(...validateMounts(container, child(path, 'volumeMounts'), context));
  errors.push(...validateResources(objectAt(container, 'resources'), child(path, 'resources')));
  errors.push(...validateProbes(container, path, context));
  for (const hook of ['postStart', 'preStop']) {
    const handler = objectAt(container, 'lifecycle', hook);
    if (handler === undefined) continue;
    errors.push(
      ...validateHandler(handler, child(path, `lifecycle.${hook}`), [
        'exec',
        'httpGet',
        'tcpSocket',
        'sleep',
      ]),
    );
  }
  return errors;
}

/** A text that must be one of few; an absent one was filled by defaults, or is the caller's matter. */
export function oneOf(
  object: JsonObject,
  path: string,
  field: string,
  supported: readonly string[],
): readonly FieldError[] {
  const value = stringAt(object, field);
  if (value === '' || supported.includes(value)) return [];
  return [notSupported(child(path, field), value, supported)];
}

const protocols = ['TCP', 'UDP', 'SCTP'] as const;

function validatePorts(
  ports: readonly JsonObject[],
  path: string,
  context: ContainerContext,
): readonly FieldError[] {
  const names = new Set<string>();
  return ports.flatMap((port, position) => {
    const at = index(path, position);
    const errors: FieldError[] = [];
    const name = stringAt(port, 'name');
    if (name !== '') {
      errors.push(...portNameProblems(name).map((problem) => invalid(child(at, 'name'), name, problem)));
      if (names.has(name)) errors.push(duplicate(child(at, 'name'), name));
      names.add(name);
    }
    const number = port['containerPort'];
    if (number === undefined || number === 0) errors.push(required(child(at, 'containerPort')));
    else
      errors.push(...portNumberProblems(number).map((p) => invalid(child(at, 'containerPort'), number, p)));
    const hostPort = port['hostPort'];
    if (hostPort !== undefined && hostPort !== 0) {
      errors.push(...portNumberProblems(hostPort).map((p) => invalid(child(at, 'hostPort'), hostPort, p)));
      if (context.hostNetwork && hostPort !== number) {
        errors.push(
          invalid(child(at, 'hostPort'), hostPort, 'must match `containerPort` when `hostNetwork` is true'),
        );
      }
    }
    errors.push(...oneOf(port, at, 'protocol', protocols));
    return errors;
  });
}

const envSources = ['fieldRef', 'resourceFieldRef', 'configMapKeyRef', 'secretKeyRef', 'fileKeyRef'] as const;

function validateEnv(env: readonly JsonObject[], path: string): readonly FieldError[] {
  return env.flatMap((variable, position) => {
    const at = index(path, position);
    const name = stringAt(variable, 'name');
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(child(at, 'name')));
    else errors.push(...envVarNameProblems(name).map((problem) => invalid(child(at, 'name'), name, problem)));
    const source = objectAt(variable, 'valueFrom');
    if (source === undefined) return errors;
    const from = child(at, 'valueFrom');
    const chosen = envSources.filter((key) => source[key] !== undefined);
    if (chosen.length === 0) {
      errors.push(
        invalid(
          from,
          '',
          'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`',
        ),
      );
    } else if (chosen.length > 1) {
      errors.push(invalid(from, '', 'may not have more than one field specified at a time'));
    }
    if (stringAt(variable, 'value') !== '') {
      errors.push(invalid(from, '', 'may not be specified when `value` is not empty'));
    }
    for (const ref of ['configMapKeyRef', 'secretKeyRef'] as const) {
      const found = objectAt(source, ref);
      if (found !== undefined && stringAt(found, 'key') === '')
        errors.push(required(child(from, `${ref}.key`)));
    }
    return errors;
  });
}

function validateMounts(
  container: JsonObject,
  path: string,
  context: ContainerContext,
): readonly FieldError[] {
  const paths = new Set<string>();
  return objectsAt(container, 'volumeMounts').flatMap((mount, position) => {
    const at = index(path, position);
    const errors: FieldError[] = [];
    const name = stringAt(mount, 'name');
    const mountPath = stringAt(mount, 'mountPath');
    if (name === '') errors.push(required(child(at, 'name')));
    else if (!context.volumes.has(name)) errors.push(notFound(child(at, 'name'), name));
    if (mountPath === '') errors.push(required(child(at, 'mountPath')));
    else if (paths.has(mountPath)) errors.push(invalid(child(at, 'mountPath'), mountPath, 'must be unique'));
    paths.add(mountPath);
    for (const field of ['subPath', 'subPathExpr']) {
      const subPath = stringAt(mount, field);
      if (subPath.startsWith('/')) {
        errors.push(invalid(child(at, field), subPath, 'must be a relative path'));
      } else if (subPath.split('/').includes('..')) {
        errors.push(invalid(child(at, field), subPath, "must not contain '..'"));
      }
    }
    const expression = stringAt(mount, 'subPathExpr');
    if (expression !== '' && stringAt(mount, 'subPath') !== '') {
      const detail = 'subPathExpr and subPath are mutually exclusive';
      errors.push(invalid(child(at, 'subPathExpr'), expression, detail));
    }
    errors.push(...oneOf(mount, at, 'mountPropagation', ['Bidirectional', 'HostToContainer', 'None']));
    const isPrivileged = objectAt(container, 'securityContext')?.['privileged'] === true;
    if (stringAt(mount, 'mountPropagation') === 'Bidirectional' && !isPrivileged) {
      const detail = 'Bidirectional mount propagation is available only to privileged containers';
      errors.push(forbidden(child(at, 'mountPropagation'), detail));
    }
    return errors;
  });
}

function validateResources(resources: JsonObject | undefined, path: string): readonly FieldError[] {
  if (resources === undefined) return [];
  const errors: FieldError[] = [];
  const limits = objectAt(resources, 'limits') ?? {};
  const requests = objectAt(resources, 'requests') ?? {};
  for (const [list, amounts] of [
    ['limits', limits],
    ['requests', requests],
  ] as const) {
    for (const [name, text] of Object.entries(amounts)) {
      const at = `${child(path, list)}[${name}]`;
      errors.push(...labelKeyProblems(name).map((problem) => invalid(at, name, problem)));
      const amount = quantityOf(text);
      if (amount !== undefined && amount.nanos < 0n) {
        errors.push(invalid(at, text, 'must be greater than or equal to 0'));
      }
    }
  }
  for (const [name, text] of Object.entries(requests)) {
    const request = quantityOf(text);
    const limit = quantityOf(limits[name]);
    if (request === undefined || limit === undefined || compareQuantities(request, limit) <= 0) continue;
    errors.push(
      invalid(
        child(path, 'requests'),
        text,
        `must be less than or equal to ${name} limit of ${stringAt(limits, name)}`,
      ),
    );
  }
  return errors;
}

function quantityOf(value: Json | undefined): ReturnType<typeof parseQuantity> {
  return typeof value === 'string' ? parseQuantity(value) : undefined;
}

const probeHandlers = ['exec', 'httpGet', 'tcpSocket', 'grpc'] as const;

function validateProbes(
  container: JsonObject,
  path: string,
  context: ContainerContext,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  const isSidecar = context.role === 'init' && stringAt(container, 'restartPolicy') === 'Always';
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = objectAt(container, name);
    if (probe === undefined) continue;
    const at = child(path, name);
    if (context.role === 'ephemeral') {
      errors.push(forbidden(at, 'cannot be set for an Ephemeral Container'));
      continue;
    }
    if (context.role === 'init' && !isSidecar) {
      errors.push(forbidden(at, 'may not be set for init containers without restartPolicy=Always'));
      continue;
    }
    errors.push(...validateProbe(probe, at));
    if (
      name !== 'readinessProbe' &&
      probe['successThreshold'] !== undefined &&
      probe['successThreshold'] !== 1
    ) {
      errors.push(invalid(child(at, 'successThreshold'), probe['successThreshold'], 'must be 1'));
    }
  }
  return errors;
}

function validateProbe(probe: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [...validateHandler(probe, path, probeHandlers)];
  for (const field of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ]) {
    const value = probe[field];
    if (typeof value === 'number' && value < 0) {
      errors.push(invalid(child(path, field), value, 'must be greater than or equal to 0'));
    }
  }
  return errors;
}

function validateHandler(
  handler: JsonObject,
  path: string,
  supported: readonly string[],
): readonly FieldError[] {
  const chosen = supported.filter((key) => handler[key] !== undefined);
  if (chosen.length === 0) return [required(path, 'must specify a handler type')];
  const errors: FieldError[] = chosen
    .slice(1)
    .map((key) => forbidden(child(path, key), 'may not specify more than 1 handler type'));
  const [key = ''] = chosen;
  const at = child(path, key);
  const action = objectAt(handler, key) ?? {};
  if (key === 'exec' && objectAtLength(action, 'command') === 0) errors.push(required(child(at, 'command')));
  if (key === 'httpGet') {
    errors.push(...oneOf(action, at, 'scheme', ['HTTP', 'HTTPS']));
    if (stringAt(action, 'path') === '') errors.push(required(child(at, 'path')));
  }
  if (key !== 'exec' && key !== 'sleep')
    errors.push(...validatePortReference(action['port'], child(at, 'port')));
  return errors;
}

function objectAtLength(object: JsonObject, field: string): number {
  const list = object[field];
  return Array.isArray(list) ? list.length : 0;
}

/** A port number, or the name of a container port. */
export function validatePortReference(port: Json | undefined, path: string): readonly FieldError[] {
  if (typeof port === 'string') return portNameProblems(port).map((problem) => invalid(path, port, problem));
  return portNumberProblems(port).map((problem) => invalid(path, port ?? 0, problem));
}
