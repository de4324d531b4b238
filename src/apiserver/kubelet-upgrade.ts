import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { failure } from '../api/status.ts';
import type { UpgradedConnection } from './exchange.ts';
import { boundConnecting, type KubeletLink, unreachable } from './kubelet-link.ts';
import { relayUpgrade } from './upgrade-relay.ts';

/** Headers that belong to the upgrade and go to the kubelet as they came. */
const upgradeHeaders = ['connection', 'upgrade', 'x-stream-protocol-version', 'content-length', 'user-agent'];

/** Hands a client's SPDY connection to a kubelet. Resolves when either side has ended; throws StatusError. */
export async function relaySpdy(
  kubelets: KubeletLink,
  wanted: { readonly nodeName: string; readonly path: string; readonly incoming: IncomingMessage },
  client: UpgradedConnection,
  connectTimeoutMs: number,
): Promise<void> {
  const { nodeName, path, incoming } = wanted;
  const headers = upgradeHeaders.flatMap((name) => {
    const value = incoming.headersDistinct[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const sending = httpsRequest({
    ...kubelets.address(nodeName),
    agent: kubelets.agent(),
    method: incoming.method,
    path,
    headers: Object.fromEntries(headers),
  });
  boundConnecting(sending, connectTimeoutMs);
  await relayUpgrade(sending, client, (cause) => unreachable(nodeName, cause));
}

/** A connection to a kubelet that now speaks SPDY/3.1. */
export type SpdyConnection = {
  readonly socket: TLSSocket;
  /** What the kubelet sent right behind its answer's head. */
  readonly head: Buffer;
};

/** The answer's head, and what is read of the body of a refusal, bytes. Beyond it: 502. */
export const answerBytesMax = 64 * 1024;

/**
 * Asks a kubelet to stream by SPDY/3.1 with the given protocol of Kubernetes on top, such as v4.channel.k8s.io.
 * Throws StatusError: the kubelet's own refusal, or 502.
 */
export async function openSpdy(
  kubelets: KubeletLink,
  nodeName: string,
  path: string,
  protocol: string,
): Promise<SpdyConnection> {
  const socket = await kubelets.connect(nodeName);
  socket.setNoDelay(true);
  socket.write(
    [
      `POST ${path} HTTP/1.1`,
      `Host: ${socket.remoteAddress ?? 'kubelet'}`,
      'Connection: Upgrade',
      'Upgrade: SPDY/3.1',
      `X-Stream-Protocol-Version: ${protocol}`,
      'Content-Length: 0',
      '\r\n',
    ].join('\r\n'),
  );
  try {
    const { status, rest } = await readAnswer(socket);
    if (status === 101) return { socket, head: rest };
    const text = await readRefusal(socket, rest);
    throw failure(status, reasonOf(status), text === '' ? `the kubelet answered ${status}` : text);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function reasonOf(status: number): string {
  if (status === 404) return 'NotFound';
  if (status === 403) return 'Forbidden';
  return status < 500 ? 'BadRequest' : 'InternalError';
}

const headEnd = '\r\n\r\n';

function readAnswer(socket: TLSSocket): Promise<{ readonly status: number; readonly rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let bytes: Buffer = Buffer.of();
    const settle = (finish: () => void): void => {
      socket.off('data', onData);
      socket.off('error', onEnd);
      socket.off('close', onEnd);
      socket.pause();
      finish();
    };
    const onEnd = (): void => settle(() => reject(badAnswer('ended the connection')));
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf(headEnd);
      if (end === -1) {
        if (bytes.length > answerBytesMax) settle(() => reject(badAnswer('sent too large a head')));
        return;
      }
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(bytes.subarray(0, end).toString('latin1'))?.[1];
      if (status === undefined) settle(() => reject(badAnswer('sent no HTTP')));
      else settle(() => resolve({ status: Number(status), rest: bytes.subarray(end + headEnd.length) }));
    };
    socket.on('data', onData);
    socket.once('error', onEnd);
    socket.once('close', onEnd);
    socket.resume();
  });
}

function badAnswer(what: string): Error {
  return failure(502, 'BadGateway', `error dialing backend: the kubelet ${what} when asked to stream`);
}

/** How long a kubelet may take to say why not, ms. */
const refusalTimeoutMs = 2_000;

/** What comes until the connection ends, the time is over or it is enough. */
async function readRefusal(socket: TLSSocket, first: Buffer): Promise<string> {
  let text = first.toString();
  socket.setTimeout(refusalTimeoutMs, () => socket.destroy());
  try {
    for await (const chunk of socket) {
      text += String(chunk);
      if (text.length > answerBytesMax) break;
    }
  } catch {
    // cut off: what came until now is the answer
  }
  return text.slice(0, answerBytesMax).trim();
}
