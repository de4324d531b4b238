import { parseFieldSelector } from '../api/field-selector.ts';

/** What a request is about, as authorization and routing see it. */
export type RequestInfo =
  | {
      readonly kind: 'resource';
      readonly group: string;
      readonly version: string;
      readonly plural: string;
      /** '' for cluster-scoped resources and for requests across all namespaces. */
      readonly namespace: string;
      /** '' for a collection. */
      readonly name: string;
      /** '' for the resource itself. */
      readonly subresource: string;
      /** Path segments behind the subresource; none for proxy, whose rest is the back end's alone (proxyPath). */
      readonly rest: readonly string[];
      readonly verb: Verb;
    }
  | { readonly kind: 'path'; readonly path: string; readonly verb: string };

export type Verb =
  | 'get'
  | 'list'
  | 'watch'
  | 'create'
  | 'update'
  | 'patch'
  | 'delete'
  | 'deletecollection'
  | 'unknown';

/**
 * Takes a path apart: /api/VERSION/… and /apis/GROUP/VERSION/…; everything else, the discovery documents among it, is a
 * plain path. Segments are decoded here and nowhere else. Undefined: an undecodable or a dangerous path (`.`, `..`, an
 * encoded slash), to be answered with 400.
 */
export function parseRequest(
  method: string,
  rawPath: string,
  query: URLSearchParams,
): RequestInfo | undefined {
  // What follows proxy is not ours to read: encoded slashes and dots go to the back end as they came.
  const segments = decodeSegments(proxyHead.exec(rawPath)?.[0] ?? rawPath);
  if (segments === undefined) return undefined;
  const plain: RequestInfo = { kind: 'path', path: rawPath, verb: method.toLowerCase() };
  const isCore = segments[0] === 'api';
  if (!isCore && segments[0] !== 'apis') return plain;
  const group = isCore ? '' : (segments[1] ?? '');
  const version = segments[isCore ? 1 : 2];
  let at = isCore ? 2 : 3;
  if (version === undefined || segments[at] === undefined) return plain;

  let namespace = '';
  const first = segments[at];
  // namespaces/NAME/RESOURCE is a namespaced resource, but status and finalize belong to the Namespace itself.
  if (first === 'namespaces' && segments[at + 1] !== undefined) {
    namespace = segments[at + 1] ?? '';
    const third = segments[at + 2];
    if (third !== undefined && third !== 'status' && third !== 'finalize') at += 2;
  }
  const plural = segments[at] ?? '';
  const name = segments[at + 1] ?? '';
  const subresource = segments[at + 2] ?? '';
  return {
    kind: 'resource',
    group,
    version,
    plural,
    namespace,
    name,
    subresource,
    rest: segments.slice(at + 3),
    verb: verbOf(method, name, subresource === '' ? query : noQuery),
  };
}

const ofCollections: ReadonlySet<Verb> = new Set(['list', 'watch', 'deletecollection']);

/**
 * The only object that a request for a collection asks for, by `metadata.name=NAME` in its fieldSelector; '' where there is none. As in
 * Kubernetes, who may list that object by its name alone may make such a request.
 */
export function selectedName(info: RequestInfo, query: URLSearchParams): string {
  if (info.kind === 'path' || info.name !== '' || !ofCollections.has(info.verb)) return '';
  try {
    const terms = parseFieldSelector(query.get('fieldSelector') ?? '');
    return terms.find(({ field, equal }) => field === 'metadata.name' && equal)?.value ?? '';
  } catch {
    return ''; // refused where it is used
  }
}

const proxyHead = /^\/api\/v1\/(?:namespaces\/[^/]+\/(?:pods|services)|nodes)\/[^/]+\/proxy(?=\/|$)/;

/** The path that a proxy subresource passes on, as the client wrote it: '' or beginning with a slash. */
export function proxyPath(rawPath: string): string {
  return rawPath.slice(proxyHead.exec(rawPath)?.[0].length ?? rawPath.length);
}

/** Undefined where a segment cannot be decoded or would leave its place. A trailing slash is no segment. */
function decodeSegments(path: string): readonly string[] | undefined {
  const raw = path.split('/').slice(1);
  if (raw.at(-1) === '') raw.pop();
  const segments: string[] = [];
  for (const segment of raw) {
    const decoded = decodeSegment(segment);
    if (decoded === undefined || decoded === '.' || decoded === '..' || /[/\0]/.test(decoded))
      return undefined;
    segments.push(decoded);
  }
  return segments;
}

function decodeSegment(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined; // a stray percent sign: expected from the outside
  }
}

/** A subresource is never watched; a back end behind proxy may use the word for itself. */
const noQuery = new URLSearchParams();

function verbOf(method: string, name: string, query: URLSearchParams): Verb {
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (isTrue(query.get('watch'))) return 'watch';
      return name === '' ? 'list' : 'get';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return name === '' ? 'deletecollection' : 'delete';
    default:
      return 'unknown';
  }
}

/** Kubernetes' reading of a boolean query parameter: present and not "false" or "0". */
export function isTrue(value: string | null): boolean {
  return value !== null && value !== 'false' && value !== '0';
}
