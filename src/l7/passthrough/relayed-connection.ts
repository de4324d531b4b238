import { type AttemptOwner, Attempts, type Directed } from '../balance/attempts.ts';
import { hashText } from '../balance/hash.ts';
import { splitByHash } from '../balance/split.ts';
import type { UpstreamConnection, UpstreamEndpoint, UpstreamOwner } from '../balance/upstream.ts';
import type { ClientHandler, ClientOwner } from '../http1/client-connection.ts';
import { isWithin, keepsOut } from '../policy/admit.ts';
import type { RoutePolicy } from '../policy/policy.ts';
import type { StaticAnswer } from '../policy/static-answer.ts';
import type { ProxyContext } from '../proxy/context.ts';
import { ExchangeTimes, rounded } from '../proxy/exchange-times.ts';
import { type ClientFacts, proxyHeader } from '../proxy/headers.ts';
import type { ProxyLimits } from '../proxy/limits.ts';
import { matchRelayed } from '../routes/match.ts';
import type { Route } from '../routes/table.ts';
import type { Connection } from '../transport/transport.ts';
import type { ClientHello } from './client-hello.ts';
import { alerts, renderAlert } from './tls-alert.ts';

/** `lingering`: our direction has ended, what still comes is thrown away. */
type State = 'connecting' | 'relaying' | 'lingering' | 'closed';

/**
 * A client's connection of TLS that ends at an endpoint: its bytes go there as they come, and back. A reader that is slow stops
 * the other side, so no more than a transport's queue is held for it. As a request is, it is sent on to another endpoint as long as none
 * could be connected to.
 */
export class RelayedConnection implements ClientHandler, AttemptOwner, UpstreamOwner {
  readonly #context: ProxyContext;
  readonly #connection: Connection;
  readonly #facts: ClientFacts;
  readonly #hello: ClientHello;
  readonly #owner: ClientOwner;
  readonly #startedMs: number;
  readonly #times: ExchangeTimes;
  #receivedBytes = 0;
  #sentBytes = 0;
  readonly #attempts: Attempts;
  #limits: ProxyLimits;
  #state: State = 'connecting';
  #upstream: UpstreamConnection | undefined;
  /** What the client has sent while nobody is connected to: its hello, and little more since reading stops. */
  #held: Buffer[] = [];
  #releasePlace: (() => void) | undefined;
  #clientEnded = false;
  #recorded = false;
  #endpoint: UpstreamEndpoint | undefined;
  /** With no byte either way until then it is cut. */
  #idleDeadlineMs = Number.POSITIVE_INFINITY;
  /** The client, or the endpoint, that takes nothing of what is held for it until then is cut. */
  #clientDeadlineMs = Number.POSITIVE_INFINITY;
  #upstreamDeadlineMs = Number.POSITIVE_INFINITY;

  constructor(
    context: ProxyContext,
    connection: Connection,
    facts: ClientFacts,
    hello: ClientHello,
    owner: ClientOwner,
  ) {
    this.#context = context;
    this.#connection = connection;
    this.#facts = facts;
    this.#hello = hello;
    this.#owner = owner;
    this.#limits = context.limits;
    this.#startedMs = context.nowMs();
    const { serverName } = hello;
    const host = serverName ?? '';
    const relayRoute = (table: Parameters<typeof matchRelayed>[0]) => matchRelayed(table, serverName);
    this.#attempts = new Attempts(context, this, { host, path: '/', relayRoute });
    context.metrics.relays += 1;
    this.#times = new ExchangeTimes(this.#startedMs);
  }

  /** Call once, when it is known to its owner. */
  start(): void {
    const route = matchRelayed(this.#context.live.table, this.#hello.serverName);
    if (route === undefined) return this.#refuse(404, alerts.unrecognizedName);
    const { policy } = route;
    if (policy !== undefined && !this.#admit(policy)) return;
    this.#attempts.begin(route, this.#directed(policy));
  }

  /** False: the policy has refused it. */
  #admit({ ingress, sources, rate, connectionLimit, limits }: RoutePolicy): boolean {
    const { policyStates } = this.#context;
    const { address } = this.#facts;
    if (sources !== undefined && keepsOut(sources, address)) {
      this.#refuse(403, alerts.accessDenied);
      return false;
    }
    const isCounted = rate !== undefined && !isWithin(address, rate.exempt);
    if (isCounted && policyStates.takeRate(ingress, address, rate, this.#context.nowMs()) > 0) {
      this.#refuse(429, alerts.accessDenied);
      return false;
    }
    if (connectionLimit !== undefined) {
      this.#releasePlace = policyStates.takeConnection(ingress, address, connectionLimit);
      if (this.#releasePlace === undefined) {
        this.#refuse(429, alerts.accessDenied);
        return false;
      }
    }
    if (limits !== undefined) this.#limits = { ...this.#limits, ...limits };
    return true;
  }

  /** As of a request: by the client's address where that is asked for, the fallback while there is no endpoint. */
  #directed(policy: RoutePolicy | undefined): Directed {
    const hash = policy?.hashBy === undefined ? undefined : hashText(this.#facts.address);
    const { splits } = this.#context.policyStates;
    const split = policy?.split;
    const share = split && (hash === undefined ? splits.next(split) : splitByHash(split, hash));
    return {
      limits: { ...this.#limits, requestTimeoutMs: Number.POSITIVE_INFINITY },
      hash,
      keptEndpoint: () => undefined,
      backendOf: ({ backend, policy: newest }: Route, backends) => {
        const mayKeep = newest?.split?.some((one) => one.backend === share?.backend) === true;
        const index = mayKeep && share !== undefined ? share.backend : backend;
        return backends[index]?.endpoints.length === 0 ? (newest?.fallback ?? index) : index;
      },
    };
  }

  onEndpoint(endpoint: UpstreamEndpoint): void {
    const { pool } = this.#context;
    const nowMs = this.#context.nowMs();
    const version = endpoint.proxyProtocol;
    const preamble = version === undefined ? undefined : proxyHeader(version, this.#facts);
    this.#upstream = pool.acquire(endpoint, this, 'new', nowMs, preamble);
    this.#times.connecting(nowMs);
    this.#upstream.deadlineMs = nowMs + this.#limits.upstreamConnectTimeoutMs;
  }

  onNoEndpoint(status: number, _reason: string, answer?: StaticAnswer): void {
    this.#refuse(answer === undefined ? status : 503, alerts.internalError); // an answer of HTTP is none here
  }

  onOutOfTime(): void {}

  onUpstreamConnect(): void {
    const upstream = this.#upstream!;
    this.#state = 'relaying';
    this.#endpoint = upstream.endpoint;
    this.#endpoint.tunnels += 1;
    this.#attempts.sent += 1;
    this.#times.connected(this.#context.nowMs());
    upstream.deadlineMs = Number.POSITIVE_INFINITY;
    const held = this.#held;
    this.#held = [];
    this.#touch();
    let flowing = true;
    for (const data of held) flowing = upstream.connection.write(data);
    if (flowing) this.#connection.resume();
    else this.#stopClient();
  }

  onConnect(): void {}

  onData(data: Buffer): void {
    if (this.#state === 'lingering' || this.#state === 'closed') return;
    this.#receivedBytes += data.length;
    this.#context.metrics.receivedBytes += data.length;
    if (this.#state === 'connecting') {
      this.#held.push(Buffer.from(data));
      this.#connection.pause();
      return;
    }
    this.#touch();
    if (this.#upstream?.connection.write(data) === false) this.#stopClient();
  }

  #stopClient(): void {
    this.#connection.pause();
    this.#upstreamDeadlineMs = this.#context.nowMs() + this.#limits.upstreamSendTimeoutMs;
  }

  onUpstreamDrain(): void {
    this.#upstreamDeadlineMs = Number.POSITIVE_INFINITY;
    this.#connection.resume();
  }

  onUpstreamData(data: Buffer): void {
    if (this.#sentBytes === 0) this.#times.answered(this.#context.nowMs());
    this.#sentBytes += data.length;
    this.#context.metrics.sentBytes += data.length;
    this.#touch();
    if (this.#connection.write(data)) return;
    this.#upstream?.connection.pause();
    this.#clientDeadlineMs = this.#context.nowMs() + this.#limits.clientBodyTimeoutMs;
  }

  onDrain(): void {
    this.#clientDeadlineMs = Number.POSITIVE_INFINITY;
    this.#upstream?.connection.resume();
  }

  #touch(): void {
    this.#idleDeadlineMs = this.#context.nowMs() + this.#limits.tunnelIdleTimeoutMs;
  }

  onEnd(): void {
    this.#clientEnded = true;
    if (this.#state === 'relaying') this.#upstream?.connection.end();
    else if (this.#state === 'connecting') this.#cut(499); // nobody is there for an answer
  }

  onUpstreamEnd(): void {
    this.#connection.end();
  }

  onFinish(): void {}

  onUpstreamClose(error: string | undefined): void {
    this.#upstream = undefined;
    if (this.#state === 'connecting') return this.#attempts.unreachable(error ?? 'closed');
    this.#over(200);
    if (this.#state === 'closed') return;
    if (error !== undefined) this.#connection.destroy();
    else this.#endGently();
  }

  onUpstreamTimeout(): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    upstream?.destroy();
    if (this.#state === 'connecting') this.#attempts.unreachable('ETIMEDOUT');
    else this.#over(200);
  }

  onUpstreamLost(): void {}

  /** Ends our direction; what the client still sends is for nobody. */
  #endGently(): void {
    this.#state = 'lingering';
    this.#idleDeadlineMs = this.#context.nowMs() + this.#limits.clientBodyTimeoutMs;
    this.#connection.end();
    this.#connection.resume();
  }

  /** The client is told by an alert of TLS, the only word that it understands before a handshake. */
  #refuse(status: number, alert: number): void {
    this.#over(status);
    this.#connection.write(renderAlert(alert));
    this.#endGently();
  }

  #cut(status: number): void {
    this.#over(status);
    this.#connection.destroy();
  }

  tick(nowMs: number): void {
    const deadlineMs = Math.min(this.#idleDeadlineMs, this.#clientDeadlineMs, this.#upstreamDeadlineMs);
    if (deadlineMs <= nowMs) this.#cut(200);
  }

  /** It is one request as long as it lasts: it may finish. */
  drain(): void {}

  giveUp(): void {
    this.abort(); // what it relays is not ours to end
  }

  abort(): void {
    this.#cut(this.#state === 'connecting' ? 499 : 200);
  }

  onClose(error: string | undefined): void {
    const upstream = this.#upstream;
    const connecting = this.#state === 'connecting';
    this.#state = 'closed';
    // What a client that has ended in peace has sent still goes out.
    if (upstream !== undefined && !connecting && error === undefined && this.#clientEnded) {
      upstream.deadlineMs = this.#context.nowMs() + this.#limits.upstreamSendTimeoutMs;
    } else this.#over(connecting ? 499 : 200);
    this.#context.metrics.relays -= 1;
    this.#owner.onClosed(this);
  }

  /** Lets go of the endpoint, and tells the log and the counters once how it ended. */
  #over(status: number): void {
    this.#held = [];
    const upstream = this.#upstream;
    this.#upstream = undefined;
    upstream?.destroy();
    const { backendKey: backend, sent: attempts } = this.#attempts;
    this.#attempts.release();
    this.#releasePlace?.();
    this.#releasePlace = undefined;
    if (this.#recorded) return;
    this.#recorded = true;
    if (this.#endpoint !== undefined) this.#endpoint.tunnels -= 1;
    const { metrics, onAccess } = this.#context;
    metrics.relaysEnded[status]! += 1;
    onAccess?.({
      clientAddress: this.#facts.address,
      scheme: 'https',
      protocol: 'TLS',
      method: '',
      host: this.#hello.serverName ?? '',
      target: '',
      status,
      durationMs: rounded(this.#context.nowMs() - this.#startedMs),
      connectMs: this.#times.connectMs,
      firstByteMs: this.#times.firstByteMs,
      receivedBytes: this.#receivedBytes,
      sentBytes: this.#sentBytes,
      backend,
      endpoint: this.#endpoint?.key ?? '',
      attempts,
      traceId: '',
      traceSampled: false,
      requestId: '',
      tlsVersion: '',
      serverName: this.#hello.serverName ?? '',
    });
  }
}
