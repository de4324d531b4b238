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
      /** Path segments behind the subresource, as in pods/NAME/proxy/a/b. */
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
  const segments = decodeSegments(rawPath);
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
    verb: verbOf(method, name, query),
  };
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
