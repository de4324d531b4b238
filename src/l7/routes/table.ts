import type { ObjectKey } from '../../api/object.ts';
import { assert } from '../../base/assert.ts';
import type { Regex } from '../../base/regex/regex.ts';
import type { BackendProtocol, BackendTls } from './backend-protocol.ts';
import type { BalancePolicy } from '../balance/balance-policy.ts';
import type { ClientCertificatePolicy } from '../policy/client-certificate.ts';
import type { RoutePolicy } from '../policy/policy.ts';
import type { StaticAnswer } from '../policy/static-answer.ts';

/** An address that a request can be sent to. `address` is an IP, or a DNS name for an ExternalName Service. */
export type Endpoint = {
  readonly address: string;
  readonly port: number;
  /** Its share compared with others, above 0. Without: 1. */
  readonly weight?: number;
};

/** A Service port and who serves it now. Each distinct one stands once in a table. */
export type Backend = {
  /** Of all but the endpoints: what is known of it goes on from table to table. '': a vacant place, where no route leads. */
  readonly id: string;
  /** "namespace/service:port", the port as the Ingress names it. */
  readonly key: string;
  /** Position in `RouteTable.backends`. */
  readonly index: number;
  /** Those that may get a new request. Empty: requests are answered 503. */
  readonly endpoints: readonly Endpoint[];
  /** undefined: they are spoken to in the clear. */
  readonly tls: BackendTls | undefined;
  readonly protocol: BackendProtocol;
  /** Connections to them begin with a PROXY header of that version, so each carries one client's requests only. */
  readonly proxyProtocol?: 1 | 2 | undefined;
  /** `defaultBalance` itself where nothing is asked for. */
  readonly balance: BalancePolicy;
  /** Given: what every request gets, without any endpoint. */
  readonly answer: StaticAnswer | undefined;
};

export type PathType = 'Exact' | 'Prefix' | 'ImplementationSpecific';

export type Route = {
  readonly ingress: ObjectKey;
  /** As in the rule; '' for any host. */
  readonly host: string;
  /** As in the rule. */
  readonly path: string;
  readonly pathType: PathType;
  /** Given: the path is a regular expression, which must match from the path's start. */
  readonly pattern: Regex | undefined;
  /** Index into `RouteTable.backends`: so routes stay as they are when only endpoints change. */
  readonly backend: number;
  /** What annotations ask for beyond routing; undefined for most routes, which then pay nothing for policies. */
  readonly policy: RoutePolicy | undefined;
};

/** The routes of one host. */
export type HostRoutes = {
  readonly exact: ReadonlyMap<string, Route>;
  /** Key: the path without a trailing slash, so '' is every path. */
  readonly prefix: ReadonlyMap<string, Route>;
  /** Those whose path is a regular expression: the longest first, the first one that matches counts. */
  readonly patterns: readonly Route[];
  /** Slashes in the longest key of `prefix`: bounds the walk over a request's path. */
  readonly prefixElementsMax: number;
  /** What clients of the host must show; all its routes have it in their policy. */
  readonly clientCertificate?: ClientCertificatePolicy | undefined;
  /** For paths that match nothing here; its path is ''. */
  readonly defaultRoute: Route | undefined;
};

/** A Secret's certificate. Kept as it came, and parsed at the first handshake that needs it: the PEM may still be bad. */
export type Certificate = {
  readonly secret: ObjectKey;
  /** Changes whenever the Secret does. */
  readonly version: string;
  /** Base64 of the PEM texts. */
  readonly certBase64: string;
  readonly keyBase64: string;
};

/** All that a worker needs to serve. Immutable: a request keeps the table that it started with. */
export type RouteTable = {
  readonly backends: readonly Backend[];
  readonly exactHosts: ReadonlyMap<string, HostRoutes>;
  /** Key: the host without "*." — `foo.com` for `*.foo.com`. */
  readonly wildcardHosts: ReadonlyMap<string, HostRoutes>;
  readonly anyHost: HostRoutes | undefined;
  /** For requests that match no host or path. */
  readonly defaultRoute: Route | undefined;
  /** Key: a host of spec.tls, `*.foo.com` included; '': for names that no other one is for, and for clients that give none. */
  readonly certificates: ReadonlyMap<string, Certificate>;
  /** Where TLS of a host goes as it comes. Keys as above; '': for names that nothing else is for, and for clients that give none. */
  readonly relayed: ReadonlyMap<string, Route>;
  /** Clients of some host are asked for certificates. */
  readonly asksClients: boolean;
};

export const emptyRouteTable: RouteTable = {
  backends: [],
  exactHosts: new Map(),
  wildcardHosts: new Map(),
  anyHost: undefined,
  defaultRoute: undefined,
  certificates: new Map(),
  relayed: new Map(),
  asksClients: false,
};

/** The table as text with one route a line, in a stable order: what /debug/routes prints and tests compare. */
export function renderRouteTable(table: RouteTable): string {
  const lines: string[] = [];
  const backend = (index: number): string => renderBackend(table.backends[index]);
  const shared = ({ policy, backend: own }: Route): string =>
    policy?.split?.map((one) => `${one.weight} * ${backend(one.backend)}`).join(' + ') ?? backend(own);
  const add = (host: string, routes: HostRoutes): void => {
    const all = [...routes.exact.values(), ...routes.prefix.values(), ...routes.patterns];
    for (const route of all) {
      const type = route.pattern === undefined ? route.pathType : 'Regex';
      lines.push(`${host} ${type} ${route.path} -> ${shared(route)} (${route.ingress})`);
    }
    if (routes.defaultRoute !== undefined) {
      lines.push(`${host} default -> ${shared(routes.defaultRoute)}`);
    }
  };
  for (const [host, routes] of table.exactHosts) add(host, routes);
  for (const [suffix, routes] of table.wildcardHosts) add(`*.${suffix}`, routes);
  if (table.anyHost !== undefined) add('*', table.anyHost);
  lines.sort();
  if (table.defaultRoute !== undefined) lines.push(`default -> ${shared(table.defaultRoute)}`);
  const certificates = [...table.certificates]
    .map(([host, { secret }]) => `tls ${host || 'default'} <- ${secret}`)
    .sort();
  const relayed = [...table.relayed]
    .map(([host, route]) => `tls ${host || 'default'} -> ${shared(route)} (${route.ingress})`)
    .sort();
  return [...lines, ...certificates, ...relayed].map((line) => `${line}\n`).join('');
}

function renderBackend(backend: Backend | undefined): string {
  assert(backend !== undefined, 'a route names a backend that its table does not have');
  const endpoints = backend.endpoints.map(
    ({ address, port, weight }) => endpointKey(address, port) + (weight === undefined ? '' : `*${weight}`),
  );
  return `${backend.key} [${endpoints.join(' ')}]`;
}

/** "10.42.0.7:80", "[fd00::7]:80". */
export function endpointKey(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
