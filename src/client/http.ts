import { readFile } from 'node:fs/promises';
import { isJsonObject, type JsonObject, type KubeObject } from '../api/object.ts';
import { apiVersionOf, type Resource, resourcePath } from '../api/resource.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import {
  type ApiClient,
  ApiError,
  type DeleteOptions,
  type ListOptions,
  type PatchKind,
  type WatchEvent,
  type WriteOptions,
} from './client.ts';
import { apiErrorOfStatus, apiErrorOfTransport } from './errors.ts';
import type { ClientConfig } from './kubeconfig.ts';
import { createTransport, type HttpResponse, type Transport } from './transport.ts';
import { splitLines } from './watch-lines.ts';

export type ApiClientOptions = {
  /** Sent as User-Agent. @default 'fairlead' */
  readonly userAgent?: string;
  /** A request other than a watch is given up after this time. @default 30000 */
  readonly requestTimeoutMs?: number;
  /** Least time after which the server ends a watch; up to the same again is added at random. @default 300 */
  readonly watchSeconds?: number;
  readonly clock?: Clock;
  readonly random?: () => number;
};

/** Longest line of a watch stream. etcd stores at most 1.5 MiB an object, JSON escaping may double it. */
const watchLineBytesMax = 16 << 20;
/** Largest body of any other answer. */
const bodyBytesMax = 256 << 20;
/** Objects a page of a list. Bounds the longest pause that one JSON.parse makes. */
const listPageSize = 1000;
const tokenLifetimeMs = 60_000;

const patchTypes = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
} as const;

type Call = {
  readonly method: string;
  readonly path: string;
  readonly contentType?: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
};

/**
 * A client of any Kubernetes API server, over HTTP/2 where the server speaks it.
 * A call that its own `signal` ends rejects with the signal's reason; every other failure is an ApiError.
 */
export function createApiClient(config: ClientConfig, options: ApiClientOptions = {}): ApiClient {
  const clock = options.clock ?? systemClock;
  const transport = createTransport({ origin: config.server, tls: tlsOptionsOf(config), clock });
  return new HttpApiClient(config, transport, { ...options, clock });
}

class HttpApiClient implements ApiClient {
  readonly #server: string;
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #requestTimeoutMs: number;
  readonly #watchSeconds: number;
  readonly #userAgent: string;
  readonly #tokenOf: () => Promise<string | undefined>;

  constructor(config: ClientConfig, transport: Transport, options: ApiClientOptions) {
    this.#server = config.server;
    this.#transport = transport;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? 30_000;
    this.#watchSeconds = options.watchSeconds ?? 300;
    this.#userAgent = options.userAgent ?? 'fairlead';
    this.#tokenOf = tokenSource(config, this.#clock);
  }

  get<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.#object<T>({ method: 'GET', path: resourcePath(resource, namespace, name), signal });
  }

  list<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}) {
    return listAll<T>((call) => this.#text(call), resource, options);
  }

  watch<T extends KubeObject>(
    resource: Resource<T>,
    resourceVersion: string,
    options: ListOptions = {},
  ): AsyncIterable<WatchEvent<T>> {
    const query = queryOf(options);
    query.set('watch', 'true');
    query.set('allowWatchBookmarks', 'true');
    query.set('resourceVersion', resourceVersion);
    query.set('timeoutSeconds', String(Math.round(this.#watchSeconds * (1 + this.#random()))));
    const path = `${resourcePath(resource, options.namespace)}?${query.toString()}`;
    const { signal } = options;
    const open = (): Promise<HttpResponse> => this.#open({ method: 'GET', path, signal });
    return watchEvents<T>(open, resource, { server: this.#server, signal });
  }

  create<T extends KubeObject>(
    resource: Resource<T>,
    body: T,
    { subresource, signal }: WriteOptions = {},
  ): Promise<T> {
    // A subresource such as binding or token is created below its object, so the object's name stands in the path.
    const name = subresource === undefined ? undefined : body.metadata?.name;
    const path = resourcePath(resource, body.metadata?.namespace, name, subresource);
    return this.#object<T>({ method: 'POST', path, body, signal });
  }

  replace<T extends KubeObject>(
    resource: Resource<T>,
    body: T,
    { subresource, signal }: WriteOptions = {},
  ): Promise<T> {
    const { namespace, name } = body.metadata ?? {};
    const path = resourcePath(resource, namespace, name, subresource);
    return this.#object<T>({ method: 'PUT', path, body, signal });
  }

  patch<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
    kind: PatchKind,
    body: unknown,
    { subresource, signal }: WriteOptions = {},
  ): Promise<T> {
    const path = resourcePath(resource, namespace, name, subresource);
    return this.#object<T>({ method: 'PATCH', path, body, contentType: patchTypes[kind], signal });
  }

  async delete(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): Promise<void> {
    const { gracePeriodSeconds, propagationPolicy, uid, signal } = options;
    const preconditions = uid === undefined ? undefined : { uid };
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      gracePeriodSeconds,
      propagationPolicy,
      preconditions,
    };
    await this.#text({ method: 'DELETE', path: resourcePath(resource, namespace, name), body, signal });
  }

  raw(path: string, signal?: AbortSignal): Promise<string> {
    return this.#text({ method: 'GET', path, signal });
  }

  close(): void {
    this.#transport.close();
  }

  async #open(call: Call): Promise<HttpResponse> {
    const token = await this.#tokenOf();
    return this.#transport.request({
      method: call.method,
      path: call.path,
      headers: {
        accept: 'application/json',
        'user-agent': this.#userAgent,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(call.body === undefined ? {} : { 'content-type': call.contentType ?? 'application/json' }),
      },
      body: call.body === undefined ? undefined : JSON.stringify(call.body),
      signal: call.signal,
    });
  }

  /** One request and its whole answer. Bound: requestTimeoutMs. */
  async #text(call: Call): Promise<string> {
    const scope = new AbortController();
    const onAbort = (): void => scope.abort(call.signal?.reason);
    call.signal?.throwIfAborted();
    call.signal?.addEventListener('abort', onAbort, { once: true });
    let timedOut = false;
    const cancelTimer = this.#clock.after(this.#requestTimeoutMs, () => {
      timedOut = true;
      scope.abort();
    });
    try {
      const response = await this.#open({ ...call, signal: scope.signal });
      const body = await readText(response.body);
      if (response.status < 200 || response.status > 299) throw apiErrorOfStatus(response.status, body);
      return body;
    } catch (cause) {
      if (timedOut) {
        throw new ApiError(
          'Timeout',
          `${call.method} ${call.path}: no answer in ${this.#requestTimeoutMs} ms`,
        );
      }
      call.signal?.throwIfAborted();
      throw apiErrorOfTransport(this.#server, cause);
    } finally {
      cancelTimer();
      call.signal?.removeEventListener('abort', onAbort);
    }
  }

  /** The server answers with the kind that the path names: the type is that of the caller's resource. */
  async #object<T>(call: Call): Promise<T> {
    return parseObject(await this.#text(call)) as unknown as T;
  }
}

function tlsOptionsOf(config: ClientConfig) {
  const host = new URL(config.server).hostname.replace(/^\[|\]$/g, '');
  return {
    ...(config.certificateAuthority === undefined ? {} : { ca: config.certificateAuthority }),
    ...(config.clientCertificate === undefined ? {} : { cert: config.clientCertificate }),
    ...(config.clientKey === undefined ? {} : { key: config.clientKey }),
    // SNI names must not be addresses (RFC 6066 §3); the certificate is then checked against the address.
    ...(config.tlsServerName === undefined ? {} : { servername: config.tlsServerName }),
    ...(config.tlsServerName === undefined && !/^[\d.]+$|:/.test(host) ? { servername: host } : {}),
    rejectUnauthorized: config.insecureSkipTlsVerify !== true,
  };
}

function tokenSource(config: ClientConfig, clock: Clock): () => Promise<string | undefined> {
  const { token, tokenFile } = config;
  if (tokenFile === undefined) return () => Promise.resolve(token);
  let cached: { readonly token: string; readonly readAtMs: number } | undefined;
  return async () => {
    const nowMs = clock.monotonicMs();
    if (cached !== undefined && nowMs - cached.readAtMs < tokenLifetimeMs) return cached.token;
    try {
      cached = { token: (await readFile(tokenFile, 'utf8')).trim(), readAtMs: nowMs };
      return cached.token;
    } catch (cause) {
      throw new ApiError('Unauthorized', `cannot read the token file ${tokenFile}`, { cause });
    }
  };
}

function queryOf(options: ListOptions): URLSearchParams {
  const query = new URLSearchParams();
  if (options.labelSelector !== undefined) query.set('labelSelector', options.labelSelector);
  if (options.fieldSelector !== undefined) query.set('fieldSelector', options.fieldSelector);
  return query;
}

async function listAll<T extends KubeObject>(
  text: (call: Call) => Promise<string>,
  resource: Resource<T>,
  options: ListOptions,
): Promise<{ readonly items: readonly T[]; readonly resourceVersion: string }> {
  const items: T[] = [];
  let token: string | undefined;
  let paged = true;
  for (;;) {
    const query = queryOf(options);
    if (paged) query.set('limit', String(listPageSize));
    if (token !== undefined) query.set('continue', token);
    const search = query.toString();
    const path = `${resourcePath(resource, options.namespace)}${search === '' ? '' : `?${search}`}`;
    let page: JsonObject;
    try {
      page = parseObject(await text({ method: 'GET', path, signal: options.signal }));
    } catch (error) {
      // The snapshot behind the continue token is gone: only a list in one piece is consistent now.
      if (token === undefined || !(error instanceof ApiError) || error.code !== 'Expired') throw error;
      items.length = 0;
      token = undefined;
      paged = false;
      continue;
    }
    for (const item of Array.isArray(page['items']) ? page['items'] : []) {
      if (isJsonObject(item)) items.push(named(resource, item) as unknown as T);
    }
    const metadata = isJsonObject(page['metadata']) ? page['metadata'] : {};
    const next = metadata['continue'];
    if (typeof next !== 'string' || next === '') {
      return { items, resourceVersion: textField(metadata, 'resourceVersion') };
    }
    token = next;
  }
}

/** Items of a list carry no apiVersion and kind on the wire. */
function named(resource: Resource, item: JsonObject): JsonObject {
  item['apiVersion'] ??= apiVersionOf(resource);
  item['kind'] ??= resource.kind;
  return item;
}

async function* watchEvents<T extends KubeObject>(
  open: () => Promise<HttpResponse>,
  resource: Resource<T>,
  context: { readonly server: string; readonly signal: AbortSignal | undefined },
): AsyncGenerator<WatchEvent<T>> {
  try {
    context.signal?.throwIfAborted();
    const response = await open();
    if (response.status !== 200) throw apiErrorOfStatus(response.status, await readText(response.body));
    for await (const line of splitLines(response.body, watchLineBytesMax)) {
      yield watchEventOf<T>(line, resource);
    }
  } catch (cause) {
    context.signal?.throwIfAborted();
    throw apiErrorOfTransport(context.server, cause);
  }
}

function watchEventOf<T extends KubeObject>(line: string, resource: Resource<T>): WatchEvent<T> {
  const event = parseObject(line);
  const object = isJsonObject(event['object']) ? event['object'] : {};
  switch (event['type']) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type: event['type'], object: named(resource, object) as unknown as T };
    case 'BOOKMARK': {
      const metadata = isJsonObject(object['metadata']) ? object['metadata'] : {};
      const annotations = isJsonObject(metadata['annotations']) ? metadata['annotations'] : {};
      return {
        type: 'BOOKMARK',
        resourceVersion: textField(metadata, 'resourceVersion'),
        initialEventsEnd: annotations['k8s.io/initial-events-end'] === 'true',
      };
    }
    case 'ERROR':
      throw apiErrorOfStatus(Number(object['code'] ?? 500), JSON.stringify(object));
    default:
      throw new ApiError('Unknown', `unknown watch event type: ${line.slice(0, 200)}`);
  }
}

function textField(object: JsonObject, field: string): string {
  const value = object[field];
  return typeof value === 'string' ? value : '';
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > bodyBytesMax) throw new ApiError('Unknown', `an answer is longer than ${bodyBytesMax} bytes`);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ApiError('Unknown', `the server's answer is not JSON: ${text.slice(0, 200)}`, { cause });
  }
  if (!isJsonObject(value))
    throw new ApiError('Unknown', `the server's answer is no object: ${text.slice(0, 200)}`);
  return value;
}
