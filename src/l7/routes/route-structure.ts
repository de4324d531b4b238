import type { Ingress } from '../../api/gen/networking-v1.ts';
import { PersistentMap } from '../../base/persistent-map.ts';
import { type BackendTable, BackendRefs } from './backend-refs.ts';
import { controllerName } from '../controller/class.ts';
import type { Problem } from '../controller/problem.ts';
import type { NginxReader } from './nginx-reader.ts';
import {
  type Fragment,
  type FragmentContext,
  fragmentOf,
  type NamedObjects,
  rankOf,
  stillHolds,
} from './route-fragment.ts';
import { type CertificateUse, winnerOf } from './route-certificate.ts';
import { type MergeProblem, mergeHosts } from './route-hosts.ts';
import {
  byRank,
  type FragmentIndex,
  type MergedRelays,
  mergeRelays,
  type Reindexed,
} from './route-relays.ts';
import type { Certificate, HostRoutes, Route, RouteTable } from './table.ts';

/**
 * All of a route table that Ingresses and Secrets alone decide, with what the next one takes over of it: the part of each
 * Ingress, and who has to say something about each host.
 */
export type RouteStructure = Omit<RouteTable, 'backends'> &
  BackendTable & {
    readonly exactHosts: PersistentMap<string, HostRoutes>;
    readonly wildcardHosts: PersistentMap<string, HostRoutes>;
    readonly certificates: PersistentMap<string, Certificate>;
    readonly problems: readonly Problem[];
    /** Of all Ingresses, oldest first; the same list while it holds the same. */
    readonly certificateUses: readonly CertificateUse[];
    /** One for each Ingress, oldest first. */
    readonly fragments: readonly Fragment[];
    /** By host: those that may change it, oldest first. */
    readonly byHost: FragmentIndex;
    /** By host in a certificate. */
    readonly byCertificateHost: FragmentIndex;
    readonly hostProblems: PersistentMap<string, readonly MergeProblem[]>;
    readonly certificateProblems: PersistentMap<string, readonly MergeProblem[]>;
    readonly relayed: PersistentMap<string, Route>;
    readonly relayProblems: PersistentMap<string, readonly MergeProblem[]>;
  };

/** The same for the life of a process. */
export type StructureOptions = {
  /** Annotations of ingress-nginx are honoured as it does; undefined: they are not read. */
  readonly nginx: NginxReader | undefined;
  readonly controllerName: string;
};

/** What an Ingress has of its class. */
export type DefaultsOf = (ingress: Ingress) => Readonly<Record<string, string>> | undefined;

/** For Ingresses that are looked at alone. */
export const noObjects: NamedObjects = { secret: () => undefined, configMap: () => undefined };

export const plainOptions: StructureOptions = { nginx: undefined, controllerName };

/**
 * Merges the rules of Ingresses, which must be given oldest first. Only the hosts of those that have changed since
 * `before` are merged again; the result is the same as without it, but for the numbers of backends.
 * @param before of the same options
 */
export function structureRoutes(
  ingresses: readonly Ingress[],
  objects: NamedObjects,
  before: RouteStructure | undefined,
  options: StructureOptions = plainOptions,
  defaultsOf: DefaultsOf = () => undefined,
): RouteStructure {
  const from = before ?? noStructure;
  const refs = new BackendRefs(from);
  const { fragments, added, removed } = nextFragments(ingresses, from.fragments, defaultsOf, {
    refs,
    nginx: options.nginx,
    objects,
    certificateBefore: (name) => from.certificates.get(name),
  });
  if (before !== undefined && added.length === 0 && removed.length === 0) return before;
  for (const { uses } of removed) refs.release(uses);
  const byHost = reindexed(from.byHost, added, removed, ({ hosts }) => hosts);
  const byCertificateHost = reindexed(from.byCertificateHost, added, removed, certificateHosts);
  const relays = mergeRelays(from.relayed, byHost, byCertificateHost);
  const hosts = mergeChangedHosts(from, byHost, relays);
  const certificates = mergeChangedCertificates(from, byCertificateHost);
  const relayProblems = from.relayProblems.with([...relays.problems]);
  return {
    ...refs.finish(),
    ...hosts,
    ...certificates,
    relayed: relays.relayed,
    relayProblems,
    fragments,
    certificateUses: [...added, ...removed].some((fragment) => fragment.certificates.length > 0)
      ? fragments.flatMap((fragment) => fragment.certificates)
      : from.certificateUses,
    defaultRoute: defaultRouteOf(fragments),
    asksClients: fragments.some(({ clientCertificate }) => clientCertificate !== undefined),
    problems: problemsOf(fragments, [hosts.hostProblems, certificates.certificateProblems, relayProblems]),
  };
}

const noStructure: RouteStructure = {
  backends: [],
  backendIndexes: PersistentMap.empty(),
  useCounts: [],
  exactHosts: PersistentMap.empty(),
  wildcardHosts: PersistentMap.empty(),
  anyHost: undefined,
  defaultRoute: undefined,
  asksClients: false,
  certificates: PersistentMap.empty(),
  problems: [],
  certificateUses: [],
  fragments: [],
  byHost: PersistentMap.empty(),
  byCertificateHost: PersistentMap.empty(),
  hostProblems: PersistentMap.empty(),
  certificateProblems: PersistentMap.empty(),
  relayed: PersistentMap.empty(),
  relayProblems: PersistentMap.empty(),
};

type NextFragments = {
  readonly fragments: readonly Fragment[];
  readonly added: readonly Fragment[];
  readonly removed: readonly Fragment[];
};

/** Both lists are oldest first, so one walk over both finds what differs. */
function nextFragments(
  ingresses: readonly Ingress[],
  before: readonly Fragment[],
  defaultsOf: DefaultsOf,
  context: FragmentContext,
): NextFragments {
  const fragments: Fragment[] = [];
  const added: Fragment[] = [];
  const removed: Fragment[] = [];
  let at = 0;
  for (const ingress of ingresses) {
    if (before[at]?.ingress !== ingress && at < before.length) {
      const rank = rankOf(ingress);
      for (; at < before.length && before[at]!.rank < rank; at += 1) removed.push(before[at]!);
    }
    const known = before[at]?.ingress === ingress ? before[at] : undefined;
    const defaults = defaultsOf(ingress);
    if (known !== undefined && stillHolds(known, defaults, context.objects)) {
      fragments.push(known);
      at += 1;
      continue;
    }
    const fragment = fragmentOf(ingress, defaults, context);
    fragments.push(fragment);
    added.push(fragment);
  }
  for (; at < before.length; at += 1) removed.push(before[at]!);
  return { fragments, added, removed };
}

type HostParts = Pick<RouteStructure, 'byHost' | 'exactHosts' | 'wildcardHosts' | 'anyHost' | 'hostProblems'>;

function mergeChangedHosts(
  from: RouteStructure,
  { index: byHost, touched }: Reindexed,
  { relayed, changed }: MergedRelays,
): HostParts {
  const hosts = withLinked(touched.union(changed), byHost);
  const concerned = new Set<Fragment>();
  for (const host of hosts) for (const fragment of byHost.get(host) ?? []) concerned.add(fragment);
  const { routes, problems } = mergeHosts(hosts, [...concerned].sort(byRank), relayed);
  const exact: [string, HostRoutes | undefined][] = [];
  const wildcard: [string, HostRoutes | undefined][] = [];
  for (const host of hosts) {
    if (host.startsWith('*.')) wildcard.push([host.slice(2), routes.get(host)]);
    else if (host !== '') exact.push([host, routes.get(host)]);
  }
  return {
    byHost,
    exactHosts: from.exactHosts.with(exact),
    wildcardHosts: from.wildcardHosts.with(wildcard),
    anyHost: hosts.has('') ? routes.get('') : from.anyHost,
    hostProblems: from.hostProblems.with([...hosts].map((host) => [host, problems.get(host)])),
  };
}

/** With the hosts whose routes are decided together with theirs. */
function withLinked(touched: ReadonlySet<string>, byHost: FragmentIndex): ReadonlySet<string> {
  const all = new Set(touched);
  for (const host of all) {
    for (const { linksHosts, hosts } of byHost.get(host) ?? []) {
      if (linksHosts) for (const other of hosts) all.add(other); // the loop gets to these, too
    }
  }
  return all;
}

/** The oldest Ingress wins a host; canaries come after all others. */
function mergeChangedCertificates(
  from: RouteStructure,
  { index, touched }: Reindexed,
): Pick<RouteStructure, 'byCertificateHost' | 'certificates' | 'certificateProblems'> {
  const winners: [string, Certificate | undefined][] = [];
  const problems: [string, readonly MergeProblem[] | undefined][] = [];
  for (const host of touched) {
    const fragments = index.get(host) ?? [];
    const late = fragments.filter(({ canary }) => canary !== undefined);
    const uses = [...fragments.filter(({ canary }) => canary === undefined), ...late].flatMap((fragment) =>
      fragment.certificates.filter(({ hosts }) => hosts.includes(host)),
    );
    const { winner, losers } = winnerOf(host, uses);
    winners.push([host, winner]);
    const told = losers.map(
      ([{ ingress }, message]) => ({ ingress, reason: 'HostConflict', message }) as const,
    );
    problems.push([host, told.length === 0 ? undefined : told]);
  }
  return {
    byCertificateHost: index,
    certificates: from.certificates.with(winners),
    certificateProblems: from.certificateProblems.with(problems),
  };
}

function certificateHosts({ certificates }: Fragment): readonly string[] {
  return certificates.length === 0 ? [] : [...new Set(certificates.flatMap(({ hosts }) => hosts))];
}

/** @param keysOf each key once */
function reindexed(
  before: FragmentIndex,
  added: readonly Fragment[],
  removed: readonly Fragment[],
  keysOf: (fragment: Fragment) => readonly string[],
): Reindexed {
  const gone = new Set(removed);
  const lists = new Map<string, Fragment[]>();
  const listOf = (key: string): Fragment[] => {
    let list = lists.get(key);
    if (list === undefined) {
      list = (before.get(key) ?? []).filter((fragment) => !gone.has(fragment));
      lists.set(key, list);
    }
    return list;
  };
  for (const fragment of removed) keysOf(fragment).forEach(listOf);
  for (const fragment of added) for (const key of keysOf(fragment)) listOf(key).push(fragment);
  for (const list of lists.values()) list.sort(byRank);
  const changes = [...lists].map(([key, list]) => [key, list.length === 0 ? undefined : list] as const);
  return { index: before.with(changes), touched: new Set(lists.keys()) };
}

/** That of an Ingress without rules, which is meant as everybody's; else the oldest one. */
function defaultRouteOf(fragments: readonly Fragment[]): Route | undefined {
  let ofRules: Route | undefined;
  for (const { fallback, rules } of fragments) {
    if (fallback === undefined) continue;
    if (rules.length === 0) return fallback;
    ofRules ??= fallback;
  }
  return ofRules;
}

/** By Ingress, oldest first. */
function problemsOf(
  fragments: readonly Fragment[],
  merged: readonly PersistentMap<string, readonly MergeProblem[]>[],
): readonly Problem[] {
  const others = Map.groupBy(
    merged.flatMap((map) => [...map.values()].flat()),
    ({ ingress }) => ingress,
  );
  const all: Problem[] = [];
  for (const { ingress, problems } of fragments) {
    all.push(...problems);
    const later = others.get(ingress);
    if (later !== undefined) all.push(...later.sort((a, b) => (a.message < b.message ? -1 : 1)));
  }
  return all;
}
