import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { readBounded } from '../bounded-body.ts';
import type { Backend } from '../proxy-location.ts';
import type { RemoteApi } from './registry.ts';

export type ApiAnswer = { readonly status: number; readonly etag: string; readonly body: Buffer };

/**
 * Gets what another server says of itself, as the aggregator. `etag`: of what is known already, or empty. Rejects when there is no
 * answer, or one of more than `bytesMax` bytes.
 */
export async function getFromApi(
  api: RemoteApi,
  { host, port }: Backend,
  path: string,
  signal: AbortSignal,
  { bytesMax, etag }: { readonly bytesMax: number; readonly etag: string },
): Promise<ApiAnswer> {
  const headers = {
    accept: 'application/json',
    host: `${api.serverName}:${api.service.port}`,
    'x-remote-user': 'system:kube-aggregator',
    'x-remote-group': 'system:masters',
    ...(etag === '' ? {} : { 'if-none-match': etag }),
  };
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const sending = httpsRequest({ agent: api.agent, host, port, signal, path, headers }, resolve);
    sending.once('error', reject);
    sending.end();
  });
  const body = await readBounded(answer, bytesMax, `the answer to ${path}`);
  return { status: answer.statusCode ?? 0, etag: answer.headers.etag ?? '', body };
}
