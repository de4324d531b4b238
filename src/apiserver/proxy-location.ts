import { objectsAt, numberAt, stringAt, stringsAt, objectAt } from '../api/fields.ts';
import type { JsonObject } from '../api/object.ts';
import { badRequest, serviceUnavailable } from '../api/status.ts';
import { formatIp, parseIp } from '../base/ip.ts';

/** Where a request to pods/proxy, services/proxy or nodes/proxy goes. Pure: names and objects to an address. */

export type Scheme = 'http' | 'https';

/** What stands for NAME in `…/NAME/proxy`: `web`, `web:http`, `https:web:443`. */
export type ProxyName = {
  readonly scheme: Scheme;
  readonly name: string;
  /** A number, for Services also the name of a port; '' where none is given. */
  readonly port: string;
};

export type Backend = {
  readonly scheme: Scheme;
  /** An IP address. */
  readonly host: string;
  /** The scheme's own port where nothing names one. */
  readonly port: number;
};

/** Takes `scheme:name:port` apart, of which only the name must be there. Undefined: no such form. */
export function parseProxyName(text: string): ProxyName | undefined {
  const parts = text.split(':');
  const [first = '', second = '', third = ''] = parts;
  const parsed: ProxyName | undefined =
    parts.length === 1
      ? { scheme: 'http', name: first, port: '' }
      : parts.length === 2
        ? { scheme: 'http', name: first, port: second }
        : parts.length === 3 && (first === 'http' || first === 'https' || first === '')
          ? { scheme: first === 'https' ? 'https' : 'http', name: second, port: third }
          : undefined;
  return parsed === undefined || parsed.name === '' ? undefined : parsed;
}

/** The Pod's first port is the default. Throws StatusError: 400 for what cannot be dialled, 503 without an address. */
export function podBackend({ scheme, name, port }: ProxyName, pod: JsonObject): Backend {
  const host = stringAt(pod, 'status', 'podIP');
  if (host === '') throw serviceUnavailable(`pod ${JSON.stringify(name)} has no address yet`);
  requireProxyable(host);
  const first = objectsAt(pod, 'spec', 'containers').flatMap((container) => objectsAt(container, 'ports'))[0];
  const chosen = port === '' ? numberAt(first, 'containerPort') : portNumber(port);
  return { scheme, host, port: chosen ?? defaultPort(scheme) };
}

/**
 * One ready endpoint of the Service, taken by chance as Kubernetes does: `random` is uniform in 0 … below - 1. A port is
 * named by its name or its number; the Service's unnamed port needs neither. Throws StatusError 503 or 400.
 */
export function serviceBackend(
  { scheme, name, port }: ProxyName,
  service: JsonObject,
  slices: Iterable<JsonObject>,
  random: (below: number) => number,
): Backend {
  const portName = servicePortName(name, port, service);
  const found: Backend[] = [];
  for (const slice of slices) {
    const wanted = objectsAt(slice, 'ports').find((candidate) => stringAt(candidate, 'name') === portName);
    const number = numberAt(wanted, 'port');
    if (number === undefined) continue;
    for (const endpoint of objectsAt(slice, 'endpoints')) {
      const [host] = stringsAt(endpoint, 'addresses');
      const isReady = objectAt(endpoint, 'conditions')?.['ready'] !== false;
      if (isReady && host !== undefined) found.push({ scheme, host, port: number });
    }
  }
  const chosen = found[found.length === 0 ? 0 : random(found.length)];
  if (chosen === undefined) {
    throw serviceUnavailable(`no endpoints available for service ${JSON.stringify(name)}`);
  }
  requireProxyable(chosen.host);
  return chosen;
}

function servicePortName(name: string, port: string, service: JsonObject): string {
  if (!/^\d+$/.test(port)) return port;
  const found = objectsAt(service, 'spec', 'ports').find((one) => numberAt(one, 'port') === Number(port));
  if (found === undefined) {
    throw serviceUnavailable(`no service port ${port} found for service ${JSON.stringify(name)}`);
  }
  return stringAt(found, 'name');
}

/** A port of a node other than its kubelet's. Throws StatusError 400. */
export function nodeBackend({ scheme, port }: ProxyName, host: string): Backend {
  requireProxyable(host);
  return { scheme, host, port: portNumber(port) };
}

function portNumber(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw badRequest(`invalid port ${JSON.stringify(text)}: must be between 1 and 65535, inclusive`);
}

function defaultPort(scheme: Scheme): number {
  return scheme === 'https' ? 443 : 80;
}

/** Whoever may write a Pod's status must not reach what listens on the API server's own loopback. */
function requireProxyable(host: string): void {
  const ip = parseIp(host);
  const text = ip === undefined ? '' : formatIp(ip);
  const isOwn = /^(127\.|169\.254\.|0\.0\.0\.0$|22[4-9]\.|23\d\.|::1?$|fe[89ab]|ff|::ffff:)/.test(text);
  if (text === '' || isOwn) throw badRequest('address not allowed');
}
