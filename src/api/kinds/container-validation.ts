import { child, duplicate, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import { objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { dnsLabelProblems, portNameProblems, portNumberProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { validateEnv, validateEnvFrom } from './container-env.ts';
import { validateDevices, validateMounts } from './container-mounts.ts';
import { validateLifecycle, validateProbes } from './container-probes.ts';
import { validateResources } from './container-resources.ts';
import { oneOf, problemsAt } from './field-rules.ts';
import { validateContainerSecurity } from './pod-security.ts';

export type ContainerContext = {
  /** The Pod's volumes without fault, by name. */
  readonly volumes: ReadonlyMap<string, JsonObject>;
  /** Names of the Pod's resourceClaims. */
  readonly claims: ReadonlySet<string>;
  readonly subject: 'pod' | 'template';
  readonly hostNetwork: boolean;
  readonly hostUsers: boolean;
  readonly graceSeconds: number | undefined;
  readonly restartPolicy: string;
  readonly role: 'main' | 'init' | 'ephemeral';
};

/** Rules of one list of containers; `names` collects the names of the whole Pod, which must differ. */
export function validateContainers(
  containers: readonly JsonObject[],
  path: string,
  context: ContainerContext,
  names: Set<string>,
): readonly FieldError[] {
  const hostPorts = new Set<string>();
  return containers.flatMap((container, position) => {
    const at = index(path, position);
    const name = stringAt(container, 'name');
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(child(at, 'name')));
    else errors.push(...problemsAt(child(at, 'name'), name, dnsLabelProblems));
    errors.push(...validateContainer(container, at, context));
    if (name !== '' && names.has(name)) errors.push(duplicate(child(at, 'name'), name));
    names.add(name);
    errors.push(...validateRole(container, at, context));
    // Init containers run one after the other, so they do not take each other's ports.
    const taken = context.role === 'main' ? hostPorts : new Set<string>();
    return [...errors, ...conflictingHostPorts(container, child(at, 'ports'), taken)];
  });
}

function validateContainer(
  container: JsonObject,
  path: string,
  context: ContainerContext,
): readonly FieldError[] {
  const security = objectAt(container, 'securityContext');
  return [
    ...validateImage(container, path, context),
    ...oneOf(container, path, 'terminationMessagePolicy', ['File', 'FallbackToLogsOnError']),
    ...validatePorts(objectsAt(container, 'ports'), child(path, 'ports'), context),
    ...validateEnv(objectsAt(container, 'env'), child(path, 'env')),
    ...validateEnvFrom(container, child(path, 'envFrom')),
    ...validateMounts(container, child(path, 'volumeMounts'), context.volumes),
    ...validateDevices(container, child(path, 'volumeDevices'), context.volumes),
    ...oneOf(container, path, 'imagePullPolicy', ['Always', 'IfNotPresent', 'Never']),
    ...validateResources(objectAt(container, 'resources'), child(path, 'resources'), context.claims),
    ...validateResizePolicy(container, child(path, 'resizePolicy'), context),
    ...validateContainerSecurity(security, child(path, 'securityContext'), context.hostUsers),
  ];
}

/** Templates may carry blanks around an image's name: somebody may fill it in before Pods are made. */
function validateImage(
  container: JsonObject,
  path: string,
  { subject }: ContainerContext,
): readonly FieldError[] {
  const image = stringAt(container, 'image');
  if (image === '') return [required(child(path, 'image'))];
  if (subject === 'template' || image.trim() === image) return [];
  return [invalid(child(path, 'image'), image, 'must not have leading or trailing whitespace')];
}

/** What only some of a Pod's containers may have. */
function validateRole(container: JsonObject, path: string, context: ContainerContext): readonly FieldError[] {
  const restarts = container['restartPolicy'];
  const at = child(path, 'restartPolicy');
  const longRunning = () => [
    ...validateLifecycle(container, path, context.graceSeconds),
    ...validateProbes(container, path),
  ];
  if (context.role === 'ephemeral') return []; // see validateEphemeralContainers
  if (context.role === 'main') {
    if (restarts === undefined) return longRunning();
    return [...longRunning(), forbidden(at, 'may not be set for non-init containers')];
  }
  if (restarts === 'Always') return longRunning();
  const errors = restarts === undefined ? [] : [notSupported(at, restarts, ['Always'])];
  for (const field of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe']) {
    if (container[field] === undefined) continue;
    const detail = 'may not be set for init containers without restartPolicy=Always';
    errors.push(forbidden(child(path, field), detail));
  }
  return errors;
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
      const problems = problemsAt(child(at, 'name'), name, portNameProblems);
      errors.push(...problems);
      if (problems.length === 0 && names.has(name)) errors.push(duplicate(child(at, 'name'), name));
      names.add(name);
    }
    const number = port['containerPort'];
    if (number === undefined || number === 0) errors.push(required(child(at, 'containerPort')));
    else
      errors.push(...portNumberProblems(number).map((p) => invalid(child(at, 'containerPort'), number, p)));
    const hostPort = port['hostPort'] ?? 0;
    if (hostPort !== 0)
      errors.push(...portNumberProblems(hostPort).map((p) => invalid(child(at, 'hostPort'), hostPort, p)));
    errors.push(...oneOf(port, at, 'protocol', protocols));
    // A Pod made of a template gets the port filled in.
    const isBound =
      context.hostNetwork && context.role === 'main' && (context.subject === 'pod' || hostPort !== 0);
    if (isBound && hostPort !== number) {
      const detail = 'must match `containerPort` when `hostNetwork` is true';
      errors.push(invalid(child(at, 'hostPort'), hostPort, detail));
    }
    return errors;
  });
}

function conflictingHostPorts(
  container: JsonObject,
  path: string,
  taken: Set<string>,
): readonly FieldError[] {
  return objectsAt(container, 'ports').flatMap((port, position) => {
    const hostPort = port['hostPort'];
    if (typeof hostPort !== 'number' || hostPort === 0) return [];
    const key = `${stringAt(port, 'protocol')}/${stringAt(port, 'hostIP')}/${hostPort}`;
    if (taken.has(key)) return [duplicate(child(index(path, position), 'hostPort'), key)];
    taken.add(key);
    return [];
  });
}

const resized = ['cpu', 'memory'] as const;
const resizePolicies = ['NotRequired', 'RestartContainer'] as const;

/** Kubernetes tells most of these at the list. */
function validateResizePolicy(
  container: JsonObject,
  path: string,
  { restartPolicy }: ContainerContext,
): readonly FieldError[] {
  const seen = new Set<string>();
  return objectsAt(container, 'resizePolicy').flatMap((policy, position) => {
    const errors: FieldError[] = [];
    const resource = stringAt(policy, 'resourceName');
    const restart = stringAt(policy, 'restartPolicy');
    if (seen.has(resource)) errors.push(duplicate(index(path, position), resource));
    seen.add(resource);
    for (const [value, supported] of [
      [resource, resized],
      [restart, resizePolicies],
    ] as const) {
      if (value === '') errors.push(required(path));
      else if (!(supported as readonly string[]).includes(value))
        errors.push(notSupported(path, value, supported));
    }
    if (restartPolicy === 'Never' && restart !== 'NotRequired')
      errors.push(invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'"));
    return errors;
  });
}
