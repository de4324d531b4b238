import { randomInt } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { serviceUnavailable } from '../../api/status.ts';
import type { ApiContext } from '../context.ts';
import type { ApiRequest, Reply, User } from '../exchange.ts';
import { answerHeaders, passedHeaders } from '../proxy.ts';
import { resolveService } from '../service-endpoints.ts';
import type { RemoteApi } from './registry.ts';

/** Passes a request on to the server that answers for its group version, as the user that was authenticated here. */
export async function relayToApi(context: ApiContext, api: RemoteApi, request: ApiRequest): Promise<Reply> {
  const { host, port } = resolveService(context.store, api.service, (below) => randomInt(below));
  const sending = httpsRequest({
    agent: api.agent,
    host,
    port,
    method: request.method,
    path: request.rawUrl,
    headers: {
      ...passedHeaders(request),
      ...userHeaders(request.user),
      host: `${api.serverName}:${api.service.port}`,
    },
    setDefaultHeaders: false,
  });
  const onGone = (): void => void sending.destroy(new Error('the client is gone'));
  request.signal.addEventListener('abort', onGone, { once: true });
  const answering = new Promise<IncomingMessage>((resolve, reject) => {
    sending.once('response', resolve);
    sending.on('error', (cause) =>
      reject(serviceUnavailable(`error trying to reach service: ${cause.message}`)),
    );
  });
  const body = request.rawBody();
  body.on('error', onGone);
  body.pipe(sending);
  const answer = await answering;
  answer.once('close', () => request.signal.removeEventListener('abort', onGone));
  return {
    kind: 'relayed',
    status: answer.statusCode ?? 502,
    headers: answerHeaders(answer, ''),
    body: answer,
  };
}

/** As kube-apiserver tells an extension server who asks (`--requestheader-…`). */
function userHeaders(user: User): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {
    'x-remote-user': user.name,
    'x-remote-group': [...user.groups],
  };
  if (user.uid !== '') headers['x-remote-uid'] = user.uid;
  for (const [key, values] of Object.entries(user.extra)) {
    headers[`x-remote-extra-${encodeURIComponent(key.toLowerCase())}`] = [...values];
  }
  return headers;
}
