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

/** What somebody takes for `/`, and what for the begin of a parameter, which is no part of an element's name: any of them alone, too. */
const slashForms = [/%2f/gi, /%5c/gi, /\\/g] as const;
const parameterForms = [/;/, /%3b/i] as const;

/**
 * All paths as which some server may read it, the given one left out. In any combination a server takes other characters for `/`, cuts parameters,
 * leaves empty elements out and follows `.` and `..` (RFC 3986 §5.2.4). Percent-encoded letters, digits, `-`, `.`, `_` and `~` are decoded in each.
 */
export function readingsOf(path: string): ReadonlySet<string> {
  const plain = decodeUnreserved(path);
  const readings = new Set<string>();
  for (const slashes of choicesOf(slashForms, plain)) {
    const elements = slashes.reduce((text, form) => text.replace(form, '/'), plain).split('/');
    elements.shift(); // before the first slash
    for (const parameters of choicesOf(parameterForms, plain)) {
      addReadings(readings, parameters.length === 0 ? elements : elements.map((one) => cut(one, parameters)));
    }
  }
  readings.delete(path);
  return readings;
}

/** All choices of those forms that the path has; what it has not makes no difference. */
function choicesOf(forms: readonly RegExp[], path: string): readonly (readonly RegExp[])[] {
  let choices: readonly (readonly RegExp[])[] = [[]];
  for (const form of forms) {
    if (path.search(form) !== -1) choices = [...choices, ...choices.map((choice) => [...choice, form])];
  }
  return choices;
}

function cut(element: string, parameters: readonly RegExp[]): string {
  let end = element.length;
  for (const form of parameters) {
    const at = element.search(form);
    if (at !== -1 && at < end) end = at;
  }
  return element.slice(0, end);
}

/** By those who leave empty elements out and those who do not, and by those who follow dots and those who do not. */
function addReadings(readings: Set<string>, elements: readonly string[]): void {
  const last = elements.length - 1;
  const isEmpty = (name: string, index: number): boolean => name === '' && index < last;
  const isDots = (name: string): boolean => name === '.' || name === '..';
  for (const merge of elements.some(isEmpty) ? [false, true] : [false]) {
    for (const dots of elements.some(isDots) ? [false, true] : [false]) {
      const out: string[] = [];
      for (const [index, name] of elements.entries()) {
        if (dots && isDots(name)) {
          if (name === '..') out.pop();
          if (index === last) out.push('');
        } else if (!(merge && isEmpty(name, index))) out.push(name);
      }
      readings.add(`/${out.join('/')}`);
    }
  }
}

/** RFC 3986 §2.3: these mean the same with and without encoding. */
function decodeUnreserved(path: string): string {
  if (!path.includes('%')) return path;
  return path.replace(/%(?:2[de]|3[0-9]|[46][1-9a-f]|[57][0-9a]|5f|7e)/gi, (code) =>
    String.fromCharCode(Number.parseInt(code.slice(1), 16)),
  );
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
