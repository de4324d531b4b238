import type { Secret, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { isJsonObject, type JsonObject } from '../../api/object.ts';
import { canonicalIp } from '../../base/ip.ts';
import { UserError } from '../../base/user-error.ts';
import { ingressClassesToCreate } from './class.ts';
import type { ListedObjects } from './listed-view.ts';

/** A certificate of a routes file, still to be read from disk. */
export type StaticCertificate = {
  readonly hosts: readonly string[];
  readonly certFile: string;
  readonly keyFile: string;
};

export type StaticRoutes = {
  readonly objects: Omit<ListedObjects, 'secrets'>;
  readonly certificates: readonly StaticCertificate[];
};

const namespace = 'static';
const className = 'fairlead';

/**
 * Reads a routes file:
 *
 *     routes:
 *       - host: shop.example            # without: any host
 *         path: /cart                   # without: /
 *         pathType: Prefix              # Prefix (default) or Exact
 *         backends: [127.0.0.1:8080, "[::1]:8080", cart.internal:80]
 *         annotations: { rewrite-target: / }   # as under fairlead.dev/
 *     certificates:
 *       - { hosts: [shop.example], cert: shop.crt, key: shop.key }
 *
 * It becomes the objects that a cluster would have, so that all rules of Ingress hold; a DNS name as a backend stands
 * alone. Throws a UserError that names the field.
 */
export function parseStaticRoutes(document: unknown): StaticRoutes {
  const root = record(document, 'the file');
  allowOnly(root, ['routes', 'certificates'], '');
  const services: Service[] = [];
  const slices: EndpointSlice[] = [];
  const ingresses: Ingress[] = list(root, 'routes', '').map((item, index) => {
    const field = `routes[${index}]`;
    const route = record(item, field);
    allowOnly(route, ['host', 'path', 'pathType', 'backends', 'annotations'], `${field}.`);
    const name = `route-${String(index).padStart(5, '0')}`; // in the order of the file: the first one wins a conflict
    const backends = list(route, 'backends', `${field}.`).map((backend, at) =>
      parseBackend(backend, `${field}.backends[${at}]`),
    );
    const { service, slice } = servedBy(name, backends, `${field}.backends`);
    services.push(service);
    if (slice !== undefined) slices.push(...slice);
    return ingressOf(name, route, field, backends[0]?.port ?? 80);
  });
  const certificates = list(root, 'certificates', '').map((item, index) => {
    const field = `certificates[${index}]`;
    const entry = record(item, field);
    allowOnly(entry, ['hosts', 'cert', 'key'], `${field}.`);
    const hosts = list(entry, 'hosts', `${field}.`).map((host, at) => text(host, `${field}.hosts[${at}]`));
    if (hosts.length === 0) throw new UserError(`${field}.hosts: name at least one host`);
    return {
      hosts,
      certFile: text(entry['cert'], `${field}.cert`),
      keyFile: text(entry['key'], `${field}.key`),
    };
  });
  const objects = { ingressClasses: ingressClassesToCreate([className]), ingresses, services, slices };
  return { objects, certificates };
}

/** With the certificates' contents, in the order of `certificates`. `version` changes when the files do. */
export function withCertificates(
  routes: StaticRoutes,
  contents: readonly { readonly cert: Buffer; readonly key: Buffer }[],
  version: string,
): ListedObjects {
  const secrets: Secret[] = [];
  const holders: Ingress[] = routes.certificates.map(({ hosts }, index) => {
    const name = `certificate-${index}`;
    const content = contents[index];
    secrets.push({
      metadata: { name, namespace, resourceVersion: version },
      type: 'kubernetes.io/tls',
      data: {
        'tls.crt': content?.cert.toString('base64') ?? '',
        'tls.key': content?.key.toString('base64') ?? '',
      },
    });
    return {
      metadata: { name, namespace },
      spec: { ingressClassName: className, tls: [{ hosts, secretName: name }] },
    };
  });
  return { ...routes.objects, ingresses: [...routes.objects.ingresses, ...holders], secrets };
}

type StaticBackend = { readonly address: string; readonly ip: string | undefined; readonly port: number };

function parseBackend(value: unknown, field: string): StaticBackend {
  const written = text(value, field);
  const colon = written.lastIndexOf(':');
  const port = Number(written.slice(colon + 1));
  const address = written.slice(0, Math.max(colon, 0)).replace(/^\[(.*)\]$/, '$1');
  if (address === '' || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new UserError(`${field}: "${written}" is no ADDRESS:PORT, such as 127.0.0.1:8080`);
  }
  return { address, ip: canonicalIp(address), port };
}

function servedBy(
  name: string,
  backends: readonly StaticBackend[],
  field: string,
): { readonly service: Service; readonly slice: readonly EndpointSlice[] | undefined } {
  const [first] = backends;
  const metadata = { name, namespace };
  if (first === undefined) throw new UserError(`${field}: name at least one backend`);
  if (backends.some(({ ip }) => ip === undefined)) {
    if (backends.length > 1)
      throw new UserError(`${field}: a DNS name must be the only backend of its route`);
    return {
      service: { metadata, spec: { type: 'ExternalName', externalName: first.address } },
      slice: undefined,
    };
  }
  const slice = backends.map(({ ip, port }, index): EndpointSlice => {
    const labels = { 'kubernetes.io/service-name': name };
    return {
      metadata: { name: `${name}-${index}`, namespace, labels },
      addressType: ip?.includes(':') === true ? 'IPv6' : 'IPv4',
      endpoints: [{ addresses: [ip ?? ''] }],
      ports: [{ name: 'http', port }],
    };
  });
  return { service: { metadata, spec: { ports: [{ name: 'http', port: first.port }] } }, slice };
}

function ingressOf(name: string, route: JsonObject, field: string, port: number): Ingress {
  const host = route['host'] === undefined ? undefined : text(route['host'], `${field}.host`);
  const path = route['path'] === undefined ? '/' : text(route['path'], `${field}.path`);
  if (!path.startsWith('/')) throw new UserError(`${field}.path: "${path}" must begin with /`);
  const pathType = route['pathType'] ?? 'Prefix';
  if (pathType !== 'Prefix' && pathType !== 'Exact') {
    throw new UserError(`${field}.pathType: allowed are Prefix and Exact`);
  }
  const written =
    route['annotations'] === undefined ? {} : record(route['annotations'], `${field}.annotations`);
  const annotations = Object.fromEntries(
    Object.entries(written).map(([key, value]) => [
      key.includes('/') ? key : `fairlead.dev/${key}`,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  );
  const backend = { service: { name, port: { number: port } } };
  const rule = { ...(host === undefined ? {} : { host }), http: { paths: [{ path, pathType, backend }] } };
  return { metadata: { name, namespace, annotations }, spec: { ingressClassName: className, rules: [rule] } };
}

function record(value: unknown, field: string): JsonObject {
  if (!isJsonObject(value)) throw new UserError(`${field} must be a mapping`);
  return value;
}

function list(from: JsonObject, name: string, prefix: string): readonly unknown[] {
  const value = from[name] ?? [];
  if (!Array.isArray(value)) throw new UserError(`${prefix}${name} must be a list`);
  return value;
}

function text(value: unknown, field: string): string {
  if (typeof value !== 'string' || value === '') throw new UserError(`${field} must be text`);
  return value;
}

function allowOnly(value: JsonObject, names: readonly string[], prefix: string): void {
  for (const name of Object.keys(value)) {
    if (!names.includes(name)) {
      throw new UserError(`${prefix}${name}: there is no such field; allowed: ${names.join(', ')}`);
    }
  }
}
