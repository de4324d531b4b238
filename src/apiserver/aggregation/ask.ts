import { request as httpsRequest } from 'node:https';
import type { Backend } from '../proxy-location.ts';
import type { RemoteApi } from './registry.ts';

export type ApiAnswer = { readonly status: number; readonly etag: string; readonly body: Buffer };

/**
 * Gets what another server says of itself, as the aggregator. `etag`: of what is known already, or empty. Rejects when there is no
 * answer, or one of more than `bytesMax` bytes.
 */
export function getFromApi(
  api: RemoteApi,
  { host, port }: Backend,
  path: string,
  signal: AbortSignal,
  { bytesMax, etag }: { readonly bytesMax: number; readonly etag: string },
): Promise<ApiAnswer> {
  return new Promise((resolve, reject) => {
    const headers = {
      accept: 'application/json',
      host: `${api.serverName}:${api.service.port}`,
      'x-remote-user': 'system:kube-aggregator',
      'x-remote-group': 'system:masters',
      ...(etag === '' ? {} : { 'if-none-match': etag }),
    };
    const sending = httpsRequest({ agent: api.agent, host, port, signal, path, headers }, (answer) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > bytesMax)
          answer.destroy(new Error(`the answer to ${path} is larger than ${bytesMax} bytes`));
      });
      answer.once('error', reject);
      answer.once('end', () => {
        resolve({
          status: answer.statusCode ?? 0,
          etag: answer.headers.etag ?? '',
          body: Buffer.concat(chunks),
        });
      });
    });
    sending.once('error', reject);
    sending.end();
  });
}
