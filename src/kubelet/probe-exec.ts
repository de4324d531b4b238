import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import type { Container, HTTPGetAction, Pod } from '../api/gen/core-v1.ts';
import type { Cri } from './cri.ts';
import { createGrpcClient, isGrpcError } from '../base/grpc.ts';
import { int32, message, string } from '../base/protobuf.ts';

/** What probes and life-cycle hooks have in common. */
export type Handler = {
  readonly exec?: { readonly command?: readonly string[] | undefined } | undefined;
  readonly httpGet?: HTTPGetAction | undefined;
  readonly tcpSocket?: { readonly host?: string | undefined; readonly port: number | string } | undefined;
  readonly grpc?: { readonly port: number; readonly service?: string | undefined } | undefined;
  readonly sleep?: { readonly seconds: number } | undefined;
};

export type HandlerTarget = {
  readonly pod: Pod;
  readonly container: Container;
  readonly containerId: string;
  readonly podIp: string;
};

export type HandlerResult = { readonly ok: true } | { readonly ok: false; readonly message: string };

/** Of an answer's body shown in an event, bytes. */
const bodyBytesMax = 1024;
const noKeepAlive = new HttpAgent({ keepAlive: false });

/** Does what the handler says, once. Never throws. */
export async function runHandler(
  handler: Handler,
  target: HandlerTarget,
  cri: Cri,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<HandlerResult> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  if (handler.exec !== undefined) return runExec(handler.exec.command ?? [], target, cri, timeoutMs, signal);
  if (handler.httpGet !== undefined) return runHttpGet(handler.httpGet, target, limited);
  if (handler.tcpSocket !== undefined) {
    const host = handler.tcpSocket.host ?? target.podIp;
    return runTcp(host, resolvePort(handler.tcpSocket.port, target.container), limited);
  }
  if (handler.sleep !== undefined) return sleep(handler.sleep.seconds * 1000, limited);
  if (handler.grpc !== undefined) return runGrpc(handler.grpc, target.podIp, timeoutMs, limited);
  return { ok: false, message: 'the handler names nothing to do' };
}

/** A port's number, or the number of the container's port of that name; 0 where there is none. */
export function resolvePort(port: number | string, container: Container): number {
  if (typeof port === 'number') return port;
  const named = container.ports?.find(({ name }) => name === port)?.containerPort;
  return named ?? (/^\d+$/.test(port) ? Number(port) : 0);
}

async function runExec(
  cmd: readonly string[],
  target: HandlerTarget,
  cri: Cri,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<HandlerResult> {
  try {
    const timeout = Math.ceil(timeoutMs / 1000);
    const answer = await cri.execSync(
      { containerId: target.containerId, cmd, timeout },
      { timeoutMs: timeoutMs + 2_000, signal },
    );
    if (answer.exitCode === 0) return { ok: true };
    const output = Buffer.concat([answer.stdout, answer.stderr]).subarray(0, bodyBytesMax).toString();
    return { ok: false, message: output === '' ? `command exited with ${answer.exitCode}` : output };
  } catch (error) {
    if (isGrpcError(error, 'DEADLINE_EXCEEDED'))
      return { ok: false, message: `command timed out after ${timeoutMs} ms` };
    return { ok: false, message: messageOf(error) };
  }
}

async function runHttpGet(
  action: HTTPGetAction,
  target: HandlerTarget,
  signal: AbortSignal,
): Promise<HandlerResult> {
  const host = action.host ?? target.podIp;
  const port = resolvePort(action.port, target.container);
  const headers = Object.fromEntries((action.httpHeaders ?? []).map(({ name, value }) => [name, value]));
  const hasAgent = Object.keys(headers).some((name) => name.toLowerCase() === 'user-agent');
  const isHttps = action.scheme === 'HTTPS';
  const request = isHttps ? (await import('node:https')).request : httpRequest;
  const options = {
    host,
    port,
    path: action.path === undefined || action.path === '' ? '/' : action.path,
    headers: { ...(hasAgent ? {} : { 'User-Agent': 'kube-probe/1.36' }), Accept: '*/*', ...headers },
    signal,
    ...(isHttps ? { rejectUnauthorized: false } : { agent: noKeepAlive }), // probes do not verify, says Kubernetes
  };
  return new Promise((resolve) => {
    const sent = request(options, (answer) => {
      const status = answer.statusCode ?? 0;
      answer.destroy();
      const ok = status >= 200 && status < 400;
      resolve(ok ? { ok } : { ok, message: `HTTP probe failed with statuscode: ${status}` });
    });
    sent.on('error', (error) => {
      const url = `${isHttps ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}${options.path}`;
      resolve({ ok: false, message: `Get "${url}": ${reasonOf(error, signal)}` });
    });
    sent.end();
  });
}

/** Spec: GRPC Health Checking Protocol, grpc.health.v1. */
const healthCheck = {
  path: '/grpc.health.v1.Health/Check',
  request: message({ service: string(1) }),
  response: message({ status: int32(1) }),
} as const;
const serving = 1;

async function runGrpc(
  { port, service = '' }: NonNullable<Handler['grpc']>,
  host: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<HandlerResult> {
  const client = createGrpcClient({ host, port });
  try {
    const { status } = await client.unary(healthCheck, { service }, { timeoutMs, signal });
    return status === serving ? { ok: true } : { ok: false, message: `service unhealthy (status ${status})` };
  } catch (error) {
    return { ok: false, message: reasonOf(error as Error, signal) };
  } finally {
    client.close();
  }
}

async function runTcp(host: string, port: number, signal: AbortSignal): Promise<HandlerResult> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, signal });
    socket.once('connect', () => {
      socket.destroy();
      resolve({ ok: true });
    });
    socket.once('error', (error) => {
      resolve({ ok: false, message: `dial tcp ${host}:${port}: ${reasonOf(error, signal)}` });
    });
  });
}

async function sleep(ms: number, signal: AbortSignal): Promise<HandlerResult> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
  return { ok: true };
}

function reasonOf(error: NodeJS.ErrnoException, signal: AbortSignal): string {
  if (signal.aborted) return 'context deadline exceeded';
  if (error.code === 'ECONNREFUSED') return 'connect: connection refused';
  return messageOf(error);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
