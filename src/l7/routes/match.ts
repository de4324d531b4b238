import type { HostRoutes, Route, RouteTable } from './table.ts';

/**
 * The route of a request, or undefined (404).
 * Host: exact over wildcard over none; a wildcard stands for exactly one label. Paths of a less specific host are not
 * looked at once a host has matched. Path: Exact, then the Prefix with most elements or the regular expression, whichever is longer as written.
 * (Kubernetes API, networking/v1 IngressRule and HTTPIngressPath.)
 * @param host lower case, without port
 * @param path without query, matched as sent: case-sensitive, not decoded
 */
export function matchRoute(table: RouteTable, host: string, path: string): Route | undefined {
  const routes = routesOfHost(table, host);
  if (routes === undefined) return table.defaultRoute;
  return matchPath(routes, path) ?? routes.defaultRoute ?? table.defaultRoute;
}

/** The routes of the most specific host that fits. */
export function routesOfHost(table: RouteTable, host: string): HostRoutes | undefined {
  const exact = table.exactHosts.get(host);
  if (exact !== undefined) return exact;
  if (table.wildcardHosts.size > 0) {
    const dot = host.indexOf('.');
    if (dot > 0) {
      const wildcard = table.wildcardHosts.get(host.slice(dot + 1));
      if (wildcard !== undefined) return wildcard;
    }
  }
  return table.anyHost;
}

/**
 * Where a TLS connection goes as it comes; undefined: it ends here. What has an exact host goes before wildcards, whichever of both it
 * is; what is for any host comes last.
 * @param serverName lower case; undefined: the client gives none
 */
export function matchRelayed(table: RouteTable, serverName: string | undefined): Route | undefined {
  const { relayed, certificates } = table;
  if (relayed.size === 0) return undefined;
  if (serverName !== undefined) {
    const exact = relayed.get(serverName);
    if (exact !== undefined) return exact;
    if (table.exactHosts.has(serverName) || certificates.has(serverName)) return undefined;
    const suffix = serverName.slice(serverName.indexOf('.') + 1);
    const wildcard = relayed.get(`*.${suffix}`);
    if (wildcard !== undefined) return wildcard;
    if (table.wildcardHosts.has(suffix) || certificates.has(`*.${suffix}`)) return undefined;
  }
  return relayed.get('');
}

/** Whether the path alone fits the route, whatever others there are. Not for the hot path. */
export function pathMatches(route: Route, path: string): boolean {
  if (route.pattern !== undefined) return route.pattern.test(path);
  if (route.pathType === 'Exact') return route.path === path;
  const prefix = route.path.endsWith('/') ? route.path.slice(0, -1) : route.path;
  return path === prefix || path.startsWith(`${prefix}/`);
}

/** Walks the path's elements from the left, at most as many as the longest prefix has. */
export function matchPath(routes: HostRoutes, path: string): Route | undefined {
  const exact = routes.exact.get(path);
  if (exact !== undefined) return exact;
  const best = matchPrefix(routes, path);
  return routes.patterns.length === 0 ? best : (matchPattern(routes.patterns, path, best) ?? best);
}

function matchPrefix(routes: HostRoutes, path: string): Route | undefined {
  const prefixes = routes.prefix;
  if (prefixes.size === 0) return undefined;
  let best = prefixes.get('');
  let slash = 0; // where the current element starts
  for (let elements = 0; elements < routes.prefixElementsMax; elements += 1) {
    if (slash === -1 || path.charCodeAt(slash) !== 0x2f) break;
    const next = path.indexOf('/', slash + 1);
    const route = prefixes.get(next === -1 ? path : path.slice(0, next));
    if (route !== undefined) best = route;
    slash = next;
  }
  return best;
}

/** The first pattern that matches and is written longer than the prefix that does. */
function matchPattern(
  patterns: readonly Route[],
  path: string,
  prefix: Route | undefined,
): Route | undefined {
  const lengthMin = prefix === undefined ? -1 : prefix.path.length;
  for (const route of patterns) {
    if (route.path.length <= lengthMin) return undefined;
    if (route.pattern!.test(path)) return route;
  }
  return undefined;
}
