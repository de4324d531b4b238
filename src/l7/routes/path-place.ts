import type { HTTPIngressPath } from '../../api/gen/networking-v1.ts';
import { compileRegex, type Regex } from '../../base/regex/regex.ts';
import type { PathRules } from '../policy/annotations/paths.ts';
import type { PathType, Route } from './table.ts';

export type PathPlace = { readonly path: string; readonly pathType: PathType; readonly key: string };

/** Key: see HostRoutes; of a regular expression, the path as written. */
export function placeOf(rule: HTTPIngressPath): PathPlace {
  const path = rule.path === undefined || rule.path === '' ? '/' : rule.path;
  const pathType: PathType =
    rule.pathType === 'Exact' || rule.pathType === 'Prefix' ? rule.pathType : 'ImplementationSpecific';
  return { path, pathType, key: pathType !== 'Exact' && path.endsWith('/') ? path.slice(0, -1) : path };
}

/** `problem` undefined and no regex: the path is none. */
export type PathPattern = { readonly regex: Regex | undefined; readonly problem: string | undefined };

/** @param all every path is a regular expression, whatever its type */
export function patternOf(
  { path, pathType }: PathPlace,
  regex: PathRules['regex'],
  all: boolean,
): PathPattern {
  if (!all && (regex === undefined || pathType !== 'ImplementationSpecific')) {
    return { regex: undefined, problem: undefined };
  }
  const compiled = compileRegex(path, { ignoreCase: all || regex === 'ignore-case', fromStart: true });
  return compiled.ok
    ? { regex: compiled.regex, problem: undefined }
    : {
        regex: undefined,
        problem: `${path} is no regular expression that can be matched: ${compiled.problem}`,
      };
}

/** Of equally long ones the text decides, so that the order is always the same. */
export function longestFirst(a: Route, b: Route): number {
  return b.path.length - a.path.length || (a.path < b.path ? -1 : 1);
}

export function slashesIn(path: string): number {
  let count = 0;
  for (let i = 0; i < path.length; i += 1) {
    if (path.charCodeAt(i) === 0x2f) count += 1;
  }
  return count;
}
