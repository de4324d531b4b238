import type { Kind } from '../api/kind.ts';
import {
  openApiV2Json,
  openApiV2Protobuf,
  openApiV2ProtobufMediaType,
  openApiV3Document,
  openApiV3Index,
} from '../api/openapi.ts';
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
    return answerDiscovery(request, context.customs.all(), context.aggregation.versions());
  if (path.startsWith('/openapi/v3/'))
    return openApiDocument(path.slice('/openapi/v3/'.length), context.customs.all());
  if (/^\/(healthz|livez|readyz)\/(ping|store)$/.test(path)) return textReply('ok');
  throw pathNotFound();
}

type PathHandler = (context: ApiContext, request: ApiRequest) => Reply | Promise<Reply>;

const exactPaths: Readonly<Record<string, PathHandler>> = {
  '/': () => jsonReply({ paths: Object.keys(exactPaths).filter((path) => path !== '/') }),
  '/api': (context, request) =>
    answerDiscovery(request, context.customs.all(), context.aggregation.versions()),
  '/apis': (context, request) =>
    answerDiscovery(request, context.customs.all(), context.aggregation.versions()),
  '/version': () =>
    jsonReply({ ...serverVersion, platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}` }),
  '/healthz': health('healthz'),
  '/livez': health('livez'),
  '/readyz': health('readyz'),
  '/metrics': async (context) => {
    const { contentType, text } = await context.metrics.render(context.store);
    return textReply(text, 200, contentType);
  },
  '/openapi/v2': (context, request) => openApiV2(request, context.customs.all()),
  '/openapi/v3': (context) => bytesReply(openApiV3Index(context.customs.all())),
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

function openApiV2(request: ApiRequest, custom: readonly Kind[]): Reply {
  for (const { type } of parseAccept(request.headers.accept)) {
    if (type === openApiV2ProtobufMediaType)
      return bytesReply(openApiV2Protobuf(custom), openApiV2ProtobufReplyType);
    if (acceptsJson(type)) break;
  }
  return bytesReply(openApiV2Json(custom));
}

function openApiDocument(path: string, custom: readonly Kind[]): Reply {
  const document = openApiV3Document(path, custom);
  if (document === undefined) throw pathNotFound();
  return bytesReply(document);
}

function bytesReply(bytes: Uint8Array, contentType: string = jsonType): Reply {
  return { kind: 'bytes', status: 200, contentType, body: [bytes] };
}
