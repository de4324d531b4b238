/**
 * Paths that servers read in different ways. `/public/..%2fadmin` lies under /public for one and is /admin for another: a request
 * like that must not get past the rule for /admin because a backend reads it so. See decision 0032.
 */
import { matchRoute } from './match.ts';
import type { Route, RouteTable } from './table.ts';

const SLASH = 0x2f;
const DOT = 0x2e;
const PERCENT = 0x25;
const SEMICOLON = 0x3b;
const BACKSLASH = 0x5c;

/** Whether the path has anything that some server reads in another way. Most have not: one walk, for every request. */
export function hasReadings(path: string): boolean {
  for (let i = 0; i < path.length; i += 1) {
    const code = path.charCodeAt(i);
    if (code === PERCENT || code === SEMICOLON || code === BACKSLASH) return true;
    if (code !== SLASH) continue;
    const next = path.charCodeAt(i + 1); // NaN at the end
    if (next === SLASH || next === DOT) return true;
  }
  return false;
}

/** What a server may do to a path before it looks at it. Each in use somewhere, in any combination. */
type Habits = {
  /** `%2f`, `%5c` and `\` part elements. */
  readonly slashes: boolean;
  /** Empty elements are left out. */
  readonly merge: boolean;
  /** `.` and `..` are followed (RFC 3986 §5.2.4). */
  readonly dots: boolean;
  /** What follows `;` in an element is no part of its name. */
  readonly parameters: boolean;
};

const habitsOfSomebody: readonly Habits[] = Array.from({ length: 16 }, (_, bits) => ({
  slashes: (bits & 1) !== 0,
  merge: (bits & 2) !== 0,
  dots: (bits & 4) !== 0,
  parameters: (bits & 8) !== 0,
}));

/** All paths as which some server may read it, the given one left out. Percent-encoded letters, digits, `-`, `.`, `_` and `~` are decoded in each. */
export function readingsOf(path: string): ReadonlySet<string> {
  const plain = decodeUnreserved(path);
  const readings = new Set<string>();
  for (const habits of habitsOfSomebody) readings.add(readAs(plain, habits));
  readings.delete(path);
  return readings;
}

/** RFC 3986 §2.3: these mean the same with and without encoding. */
function decodeUnreserved(path: string): string {
  if (!path.includes('%')) return path;
  return path.replace(/%(?:2[de]|3[0-9]|[46][1-9a-f]|[57][0-9a]|5f|7e)/gi, (code) =>
    String.fromCharCode(Number.parseInt(code.slice(1), 16)),
  );
}

function readAs(path: string, { slashes, merge, dots, parameters }: Habits): string {
  const text = slashes ? path.replace(/%2f|%5c|\\/gi, '/') : path;
  const out: string[] = [];
  const elements = text.split('/').slice(1);
  for (const [index, element] of elements.entries()) {
    const last = index === elements.length - 1;
    const name = parameters ? (element.split(/;|%3b/i, 1)[0] ?? '') : element;
    if (dots && (name === '.' || name === '..')) {
      if (name === '..') out.pop();
      if (last) out.push('');
    } else if (!merge || last || name !== '') out.push(name);
  }
  return `/${out.join('/')}`;
}

/** Whether some backend may read the path as one that another rule is for. `route`: that of the path as sent. */
export function isAmbiguous(table: RouteTable, host: string, path: string, route: Route): boolean {
  if (!hasReadings(path)) return false;
  for (const reading of readingsOf(path)) {
    if (!leadAlike(route, matchRoute(table, host, reading))) return true;
  }
  return false;
}

/** Nothing is different for the request, whichever of them it takes. */
function leadAlike(a: Route, b: Route | undefined): boolean {
  if (a === b || b === undefined) return true; // a path that nobody routes is nobody's to protect
  const rewritten = a.policy?.rewriteTo ?? a.policy?.rewritePath;
  return a.backend === b.backend && a.policy === b.policy && rewritten === undefined;
}
