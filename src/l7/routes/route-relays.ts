import type { Ingress } from '../../api/gen/networking-v1.ts';
import { keyOf } from '../../api/object.ts';
import type { PersistentMap } from '../../base/persistent-map.ts';
import type { BalancePolicy } from '../balance/balance-policy.ts';
import type { ProblemReason } from '../controller/problem.ts';
import type { CanaryRule } from '../policy/annotations/canary.ts';
import type { PassthroughRule } from '../policy/annotations/passthrough.ts';
import { annotationPrefix } from '../policy/annotations/reader.ts';
import { emptyPolicy, type RoutePolicy } from '../policy/policy.ts';
import { type BackendAccess, backendAccess } from './backend-protocol.ts';
import { renderPlace } from './backend-refs.ts';
import type { Fragment, FragmentRule } from './route-fragment.ts';
import type { MergeProblem } from './route-hosts.ts';
import type { Route } from './table.ts';

/** By host, '' for any: where one Ingress wants TLS to go as it comes. */
export type FragmentRelay = ReadonlyMap<string, Route>;

export type RelayedIngress = {
  readonly passthrough: PassthroughRule;
  readonly policy: RoutePolicy | undefined;
  readonly canary: CanaryRule | undefined;
  readonly rules: readonly FragmentRule[];
  readonly httpsPort: number | undefined;
};

/** What the rules of an Ingress with passthrough come to: TLS shows a host and no path, so only `/` can be meant. */
export function relayOf(
  ingress: Ingress,
  { passthrough, policy, canary, rules, httpsPort }: RelayedIngress,
  onProblem: (reason: ProblemReason, message: string) => void,
): FragmentRelay {
  const annotation = `metadata.annotations[${annotationPrefix}tls-passthrough]`;
  const key = keyOf(ingress);
  const relay = new Map<string, Route>();
  if (canary !== undefined) {
    onProblem('InvalidAnnotation', `${annotation}: "true": a canary takes requests, which are not seen here`);
    return relay;
  }
  if (ingress.spec?.defaultBackend !== undefined) {
    onProblem(
      'UnsupportedBackend',
      `spec.defaultBackend: no request is seen here; a rule without host takes TLS for any`,
    );
  }
  const closed = passthrough.closed ? { sources: { allow: [], deny: [] } } : {};
  const ofAll: RoutePolicy = { ...(policy ?? emptyPolicy(key)), httpsPort, ...closed };
  for (const { host, paths } of rules) {
    for (const { at, place, backend, split } of paths) {
      const { path, pathType } = at;
      if (path !== '/' || relay.has(host)) {
        const why =
          path === '/'
            ? `${host || 'any host'} has a rule already`
            : 'TLS shows no path, so only / can be meant';
        onProblem('InvalidPath', `${renderPlace(place)}: ${path}: ${why}`);
        continue;
      }
      relay.set(host, {
        ingress: key,
        host,
        path,
        pathType,
        pattern: undefined,
        backend,
        policy: { ...ofAll, split },
      });
    }
  }
  return relay;
}

/** Bytes as they are, whatever the Service says of itself. */
export function relayAccess(proxyProtocol: 1 | 2 | undefined, balance: BalancePolicy): BackendAccess {
  const rule = {
    protocol: 'HTTP',
    tlsSecret: undefined,
    serverName: undefined,
    verify: true,
    proxyProtocol,
  } as const;
  return backendAccess(rule, undefined, balance).access;
}

/** By host: those that may change what it gets, oldest first. */
export type FragmentIndex = PersistentMap<string, readonly Fragment[]>;

export type Reindexed = { readonly index: FragmentIndex; readonly touched: ReadonlySet<string> };

export type MergedRelays = {
  readonly relayed: PersistentMap<string, Route>;
  /** Hosts whose entry is another one than before. */
  readonly changed: ReadonlySet<string>;
  /** Of the hosts that were looked at; undefined: none any more. */
  readonly problems: ReadonlyMap<string, readonly MergeProblem[] | undefined>;
};

/**
 * Whether the TLS of a host is relayed or ends here: the oldest Ingress that has rules or a certificate for it says so.
 * The others are told.
 */
export function mergeRelays(
  before: PersistentMap<string, Route>,
  byHost: Reindexed,
  byCertificateHost: Reindexed,
): MergedRelays {
  const changes = new Map<string, Route | undefined>();
  const problems = new Map<string, readonly MergeProblem[] | undefined>();
  for (const host of byHost.touched.union(byCertificateHost.touched)) {
    const claims = new Set([...(byHost.index.get(host) ?? []), ...(byCertificateHost.index.get(host) ?? [])]);
    const { route, told } = decide(
      host,
      [...claims].filter(({ canary }) => canary === undefined).sort(byRank),
    );
    if (route !== before.get(host)) changes.set(host, route);
    problems.set(host, told.length === 0 ? undefined : told);
  }
  return { relayed: before.with([...changes]), changed: new Set(changes.keys()), problems };
}

/** @param claims oldest first */
function decide(
  host: string,
  claims: readonly Fragment[],
): { readonly route: Route | undefined; readonly told: readonly MergeProblem[] } {
  const serious = claims.filter(({ relay }) => relay === undefined || relay.has(host));
  const [winner, ...others] = serious;
  const route = winner?.relay?.get(host);
  const told: MergeProblem[] = [];
  for (const { ingress, relay } of others) {
    if (relay === undefined && route === undefined) continue;
    const name = host === '' ? 'any host' : host;
    const fate = route === undefined ? 'already ends here for' : 'already passes through to the backends of';
    const rest = relay === undefined ? '; what is said here holds for plain HTTP only' : '';
    told.push({
      ingress,
      reason: 'HostConflict',
      message: `TLS for ${name} ${fate} Ingress ${winner?.key}${rest}`,
    });
  }
  return { route, told };
}

export function byRank(a: Fragment, b: Fragment): number {
  return a.rank < b.rank ? -1 : 1;
}
