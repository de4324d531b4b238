import { child, forbidden, invalid, required } from '../field-errors.ts';
import { listAt, numberAt, objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { portNumberProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { notNegative, oneOf, problemsAt, validatePortReference } from './field-rules.ts';

/** Rules of probes and lifecycle hooks. */

const probeHandlers = ['exec', 'httpGet', 'tcpSocket', 'grpc'] as const;
const hookHandlers = ['exec', 'httpGet', 'tcpSocket', 'sleep'] as const;

/** `graceSeconds`: the Pod's terminationGracePeriodSeconds, which a sleep must fit into. */
export function validateLifecycle(
  container: JsonObject,
  path: string,
  graceSeconds: number | undefined,
): readonly FieldError[] {
  return ['postStart', 'preStop'].flatMap((hook) => {
    const handler = objectAt(container, 'lifecycle', hook);
    if (handler === undefined) return [];
    return validateHandler(handler, child(path, `lifecycle.${hook}`), hookHandlers, graceSeconds);
  });
}

export function validateProbes(container: JsonObject, path: string): readonly FieldError[] {
  return ['livenessProbe', 'readinessProbe', 'startupProbe'].flatMap((name) => {
    const probe = objectAt(container, name);
    if (probe === undefined) return [];
    const at = child(path, name);
    const errors: FieldError[] = [...validateProbe(probe, at)];
    const grace = probe['terminationGracePeriodSeconds'];
    if (name === 'readinessProbe') {
      // It never ends a container.
      if (grace !== undefined) {
        const detail = 'must not be set for readinessProbes';
        errors.push(invalid(child(at, 'terminationGracePeriodSeconds'), grace, detail));
      }
    } else if (probe['successThreshold'] !== undefined && probe['successThreshold'] !== 1) {
      errors.push(invalid(child(at, 'successThreshold'), probe['successThreshold'], 'must be 1'));
    }
    return errors;
  });
}

function validateProbe(probe: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [...validateHandler(probe, path, probeHandlers, undefined)];
  for (const field of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ])
    errors.push(...notNegative(probe, path, field));
  const grace = numberAt(probe, 'terminationGracePeriodSeconds');
  if (grace !== undefined && grace <= 0)
    errors.push(invalid(child(path, 'terminationGracePeriodSeconds'), grace, 'must be greater than 0'));
  return errors;
}

function validateHandler(
  handler: JsonObject,
  path: string,
  supported: readonly string[],
  graceSeconds: number | undefined,
): readonly FieldError[] {
  const [kind, ...others] = supported.filter((key) => handler[key] !== undefined);
  if (kind === undefined) return [required(path, 'must specify a handler type')];
  const more = 'may not specify more than 1 handler type';
  const errors = others.map((key) => forbidden(child(path, key), more));
  const action = objectAt(handler, kind) ?? {};
  return [...validateAction(kind, action, child(path, kind), graceSeconds), ...errors];
}

function validateAction(
  kind: string,
  action: JsonObject,
  path: string,
  graceSeconds: number | undefined,
): readonly FieldError[] {
  switch (kind) {
    case 'exec':
      return listAt(action, 'command').length === 0 ? [required(child(path, 'command'))] : [];
    case 'httpGet':
      return validateHttpGet(action, path);
    case 'grpc':
      return portNumberProblems(action['port']).map((problem) =>
        invalid(child(path, 'port'), action['port'] ?? 0, problem),
      );
    case 'sleep': {
      const seconds = numberAt(action, 'seconds') ?? 0;
      if (graceSeconds === undefined || (seconds >= 0 && seconds <= graceSeconds)) return [];
      const detail = `must be non-negative and less than terminationGracePeriodSeconds (${graceSeconds})`;
      return [invalid(path, seconds, detail)];
    }
    default:
      return validatePortReference(action['port'], child(path, 'port'));
  }
}

function validateHttpGet(action: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  if (stringAt(action, 'path') === '') errors.push(required(child(path, 'path')));
  errors.push(...validatePortReference(action['port'], child(path, 'port')));
  errors.push(...oneOf(action, path, 'scheme', ['HTTP', 'HTTPS']));
  for (const header of objectsAt(action, 'httpHeaders'))
    errors.push(...problemsAt(child(path, 'httpHeaders'), stringAt(header, 'name'), headerNameProblems));
  return errors;
}

function headerNameProblems(name: string): readonly string[] {
  if (/^[-A-Za-z0-9]+$/.test(name)) return [];
  return [
    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
  ];
}
