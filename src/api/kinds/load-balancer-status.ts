import { child, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import { jsonEqual, objectAt, objectsAt, setDefault, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import {
  dnsSubdomainProblems,
  ipProblems,
  isIPv4,
  isIPv6,
  labelKeyProblems,
  portNumberProblems,
} from '../names.ts';
import type { JsonObject } from '../object.ts';
import { oneOf } from './field-rules.ts';

const path = 'status.loadBalancer.ingress';
const ipModes = ['Proxy', 'VIP'] as const;

/** An address without a mode is one that the nodes answer for themselves. */
export function defaultIpModes(service: JsonObject): void {
  if (stringAt(service, 'spec', 'type') !== 'LoadBalancer') return;
  for (const point of objectsAt(service, 'status', 'loadBalancer', 'ingress')) {
    if (stringAt(point, 'ip') !== '') setDefault(point, 'ipMode', 'VIP');
  }
}

/**
 * Rules of status.loadBalancer of Services and Ingresses, for a write that changes it. One that came in before
 * these rules does not stand in the way of other changes.
 */
export function validateLoadBalancerStatus(
  object: JsonObject,
  old: JsonObject,
  kind: 'Service' | 'Ingress',
): readonly FieldError[] {
  const status = objectAt(object, 'status', 'loadBalancer');
  if (status === undefined || jsonEqual(status, objectAt(old, 'status', 'loadBalancer'))) return [];
  const points = objectsAt(status, 'ingress');
  const errors: FieldError[] = [];
  if (kind === 'Service' && points.length > 0 && stringAt(object, 'spec', 'type') !== 'LoadBalancer') {
    errors.push(forbidden(path, 'may only be used when `spec.type` is "LoadBalancer"'));
  }
  points.forEach((point, position) => {
    const at = index(path, position);
    errors.push(...validateHost(point, at));
    if (kind === 'Service') errors.push(...validateMode(point, at));
    objectsAt(point, 'ports').forEach((port, portPosition) => {
      errors.push(...validatePort(port, index(child(at, 'ports'), portPosition)));
    });
  });
  return errors;
}

function validateHost(point: JsonObject, at: string): readonly FieldError[] {
  const ip = stringAt(point, 'ip');
  const hostname = stringAt(point, 'hostname');
  const errors = ip === '' ? [] : ipProblems(ip).map((problem) => invalid(child(at, 'ip'), ip, problem));
  if (hostname === '') return errors;
  const problems = [
    ...dnsSubdomainProblems(hostname),
    ...(isIPv4(hostname) || isIPv6(hostname) ? ['must be a DNS name, not an IP address'] : []),
  ];
  return [...errors, ...problems.map((problem) => invalid(child(at, 'hostname'), hostname, problem))];
}

function validateMode(point: JsonObject, at: string): readonly FieldError[] {
  const mode = point['ipMode'];
  const ip = stringAt(point, 'ip');
  if (mode === undefined)
    return ip === '' ? [] : [required(child(at, 'ipMode'), 'must be specified when `ip` is set')];
  if (ip === '') return [forbidden(child(at, 'ipMode'), 'may not be specified when `ip` is not set')];
  const known = typeof mode === 'string' && (ipModes as readonly string[]).includes(mode);
  return known ? [] : [notSupported(child(at, 'ipMode'), mode, ipModes)];
}

/** One word, or one that names its maker: `example.com/NoPermission`. Shorter than 317 characters. */
const portErrorMax = 316;

function validatePort(port: JsonObject, at: string): readonly FieldError[] {
  const number = port['port'] ?? 0;
  const error = stringAt(port, 'error');
  const problems = error === '' ? [] : labelKeyProblems(error);
  return [
    ...portNumberProblems(number).map((problem) => invalid(child(at, 'port'), number, problem)),
    ...oneOf(port, at, 'protocol', ['TCP', 'UDP', 'SCTP']),
    ...(error.length > portErrorMax
      ? [invalid(child(at, 'error'), error, `must be no more than ${portErrorMax} characters`)]
      : problems.map((problem) => invalid(child(at, 'error'), error, problem))),
  ];
}
