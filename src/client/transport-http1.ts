import * as http from 'node:http';
import * as https from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import type { HttpRequest, HttpResponse, Transport } from './transport.ts';

/** Connections kept for the next request. Watches hold theirs and are not counted. */
const idleSocketsMax = 4;
/** TCP asks a silent peer for a sign of life after this time; the kernel closes the connection of a dead one. */
const keepAliveMs = 15_000;

/** HTTP/1.1 with keep-alive: a connection for each running request. */
export function createHttp1Transport(origin: string, tlsOptions: ConnectionOptions): Transport {
  const url = new URL(origin);
  const secure = url.protocol === 'https:';
  const agentOptions = { keepAlive: true, keepAliveMsecs: keepAliveMs, maxFreeSockets: idleSocketsMax };
  const agent = secure
    ? new https.Agent({ ...tlsOptions, ...agentOptions, ALPNProtocols: ['http/1.1'] })
    : new http.Agent(agentOptions);
  const send = secure ? https.request : http.request;
  return {
    request(request: HttpRequest): Promise<HttpResponse> {
      return new Promise((resolve, reject) => {
        const outgoing = send(
          {
            agent,
            host: url.hostname.replace(/^\[|\]$/g, ''),
            port: url.port === '' ? (secure ? 443 : 80) : url.port,
            method: request.method,
            path: request.path,
            headers: { ...request.headers, host: url.host },
            ...(request.signal === undefined ? {} : { signal: request.signal }),
          },
          (incoming) => {
            outgoing.removeListener('error', reject);
            outgoing.on('error', () => {}); // the reader of the body sees it
            incoming.on('error', () => {});
            incoming.socket.setNoDelay(true);
            resolve({ status: incoming.statusCode ?? 0, body: incoming });
          },
        );
        outgoing.once('error', reject);
        outgoing.end(request.body);
      });
    },
    close() {
      agent.destroy();
    },
  };
}
