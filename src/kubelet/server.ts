import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Duplex } from 'node:stream';
import type { Pod } from '../api/gen/core-v1.ts';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import { LogError, openContainerLog } from './container-logs.ts';
import type { Cri } from './cri.ts';
import { parseLogQuery } from './log-lines.ts';
import type { PodManager } from './pod-manager.ts';
import type { NodePaths } from './pod-paths.ts';
import type { ServerTls } from './run.ts';
import { newestContainer, readySandbox } from './runtime-pod.ts';
import type { RuntimeView } from './runtime-view.ts';
import { relayStream } from './stream-relay.ts';

export type ServerDeps = {
  readonly nodeName: string;
  readonly address: string;
  readonly tls: ServerTls;
  readonly cri: Cri;
  readonly view: RuntimeView;
  readonly pods: PodManager;
  readonly paths: NodePaths;
};

const port = 10_250;
/** Open connections; more are not accepted until one ends. Each exec, log or port-forward has one. */
const connectionsMax = 1024;

/** An answer that is no success; `message` is for the user. */
class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * The kubelet's HTTPS API, for the API server alone: every client must have a certificate of the cluster's CA.
 * Logs, exec, attach, port-forward, the Pods of the node, health and metrics.
 */
export async function runKubeletServer(deps: ServerDeps, log: Logger, signal: AbortSignal): Promise<void> {
  const { cert, key, ca } = await readTls(deps.tls);
  const server = createServer(
    { cert, key, ca, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      serve(deps, request, response).catch((error: unknown) => answerError(response, error, log));
    },
  );
  server.maxConnections = connectionsMax;
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    serveStream(deps, request, socket, head).catch((error: unknown) => refuseUpgrade(socket, error, log));
  });
  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject);
  server.listen({ host: deps.address, port }, listening.resolve);
  await listening.promise;
  await aborted(signal);
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

async function readTls({ certificateFile, keyFile, clientCaFile }: ServerTls) {
  try {
    const [cert, key, ca] = await Promise.all([
      readFile(certificateFile),
      readFile(keyFile),
      readFile(clientCaFile),
    ]);
    return { cert, key, ca };
  } catch (cause) {
    const files = [certificateFile, keyFile, clientCaFile].join(', ');
    throw new Error(
      `the node agent's server needs ${files}; name others with --tls-cert, --tls-key and --client-ca`,
      { cause },
    );
  }
}

function answerError(response: ServerResponse, error: unknown, log: Logger): void {
  const { status, message } = describe(error, log);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${message}\n`);
}

function refuseUpgrade(socket: Duplex, error: unknown, log: Logger): void {
  const { status, message } = describe(error, log);
  const body = `${message}\n`;
  socket.on('error', () => {}); // the client has gone: nobody to tell
  socket.end(
    `HTTP/1.1 ${status} Error\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function describe(error: unknown, log: Logger): { readonly status: number; readonly message: string } {
  if (error instanceof HttpError) return error;
  if (error instanceof LogError || error instanceof RangeError)
    return { status: 400, message: error.message };
  log.warn('kubelet request failed', { error });
  return { status: 500, message: error instanceof Error ? error.message : String(error) };
}

async function serve(deps: ServerDeps, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'https://kubelet');
  const [verb = '', ...rest] = url.pathname.slice(1).split('/').map(decodeURIComponent);
  switch (verb) {
    case 'healthz':
      response.end('ok');
      return;
    case 'pods': {
      const body = { kind: 'PodList', apiVersion: 'v1', metadata: {}, items: deps.pods.pods() };
      response.setHeader('Content-Type', 'application/json').end(JSON.stringify(body));
      return;
    }
    case 'containerLogs':
      await serveLog(deps, rest, url.searchParams, response);
      return;
    case 'stats': {
      if (rest[0] !== 'summary') throw new HttpError(404, `${url.pathname} is not an address of the kubelet`);
      const { statsSummary } = await import('./stats-summary.ts');
      const { stats } = await deps.cri.listContainerStats({});
      const summary = statsSummary(deps.nodeName, stats, Date.now());
      response.setHeader('Content-Type', 'application/json').end(JSON.stringify(summary));
      return;
    }
    case 'metrics': {
      const { renderKubeletMetrics } = await import('./metrics.ts');
      response
        .setHeader('Content-Type', 'text/plain; version=0.0.4')
        .end(await renderKubeletMetrics(deps.cri));
      return;
    }
    case 'exec':
    case 'attach':
    case 'portForward':
      throw new HttpError(400, 'unable to upgrade: the request must ask for SPDY/3.1 or a WebSocket');
    default:
      throw new HttpError(404, `${url.pathname} is not an address of the kubelet`);
  }
}

function requirePod(deps: ServerDeps, namespace: string | undefined, name: string | undefined): Pod {
  const pod = deps.pods.find(namespace ?? '', name ?? '');
  if (pod === undefined) throw new HttpError(404, `pod "${namespace}/${name}" is not on this node`);
  return pod;
}

async function serveLog(
  deps: ServerDeps,
  [namespace, name, container = '']: readonly string[],
  query: URLSearchParams,
  response: ServerResponse,
): Promise<void> {
  const pod = requirePod(deps, namespace, name);
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const parsed = parseLogQuery(query, Date.now());
  const pieces = await openContainerLog(pod, container, parsed, deps, gone.signal);
  response.writeHead(200, { 'Content-Type': 'text/plain' });
  response.flushHeaders();
  for await (const piece of pieces) {
    if (gone.signal.aborted) return;
    if (!response.write(piece)) await drained(response, gone.signal);
  }
  response.end();
}

function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    response.once('drain', resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function serveStream(
  deps: ServerDeps,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'https://kubelet');
  const [verb = '', namespace, name, container = ''] = url.pathname
    .slice(1)
    .split('/')
    .map(decodeURIComponent);
  const pod = requirePod(deps, namespace, name);
  const streamUrl = await streamUrlOf(deps, verb, pod, container, url.searchParams);
  await relayStream(request, socket, head, streamUrl);
}

async function streamUrlOf(
  deps: ServerDeps,
  verb: string,
  pod: Pod,
  container: string,
  query: URLSearchParams,
): Promise<string> {
  const runtime = await deps.view.podOf(pod.metadata?.uid ?? '');
  const flag = (...names: readonly string[]) =>
    names.some((one) => query.get(one) === 'true' || query.get(one) === '1');
  if (verb === 'portForward') {
    const sandbox = readySandbox(runtime);
    if (sandbox === undefined) throw new HttpError(400, `pod ${pod.metadata?.name} is not running`);
    const ports = query.getAll('port').map(Number);
    return (await deps.cri.portForward({ podSandboxId: sandbox.id, port: ports })).url;
  }
  const found = newestContainer(runtime, container);
  if (found?.state !== 'running') {
    throw new HttpError(400, `container ${container} of pod ${pod.metadata?.name} is not running`);
  }
  const tty = flag('tty');
  const streams = {
    containerId: found.id,
    tty,
    stdin: flag('stdin', 'input'),
    stdout: flag('stdout', 'output'),
    stderr: flag('stderr', 'error') && !tty, // a terminal has one output
  };
  if (verb === 'exec') return (await deps.cri.exec({ ...streams, cmd: query.getAll('command') })).url;
  if (verb === 'attach') return (await deps.cri.attach(streams)).url;
  throw new HttpError(404, `/${verb} is not a stream of the kubelet`);
}
