import { randomInt } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { numberAt, objectAt, stringAt } from '../../api/fields.ts';
import type { Json, JsonObject } from '../../api/object.ts';
import { StatusError } from '../../api/status.ts';
import type { Clock } from '../../base/clock.ts';
import type { Store } from '../../store/store.ts';
import { readBounded } from '../bounded-body.ts';
import { resolveService } from '../service-endpoints.ts';

/** Where a webhook is: a `clientConfig` as it is stored. */
export type WebhookAddress = {
  readonly place:
    | { readonly kind: 'url'; readonly url: string }
    | {
        readonly kind: 'service';
        readonly namespace: string;
        readonly name: string;
        readonly port: number;
        readonly path: string;
      };
  /** PEM; '' trusts what this machine trusts. */
  readonly authorities: string;
};

/** A webhook that could not be asked, or that gave no answer. The text is Kubernetes' own where it has one. */
export class WebhookError extends Error {
  override readonly name = 'WebhookError';
}

export type WebhookClient = {
  /**
   * Posts a review and resolves with the JSON of the answer. Rejects with WebhookError.
   * @param timeoutMs of the whole exchange, also told to the webhook
   */
  post(address: WebhookAddress, body: JsonObject, timeoutMs: number, signal: AbortSignal): Promise<Json>;
  close(): void;
};

/** Largest answer of a webhook, bytes. Beyond it the call has failed: no object of the API is as large. */
export const answerBytesMax = 8 * 1024 * 1024;
/** Webhooks to which connections are kept, by address and authority. Past it those not used for longest are closed. */
const agentsMax = 64;
/** Open connections to one webhook; more calls than these wait, within their time. */
const socketsMax = 64;
const freeSocketsMax = 8;
/** What of an unexpected answer is told. */
const excerptMax = 256;

export function readAddress(clientConfig: JsonObject | undefined): WebhookAddress {
  const authorities = Buffer.from(stringAt(clientConfig, 'caBundle'), 'base64').toString();
  const service = objectAt(clientConfig, 'service');
  if (service === undefined) {
    return { place: { kind: 'url', url: stringAt(clientConfig, 'url') }, authorities };
  }
  return {
    place: {
      kind: 'service',
      namespace: stringAt(service, 'namespace'),
      name: stringAt(service, 'name'),
      port: numberAt(service, 'port') ?? 443,
      path: stringAt(service, 'path') || '/',
    },
    authorities,
  };
}

type Destination = {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** Whom the certificate must name. */
  readonly serverName: string;
  /** For messages. */
  readonly url: string;
};

export function createWebhookClient(store: Store, clock: Clock): WebhookClient {
  const agents = new Map<string, Agent>();

  function agentOf({ host, port, serverName }: Destination, authorities: string): Agent {
    const key = JSON.stringify([host, port, serverName, authorities]);
    const known = agents.get(key);
    agents.delete(key);
    const agent =
      known ??
      new Agent({
        keepAlive: true,
        maxSockets: socketsMax,
        maxFreeSockets: freeSocketsMax,
        ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
        ...(authorities === '' ? {} : { ca: authorities }),
      });
    agents.set(key, agent); // last: it was used just now
    for (const [oldest, unused] of agents) {
      if (agents.size <= agentsMax) break;
      agents.delete(oldest);
      unused.destroy();
    }
    return agent;
  }

  return {
    async post(address, body, timeoutMs, signal) {
      const destination = destinationOf(store, address, timeoutMs);
      const agent = agentOf(destination, address.authorities);
      const late = new AbortController();
      const cancel = clock.after(timeoutMs, () => late.abort(new WebhookError('context deadline exceeded')));
      try {
        const bytes = Buffer.from(JSON.stringify(body));
        return await exchange(agent, destination, bytes, AbortSignal.any([signal, late.signal]));
      } catch (cause) {
        const reason = late.signal.aborted ? 'context deadline exceeded' : textOf(cause);
        if (cause instanceof WebhookError && !late.signal.aborted) throw cause;
        throw new WebhookError(`Post ${JSON.stringify(destination.url)}: ${reason}`, { cause });
      } finally {
        cancel();
      }
    },
    close() {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message || cause.name : String(cause);
}

/** Throws WebhookError where a Service leads nowhere. */
function destinationOf(store: Store, { place }: WebhookAddress, timeoutMs: number): Destination {
  const query = `timeout=${Math.ceil(timeoutMs / 1000)}s`;
  if (place.kind === 'url') {
    const url = new URL(place.url);
    url.search = query;
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const port = url.port === '' ? 443 : Number(url.port);
    return { host, port, path: `${url.pathname}${url.search}`, serverName: host, url: url.href };
  }
  const { namespace, name, port, path } = place;
  const serverName = `${name}.${namespace}.svc`;
  const url = `https://${serverName}:${port}${path}?${query}`;
  try {
    const backend = resolveService(store, place, (below) => randomInt(below));
    return { host: backend.host, port: backend.port, path: `${path}?${query}`, serverName, url };
  } catch (cause) {
    if (!(cause instanceof StatusError)) throw cause;
    throw new WebhookError(`Post ${JSON.stringify(url)}: ${cause.message}`, { cause });
  }
}

async function exchange(
  agent: Agent,
  { host, port, path, serverName }: Destination,
  body: Buffer,
  signal: AbortSignal,
): Promise<Json> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = httpsRequest(
      {
        agent,
        host,
        port,
        path,
        signal,
        method: 'POST',
        headers: {
          host: serverName,
          'content-type': 'application/json',
          'content-length': body.length,
          accept: 'application/json, */*',
        },
      },
      resolve,
    );
    request.once('error', reject);
    request.end(body);
  });
  const text = await readText(response);
  const status = response.statusCode ?? 0;
  if (status < 200 || status > 299) {
    const excerpt = text.slice(0, excerptMax).trim();
    throw new WebhookError(
      status === 404
        ? 'the server could not find the requested resource'
        : `an error on the server (${JSON.stringify(excerpt === '' ? 'unknown' : excerpt)}) has prevented the request from succeeding (status ${status})`,
    );
  }
  try {
    return JSON.parse(text) as Json;
  } catch (cause) {
    throw new WebhookError(`the answer is no JSON: ${textOf(cause)}`, { cause });
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  try {
    return (await readBounded(response, answerBytesMax, 'the answer')).toString();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new WebhookError(cause.message, { cause });
  }
}
