import type { Ingress } from '../../api/gen/networking-v1.ts';
import type { CanaryRule } from '../policy/annotations/canary.ts';
import { annotationPrefix } from '../policy/annotations/reader.ts';
import { renderPlace } from './backend-refs.ts';
import { longestFirst, patternOf, slashesIn } from './path-place.ts';
import { emptyPolicy, type RoutePolicy } from '../policy/policy.ts';
import type { ClientCertificatePolicy } from '../policy/client-certificate.ts';
import type { ProblemReason } from '../controller/problem.ts';
import { type Fragment, type FragmentPath, withSplit, wwwOther } from './route-fragment.ts';
import type { HostRoutes, Route } from './table.ts';

/** A problem of an Ingress with the others of a host. */
export type MergeProblem = {
  readonly ingress: Ingress;
  readonly reason: ProblemReason;
  readonly message: string;
};

export type MergedHosts = {
  /** Hosts that get none are absent. */
  readonly routes: ReadonlyMap<string, HostRoutes>;
  /** By host; absent: none. */
  readonly problems: ReadonlyMap<string, readonly MergeProblem[]>;
};

/**
 * The routes of some hosts: for the same path the oldest Ingress wins.
 * @param hosts with each, those that it is linked to by a fragment
 * @param fragments all that may change these hosts, oldest first
 * @param relayed by host: where its TLS goes as it comes
 */
export function mergeHosts(
  hosts: ReadonlySet<string>,
  fragments: readonly Fragment[],
  relayed: ReadonlyMap<string, Route>,
): MergedHosts {
  const merger = new HostMerger(hosts, fragments);
  for (const fragment of fragments) merger.addRules(fragment);
  for (const fragment of fragments) merger.addOtherHosts(fragment); // after all that have rules of their own
  for (const host of hosts) merger.addRelayed(host, relayed.get(host));
  for (const fragment of fragments) merger.addCanary(fragment); // they join routes of others
  for (const fragment of fragments) merger.addClientCertificate(fragment); // last: it is for all routes of its hosts
  return merger.merged();
}

type HostBuilder = {
  readonly exact: Map<string, Route>;
  readonly prefix: Map<string, Route>;
  readonly patterns: Route[];
  prefixElementsMax: number;
  defaultRoute: Route | undefined;
  clientCertificate: ClientCertificatePolicy | undefined;
};

class HostMerger {
  readonly #wanted: ReadonlySet<string>;
  readonly #regexHosts = new Set<string>();
  readonly #hosts = new Map<string, HostBuilder>();
  readonly #problems = new Map<string, MergeProblem[]>();

  constructor(hosts: ReadonlySet<string>, fragments: readonly Fragment[]) {
    this.#wanted = hosts;
    for (const { readsRegex, rules } of fragments) {
      if (readsRegex) for (const { host } of rules) this.#regexHosts.add(host);
    }
  }

  addRules(fragment: Fragment): void {
    if (fragment.canary !== undefined || fragment.relay !== undefined) return;
    for (const { host, paths } of fragment.rules) {
      if (!this.#wanted.has(host)) continue;
      const builder = this.#host(host);
      builder.defaultRoute ??= fragment.fallback;
      for (const path of paths) this.#addPath(fragment, builder, host, path);
    }
  }

  #addPath(fragment: Fragment, builder: HostBuilder, host: string, added: FragmentPath): void {
    const { place, at, backend, split } = added;
    const { path, pathType, key } = at;
    const { paths: rules } = fragment;
    const policy = withSplit(fragment.policy, split, fragment.key);
    const { regex: pattern, problem } = patternOf(at, rules.regex, this.#regexHosts.has(host));
    if (problem !== undefined) {
      this.#problem(host, fragment, 'InvalidPath', `${renderPlace(place)}: ${problem}`);
      return;
    }
    const route: Route = { ingress: fragment.key, host, path, pathType, pattern, backend, policy };
    const paths = pathType === 'Exact' ? builder.exact : builder.prefix;
    const other =
      pattern === undefined ? paths.get(key) : builder.patterns.find((known) => known.path === path);
    if (other !== undefined && other.path.length >= path.length) {
      // `/foo/` and `/foo` are the same prefix; the longer spelling wins by the API's word, and that is no conflict.
      if (other.path === path && other.backend !== backend) {
        const message = `${renderPlace(place)}: ${host}${path} is already routed by Ingress ${other.ingress}`;
        this.#problem(host, fragment, 'PathConflict', message);
      }
      return;
    }
    if (pattern !== undefined) {
      builder.patterns.push(route);
      return;
    }
    paths.set(key, route);
    if (pathType !== 'Exact') {
      builder.prefixElementsMax = Math.max(builder.prefixElementsMax, slashesIn(key));
    }
  }

  /** Hosts that lead where another one does. */
  addOtherHosts(fragment: Fragment): void {
    if (!fragment.linksHosts || !fragment.hosts.some((host) => this.#wanted.has(host))) return;
    const hosts = fragment.rules.map(({ host }) => host);
    for (const alias of fragment.paths.hostAliases) this.#addAlias(fragment, alias, hosts[0] ?? '');
    if (!fragment.paths.wwwRedirect) return;
    for (const host of new Set(hosts)) {
      if (host !== '' && !host.startsWith('*.')) this.#addWwwRedirect(fragment, host);
    }
  }

  #addAlias(fragment: Fragment, alias: string, host: string): void {
    const routes = this.#hosts.get(host);
    if (routes === undefined || this.#hosts.get(alias) === routes) return;
    if (this.#hosts.has(alias)) {
      const message = `metadata.annotations[${annotationPrefix}host-aliases]: ${alias} has rules of its own`;
      this.#problem(alias, fragment, 'HostConflict', message);
      return;
    }
    this.#hosts.set(alias, routes);
  }

  /** With or without "www.", the host that has no rules is sent to the one that has. */
  #addWwwRedirect({ key: ingress }: Fragment, host: string): void {
    const other = wwwOther(host);
    const [known] = [this.#hosts.get(host)].flatMap((routes) => [
      ...(routes?.exact.values() ?? []),
      ...(routes?.prefix.values() ?? []),
      ...(routes?.patterns ?? []),
    ]);
    if (this.#hosts.has(other) || known === undefined) return;
    const policy: RoutePolicy = {
      ...emptyPolicy(ingress),
      redirect: { status: 308, url: `$scheme://${host}$request_uri` },
    };
    const route = { ...known, ingress, host: other, path: '/', pattern: undefined, policy };
    this.#host(other).prefix.set('', { ...route, pathType: 'Prefix' });
  }

  /** Plain HTTP is sent to TLS, except where others have rules for it, as an ACME solver has. */
  addRelayed(host: string, route: Route | undefined): void {
    if (route === undefined || this.#hosts.get(host)?.prefix.has('') === true) return;
    const { ingress, policy } = route;
    const toTls: RoutePolicy = {
      ...emptyPolicy(ingress),
      httpsPort: policy?.httpsPort ?? 443,
      passesThrough: true,
    };
    this.#host(host).prefix.set('', { ...route, policy: toTls });
  }

  /** A canary's paths take part of the requests of the routes for the same host and path. */
  addCanary(fragment: Fragment): void {
    const { canary, rules } = fragment;
    if (canary === undefined) return;
    for (const { host, paths } of rules) {
      if (!this.#wanted.has(host)) continue;
      for (const path of paths) this.#addCanaryPath(fragment, canary, host, path);
    }
  }

  #addCanaryPath(fragment: Fragment, rule: CanaryRule, host: string, added: FragmentPath): void {
    const { place, backend } = added;
    const { path, pathType, key } = added.at;
    const routes = this.#hosts.get(host);
    const pattern = routes?.patterns.findIndex((known) => known.path === path) ?? -1;
    const paths = pathType === 'Exact' ? routes?.exact : routes?.prefix;
    const route = pattern === -1 ? paths?.get(key) : routes?.patterns[pattern];
    if (routes === undefined || paths === undefined || route === undefined) {
      const message = `${renderPlace(place)}: no other Ingress routes ${pathType} ${host}${path}, so there is nothing to take requests from`;
      this.#problem(host, fragment, 'CanaryWithoutRoute', message);
      return;
    }
    const policy = route.policy ?? emptyPolicy(route.ingress);
    if (policy.canary !== undefined) {
      const message = `${renderPlace(place)}: ${host}${path} already has the canary of Ingress ${policy.canary.ingress}`;
      this.#problem(host, fragment, 'PathConflict', message);
      return;
    }
    const canary = { ...rule, ingress: fragment.key, backend };
    const shared = { ...route, policy: { ...policy, canary } };
    if (pattern === -1) paths.set(key, shared);
    else routes.patterns[pattern] = shared;
  }

  /** Connections are made for a host, not for a path: what one Ingress asks of clients holds for all its routes. The oldest decides. */
  addClientCertificate(fragment: Fragment): void {
    const { clientCertificate, rules } = fragment;
    if (clientCertificate === undefined) return;
    for (const host of new Set(rules.map((rule) => rule.host))) {
      const routes = this.#wanted.has(host) ? this.#hosts.get(host) : undefined;
      if (routes === undefined || routes.clientCertificate === clientCertificate) continue;
      const known = routes.clientCertificate;
      if (known === undefined) {
        routes.clientCertificate = clientCertificate;
        mapRoutes(routes, (route) => ({
          ...route,
          policy: { ...(route.policy ?? emptyPolicy(route.ingress)), clientCertificate },
        }));
      } else if (!sameAsked(known, clientCertificate)) {
        const message = `metadata.annotations[${annotationPrefix}client-certificate-secret]: what clients of ${host || 'any host'} must show is already decided by Ingress ${known.ingress}`;
        this.#problem(host, fragment, 'HostConflict', message);
      }
    }
  }

  merged(): MergedHosts {
    for (const { patterns } of this.#hosts.values()) patterns.sort(longestFirst);
    return { routes: this.#hosts, problems: this.#problems };
  }

  #host(host: string): HostBuilder {
    let builder = this.#hosts.get(host);
    if (builder === undefined) {
      builder = {
        exact: new Map(),
        prefix: new Map(),
        patterns: [],
        prefixElementsMax: 0,
        defaultRoute: undefined,
        clientCertificate: undefined,
      };
      this.#hosts.set(host, builder);
    }
    return builder;
  }

  #problem(host: string, fragment: Fragment, reason: ProblemReason, message: string): void {
    const known = this.#problems.get(host);
    const { ingress } = fragment;
    if (known === undefined) this.#problems.set(host, [{ ingress, reason, message }]);
    else known.push({ ingress, reason, message });
  }
}

function mapRoutes(routes: HostBuilder, change: (route: Route) => Route): void {
  for (const map of [routes.exact, routes.prefix])
    for (const [key, route] of map) map.set(key, change(route));
  routes.patterns.splice(0, routes.patterns.length, ...routes.patterns.map(change));
  if (routes.defaultRoute !== undefined) routes.defaultRoute = change(routes.defaultRoute);
}

function sameAsked(a: ClientCertificatePolicy, b: ClientCertificatePolicy): boolean {
  return a.tls.id === b.tls.id && a.mode === b.mode && a.subject === b.subject && a.passes === b.passes;
}
