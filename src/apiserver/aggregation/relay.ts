import { randomInt } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import type { ApiContext } from '../context.ts';
import type { ApiRequest, Reply, User } from '../exchange.ts';
import { passedHeaders, relayAnswer } from '../proxy.ts';
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
  return relayAnswer(request, sending, '');
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
