import { randomInt } from 'node:crypto';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { type Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import { pipeline, type Readable, Transform } from 'node:stream';
import { createGunzip, createInflate } from 'node:zlib';
import { stringMapAt } from '../api/fields.ts';
import { badRequest, notFound, serviceUnavailable } from '../api/status.ts';
import { admitConnection } from './connect-admission.ts';
import type { ApiContext, Target } from './context.ts';
import type { ApiRequest, Reply, UpgradedConnection } from './exchange.ts';
import { createLinkRewriter } from './html-links.ts';
import { boundConnecting } from './kubelet-link.ts';
import { requireEntry } from './list.ts';
import { parseEntry } from './objects.ts';
import { type Backend, nodeBackend, parseProxyName, podBackend, serviceBackend } from './proxy-location.ts';
import { type ProxiedOrigin, throughProxy } from './proxied-urls.ts';
import { proxyPath } from './request-info.ts';
import { relayUpgrade } from './upgrade-relay.ts';

/**
 * pods/proxy, services/proxy and nodes/proxy: an HTTP request passed on to a Pod, to one endpoint of a Service, or to a node's
 * kubelet. Bodies flow both ways unread and without a bound of their own: who may use proxy may send what it likes to its
 * own back end, and nothing is held here but what the sockets buffer.
 */
export async function proxyRequest(context: ApiContext, target: Target): Promise<Reply> {
  const { request } = target;
  const path = proxyPath(request.path);
  await admitConnection(context, target);
  if (path === '' && (request.method === 'GET' || request.method === 'HEAD')) {
    return redirect(`${request.path}/${queryOf(request)}`);
  }
  const { sending, backendHost } = openRequest(context, target, passedHeaders(request));
  const prefix = request.path.slice(0, request.path.length - path.length);
  return relayAnswer(request, sending, { prefix, backendHost, requestHost: hostOf(request) });
}

/**
 * Sends the body of `request` after `sending` and passes on what comes back; a client that leaves ends both. `origin`: where the
 * answer's URLs are to lead through; undefined for a back end that knows the path under which it is served.
 */
export async function relayAnswer(
  request: ApiRequest,
  sending: ClientRequest,
  origin: ProxiedOrigin | undefined,
): Promise<Reply> {
  const answering = answerOf(sending);
  const onGone = (): void => void sending.destroy(new Error('the client is gone'));
  request.signal.addEventListener('abort', onGone, { once: true });
  const body = request.rawBody();
  body.on('error', onGone);
  body.pipe(sending);
  const answer = await answering;
  answer.once('close', () => request.signal.removeEventListener('abort', onGone));
  const status = answer.statusCode ?? 502;
  const headers = answerHeaders(answer, origin);
  if (origin === undefined || request.method === 'HEAD' || status === 206) {
    return { kind: 'relayed', status, headers, body: answer };
  }
  return { kind: 'relayed', status, ...withLinks(answer, headers, origin) };
}

/** An HTML page with its links through the proxy. Compressed ones are sent without compression. */
function withLinks(
  answer: IncomingMessage,
  headers: Readonly<Record<string, string | string[]>>,
  origin: ProxiedOrigin,
): { readonly headers: Readonly<Record<string, string | string[]>>; readonly body: Readable } {
  const { 'content-length': _length, 'content-encoding': coding = 'identity', ...others } = headers;
  const decoder = decoders[String(coding).toLowerCase()];
  if (!/^text\/html\b/i.test(String(headers['content-type'])) || decoder === undefined) {
    return { headers, body: answer };
  }
  const rewriter = createLinkRewriter((url) => throughProxy(url, origin));
  const links = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      done(null, Buffer.from(rewriter.push(chunk.toString('latin1')), 'latin1'));
    },
    flush(done) {
      done(null, Buffer.from(rewriter.end(), 'latin1'));
    },
  });
  // What goes wrong destroys the last stream, where the reader hears of it.
  pipeline([answer, ...decoder(), links], () => {});
  return { headers: others, body: links };
}

/** By content coding; a page in another one is passed on as it is. */
const decoders: Readonly<Record<string, (() => readonly Transform[]) | undefined>> = {
  identity: () => [],
  gzip: () => [createGunzip()],
  deflate: () => [createInflate()],
};

function redirect(location: string): Reply {
  return { kind: 'bytes', status: 301, contentType: 'text/plain', body: [], headers: { location } };
}

function queryOf(request: ApiRequest): string {
  return request.rawUrl.slice(request.path.length);
}

/** An upgrade (WebSocket and the like) passed on. Resolves when either side has ended; throws StatusError. */
export async function relayProxyUpgrade(
  context: ApiContext,
  target: Target,
  incoming: IncomingMessage,
  client: UpgradedConnection,
): Promise<void> {
  await admitConnection(context, target);
  const upgrade = { connection: 'Upgrade', upgrade: incoming.headers.upgrade ?? '' };
  const { sending } = openRequest(context, target, { ...passedHeaders(target.request), ...upgrade });
  await relayUpgrade(sending, client, unreachable);
}

/** The Host that the client asked for; '' where it named none. */
function hostOf({ headers }: ApiRequest): string {
  return String(headers[':authority'] ?? headers.host ?? '');
}

/** The request towards the back end, not yet sent; it is told the client's Host, as Kubernetes does. Throws StatusError. */
function openRequest(
  context: ApiContext,
  target: Target,
  headers: Readonly<Record<string, string | string[]>>,
): { readonly sending: ClientRequest; readonly backendHost: string } {
  const { request } = target;
  const path = `${proxyPath(request.path) || '/'}${queryOf(request)}`;
  const { backend, agent } = findBackend(context, target);
  const address = backend.host.includes(':') ? `[${backend.host}]` : backend.host;
  const backendHost = `${address}:${backend.port}`;
  const options: RequestOptions = {
    host: backend.host,
    port: backend.port,
    method: request.method,
    path,
    headers: { ...headers, host: hostOf(request) || backendHost },
    setDefaultHeaders: false,
    agent: false,
  };
  // Other back ends' certificates are their own affair, as in Kubernetes: nobody could say whom to trust.
  const sending =
    agent !== undefined
      ? httpsRequest({ ...options, agent })
      : backend.scheme === 'https'
        ? httpsRequest({ ...options, rejectUnauthorized: false })
        : httpRequest(options);
  sending.setNoDelay(true);
  boundConnecting(sending, context.config.limits.kubeletConnectTimeoutMs);
  return { sending, backendHost };
}

/** The head of the answer. Rejects with StatusError 503, as Kubernetes does, whatever keeps the back end from answering. */
function answerOf(sending: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sending.once('response', resolve);
    sending.on('error', (cause) => reject(unreachable(cause)));
  });
}

/** Of a back end that does not answer. */
export function unreachable(cause: Error): Error {
  return serviceUnavailable(`error trying to reach service: ${cause.message}`);
}

type Chosen = {
  readonly backend: Backend;
  /** Which makes the connections to kubelets; undefined for all else. */
  readonly agent: Agent | undefined;
};

function findBackend(context: ApiContext, target: Target): Chosen {
  const { kind, namespace } = target;
  const asked = parseProxyName(target.name);
  if (asked === undefined)
    throw badRequest(`invalid ${kind.singular} request ${JSON.stringify(target.name)}`);
  const named: Target = { ...target, name: asked.name };
  if (kind.plural === 'nodes') {
    if (context.store.get(`/nodes/${asked.name}`) === undefined) throw notFound(kind, asked.name);
    const kubelet = context.kubelets.address(asked.name);
    if (asked.port === '' || Number(asked.port) === kubelet.port) {
      return { backend: { scheme: 'https', ...kubelet }, agent: context.kubelets.agent() };
    }
    return { backend: nodeBackend(asked, kubelet.host), agent: undefined };
  }
  const object = parseEntry(requireEntry(context, named), kind);
  if (kind.plural === 'pods') return { backend: podBackend(asked, object), agent: undefined };
  const slices = context.store
    .list(`discovery.k8s.io/endpointslices/${namespace}/`)
    .entries.map((entry) => parseEntry(entry))
    .filter((slice) => stringMapAt(slice, 'metadata', 'labels')['kubernetes.io/service-name'] === asked.name);
  return { backend: serviceBackend(asked, object, slices, (below) => randomInt(below)), agent: undefined };
}

/** Of one connection only (RFC 9110 §7.6.1), or proof of who the client is towards this server. */
const notPassed =
  /^(:.*|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings|host|expect|authorization|impersonate-.*|x-remote-.*)$/;

/** The client's headers for the back end, with where they come from. */
export function passedHeaders(request: ApiRequest): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !notPassed.test(name)) headers[name] = value;
  }
  const before = headers['x-forwarded-for'];
  headers['x-forwarded-for'] = [...(before === undefined ? [] : [before]), request.remoteAddress].join(', ');
  headers['x-forwarded-uri'] = request.path;
  headers['x-forwarded-proto'] = 'https';
  const host = hostOf(request);
  if (host !== '') headers['x-forwarded-host'] = host;
  return headers;
}

const notReturned =
  /^(connection|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|http2-settings)$/;

/** The back end's headers for the client. A redirect within the back end must lead through here again. */
function answerHeaders(
  answer: IncomingMessage,
  origin: ProxiedOrigin | undefined,
): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(answer.headers)) {
    if (value !== undefined && !notReturned.test(name)) headers[name] = value;
  }
  const { location } = answer.headers;
  if (location !== undefined && origin !== undefined) headers['location'] = throughProxy(location, origin);
  return headers;
}
