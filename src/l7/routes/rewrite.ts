import type { RequestHead } from '../http1/http1-parse.ts';
import type { RoutePolicy } from '../policy/policy.ts';
import type { Route } from './table.ts';

type Rewrites = Pick<RoutePolicy, 'rewriteTo' | 'rewritePath'>;

/** The target that the endpoint sees. */
export function rewrittenTarget(
  route: Route,
  { rewriteTo, rewritePath }: Rewrites,
  head: RequestHead,
): string {
  if (head.target === '*') return head.target;
  if (rewritePath !== undefined) return wholePath(route, rewritePath, head);
  return rewriteTo === undefined ? head.target : matchedPart(route, rewriteTo, head);
}

/** The matched part of the path gives way; the rest and the query stay. */
function matchedPart(route: Route, rewriteTo: string, head: RequestHead): string {
  const prefix = route.path.endsWith('/') ? route.path.slice(0, -1) : route.path;
  let matched = route.pathType === 'Exact' ? head.path.length : prefix.length;
  if (route.pattern !== undefined) matched = route.pattern.match(head.path)?.[0]?.length ?? head.path.length;
  const path = `${rewriteTo}${head.path.slice(matched)}`;
  const slash = path.startsWith('/') ? '' : '/';
  return `${slash}${path}${head.target.slice(head.path.length)}`;
}

/** The query stays, behind that of the template if it has one. */
function wholePath(route: Route, template: string, head: RequestHead): string {
  const groups = route.pattern?.match(head.path) ?? [];
  const path = template.replaceAll(/\$([1-9])/g, (_, group: string) => groups[Number(group)] ?? '');
  const query = head.target.slice(head.path.length);
  const slash = path.startsWith('/') ? '' : '/';
  return `${slash}${path}${path.includes('?') ? query.replace('?', '&') : query}`;
}
