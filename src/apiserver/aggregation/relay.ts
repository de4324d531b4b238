import { randomInt } from 'node:crypto';
import type { ClientRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { ApiContext } from '../context.ts';
import type { ApiRequest, Reply, UpgradedConnection, User } from '../exchange.ts';
import { passedHeaders, relayAnswer, unreachable } from '../proxy.ts';
import { resolveService } from '../service-endpoints.ts';
import { relayUpgrade } from '../upgrade-relay.ts';
import type { RemoteApi } from './registry.ts';

/** Passes a request on to the server that answers for its group version, as the user that was authenticated here. */
export async function relayToApi(context: ApiContext, api: RemoteApi, request: ApiRequest): Promise<Reply> {
  return relayAnswer(request, openRequest(context, api, request, {}), undefined);
}

/** The same for an upgrade (exec, WebSocket and the like). Resolves when either side has ended; throws StatusError. */
export async function relayUpgradeToApi(
  context: ApiContext,
  api: RemoteApi,
  request: ApiRequest,
  upgrade: string,
  client: UpgradedConnection,
): Promise<void> {
  const sending = openRequest(context, api, request, { connection: 'Upgrade', upgrade });
  await relayUpgrade(sending, client, unreachable);
}

function openRequest(
  context: ApiContext,
  api: RemoteApi,
  request: ApiRequest,
  headers: Readonly<Record<string, string>>,
): ClientRequest {
  const { host, port } = resolveService(context.store, api.service, (below) => randomInt(below));
  return httpsRequest({
    agent: api.agent,
    host,
    port,
    method: request.method,
    path: request.rawUrl,
    headers: {
      ...passedHeaders(request),
      ...userHeaders(request.user),
      ...headers,
      host: `${api.serverName}:${api.service.port}`,
    },
    setDefaultHeaders: false,
  });
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
