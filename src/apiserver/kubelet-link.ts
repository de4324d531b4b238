import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { numberAt, objectsAt, stringAt } from '../api/fields.ts';
import { failure, notFound, serviceUnavailable } from '../api/status.ts';
import type { Store } from '../store/store.ts';
import type { ApiServerConfig } from './config.ts';
import { parseEntry } from './objects.ts';

export type KubeletAddress = { readonly host: string; readonly port: number };

export const kubeletPortDefault = 10_250;

/** The one place that talks to kubelets: with the API server's client certificate, and only to ones of our CA. */
export type KubeletLink = {
  /** GET of a path; resolves with the head of the answer. Throws StatusError. */
  get(nodeName: string, path: string, signal: AbortSignal): Promise<IncomingMessage>;
  /** A raw TLS connection, for requests that are upgraded. Throws StatusError. */
  connect(nodeName: string): Promise<TLSSocket>;
  /** Where the node's kubelet listens. Throws StatusError. */
  address(nodeName: string): KubeletAddress;
  /** Makes connections with our certificate, to kubelets of our CA alone. */
  agent(): Agent;
  close(): void;
};

export function createKubeletLink(
  store: Store,
  config: Pick<ApiServerConfig, 'pki' | 'limits'>,
): KubeletLink {
  let context: SecureContext | undefined;
  const secureContext = (): SecureContext => {
    context ??= createSecureContext({
      ca: config.pki.caCert,
      cert: config.pki.kubeletClientCert,
      key: config.pki.kubeletClientKey,
    });
    return context;
  };
  let made: Agent | undefined;
  const agent = (): Agent => {
    made ??= new Agent({ keepAlive: true, maxFreeSockets: 8, secureContext: secureContext() });
    return made;
  };
  return {
    async get(nodeName, path, signal) {
      const { host, port } = kubeletAddress(store, nodeName);
      return new Promise((resolve, reject) => {
        const send = (): void => {
          const request = httpsRequest({ agent: agent(), host, port, path, signal }, resolve);
          request.once('error', (cause: NodeJS.ErrnoException) => {
            // The kubelet ended an idle connection as we took it: another one is asked, at last a new one.
            if (request.reusedSocket && cause.code === 'ECONNRESET') send();
            else reject(unreachable(nodeName, cause));
          });
          request.end();
        };
        send();
      });
    },
    async connect(nodeName) {
      const { host, port } = kubeletAddress(store, nodeName);
      return new Promise((resolve, reject) => {
        const socket = connect({ host, port, secureContext: secureContext(), ALPNProtocols: ['http/1.1'] });
        const fail = (cause: Error): void => {
          socket.destroy();
          reject(unreachable(nodeName, cause));
        };
        socket.setTimeout(config.limits.kubeletConnectTimeoutMs, () => fail(new Error('timed out')));
        socket.once('error', fail);
        socket.once('secureConnect', () => {
          socket.setTimeout(0);
          socket.off('error', fail);
          resolve(socket);
        });
      });
    },
    address: (nodeName) => kubeletAddress(store, nodeName),
    agent,
    close: () => made?.destroy(),
  };
}

/**
 * Ends the request with an error when there is no connection after so long, ms; from then on whoever asks decides how long to
 * wait for the answer.
 */
export function boundConnecting(sending: ClientRequest, timeoutMs: number): void {
  sending.setTimeout(timeoutMs, () => sending.destroy(new Error('i/o timeout')));
  const isThere = (): void => void sending.setTimeout(0);
  sending.once('socket', (socket) => {
    if (!socket.connecting) isThere();
    else socket.once('connect', isThere);
  });
}

/** 502 with the kubelet's node. */
export function unreachable(nodeName: string, cause: Error): Error {
  return failure(
    502,
    'BadGateway',
    `error dialing backend: the kubelet of node ${nodeName} cannot be reached: ${cause.message}`,
  );
}

/** Where the Node's status says that its kubelet listens. */
function kubeletAddress(store: Store, nodeName: string): KubeletAddress {
  const entry = store.get(`/nodes/${nodeName}`);
  if (entry === undefined) throw notFound({ group: '', plural: 'nodes' }, nodeName);
  const node = parseEntry(entry);
  const address = objectsAt(node, 'status', 'addresses').find(({ type }) => type === 'InternalIP');
  const host = stringAt(address, 'address');
  if (host === '')
    throw serviceUnavailable(`no preferred addresses found for node ${JSON.stringify(nodeName)}`);
  const port = numberAt(node, 'status', 'daemonEndpoints', 'kubeletEndpoint', 'Port') ?? 0;
  return { host, port: port === 0 ? kubeletPortDefault : port };
}
