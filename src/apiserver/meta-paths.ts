import { createHash } from 'node:crypto';
import type { Kind } from '../api/kind.ts';
import { pathNotFound } from '../api/status.ts';
import { serverVersion } from './config.ts';
import type { ApiContext } from './context.ts';
import { answerDiscovery } from './discovery.ts';
import { type ApiRequest, jsonReply, jsonType, type Reply, textReply } from './exchange.ts';
import { acceptsJson, parseAccept } from './negotiate.ts';

/** As Kubernetes answers it: the type that clients ask for has an `@`, which no parser of media types accepts. */
const openApiV2ProtobufReplyType = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

/** Everything that is no resource: health, version, discovery, OpenAPI, metrics, keys. */
export async function answerPath(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const path = request.path === '/' ? '/' : request.path.replace(/\/$/, '');
  const exact = exactPaths[path];
  if (exact !== undefined) return exact(context, request);
  const [root] = path.split('/').filter((segment) => segment !== '');
  if (root === 'api' || root === 'apis')
    return answerDiscovery(request, localKinds(context), context.aggregation.versions());
  if (path.startsWith('/openapi/v3/')) {
    return openApiDocument(context, request, path.slice('/openapi/v3/'.length));
  }
  if (/^\/(healthz|livez|readyz)\/(ping|store)$/.test(path)) return textReply('ok');
  throw pathNotFound();
}

/** Beside the built-in ones, without those that another server answers for. */
function localKinds({ customs, aggregation }: ApiContext): readonly Kind[] {
  const all = customs.all();
  const isTaken = ({ group, version }: Kind): boolean => aggregation.find(group, version) !== undefined;
  return all.some(isTaken) ? all.filter((kind) => !isTaken(kind)) : all; // the same list: documents are kept by it
}

type PathHandler = (context: ApiContext, request: ApiRequest) => Reply | Promise<Reply>;

const exactPaths: Readonly<Record<string, PathHandler>> = {
  '/': () => jsonReply({ paths: Object.keys(exactPaths).filter((path) => path !== '/') }),
  '/api': (context, request) => answerDiscovery(request, localKinds(context), context.aggregation.versions()),
  '/apis': (context, request) =>
    answerDiscovery(request, localKinds(context), context.aggregation.versions()),
  '/version': () =>
    jsonReply({ ...serverVersion, platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}` }),
  '/healthz': health('healthz'),
  '/livez': health('livez'),
  '/readyz': health('readyz'),
  '/metrics': async (context) => {
    const { contentType, text } = await context.metrics.render(context.store, context.audit?.counts);
    return textReply(text, 200, contentType);
  },
  '/openapi/v2': openApiV2,
  '/openapi/v3': async (context, request) => {
    const { openApiV3Index } = await import('../api/openapi.ts');
    return documentReply(request, openApiV3Index(localKinds(context), context.aggregation.documents()));
  },
  '/.well-known/openid-configuration': (context) => {
    const { issuer } = context.tokens;
    return jsonReply({
      issuer,
      jwks_uri: `https://${context.config.advertiseAddress}:${context.config.advertisePort ?? 6443}/openid/v1/jwks`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
    });
  },
  '/openid/v1/jwks': async (context) => jsonReply(await context.tokens.publicKeys()),
};

function health(name: string): PathHandler {
  return (_context, request) => {
    if (!request.query.has('verbose')) return textReply('ok');
    return textReply(`[+]ping ok\n[+]store ok\n${name} check passed\n`);
  };
}

/** The documents and the texts in them are loaded when somebody first asks: most servers never need them. */
async function openApiV2(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const parts = [localKinds(context), context.aggregation.documents()] as const;
  const { openApiV2Json, openApiV2Protobuf, openApiV2ProtobufMediaType } = await import('../api/openapi.ts');
  for (const { type } of parseAccept(request.headers.accept)) {
    if (type === openApiV2ProtobufMediaType) {
      return documentReply(request, openApiV2Protobuf(...parts), openApiV2ProtobufReplyType);
    }
    if (acceptsJson(type)) break;
  }
  return documentReply(request, openApiV2Json(...parts));
}

/** For an URL with the document's own hash the answer never changes, so it may be kept; another hash leads to the newest. */
async function openApiDocument(context: ApiContext, request: ApiRequest, path: string): Promise<Reply> {
  const { openApiV3Document } = await import('../api/openapi.ts');
  const document = openApiV3Document(path, localKinds(context), context.aggregation.documents());
  if (document === undefined) throw pathNotFound();
  const asked = request.query.get('hash');
  if (asked === null || asked === '') return documentReply(request, document);
  const hash = hashOf(document);
  if (asked !== hash) {
    const location = `/openapi/v3/${path}?hash=${hash}`;
    return { kind: 'bytes', status: 301, contentType: jsonType, body: [], headers: { location } };
  }
  return documentReply(request, document, jsonType, { 'cache-control': 'public, immutable' });
}

/** By document: they are kept as bytes, so each is hashed once. */
const hashes = new WeakMap<Uint8Array, string>();

function hashOf(bytes: Uint8Array): string {
  const known = hashes.get(bytes);
  if (known !== undefined) return known;
  const hash = createHash('sha256').update(bytes).digest('hex').toUpperCase();
  hashes.set(bytes, hash);
  return hash;
}

/** The document, or 304 where the client has it already (RFC 9110 §13.1.2). */
function documentReply(
  request: ApiRequest,
  bytes: Uint8Array,
  contentType: string = jsonType,
  headers: Readonly<Record<string, string>> = {},
): Reply {
  const etag = `"${hashOf(bytes)}"`;
  const had = (request.headers['if-none-match'] ?? '')
    .split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''));
  const isKnown = had.includes(etag) || had.includes('*');
  return {
    kind: 'bytes',
    status: isKnown ? 304 : 200,
    contentType,
    body: isKnown ? [] : [bytes],
    headers: { etag, vary: 'Accept', ...headers },
  };
}
