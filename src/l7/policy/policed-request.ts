import { createHash } from 'node:crypto';
import type { ProxyContext } from '../proxy/context.ts';
import { tellCertificate } from './client-certificate.ts';
import type { ClientCertificate } from '../transport/transport.ts';
import { askForwardAuth, type AuthSubject } from './forward-auth.ts';
import { addLines, editFields, editField, withTarget } from '../http1/head-edit.ts';
import { CodedClient } from '../http2/coded-client.ts';
import { chooseCoding, isCompressible, renderCodedHead } from './compression.ts';
import type { ExchangeClient } from '../proxy/exchange-client.ts';
import type { FieldLines } from '../http1/http1-fields.ts';
import type { RequestHead, ResponseHead } from '../http1/http1-parse.ts';
import type { ProxyLimits } from '../proxy/limits.ts';
import { mirrorRequest } from './mirror.ts';
import type { ReplayBuffer } from '../http1/replay.ts';
import { rewrittenTarget } from '../routes/rewrite.ts';
import type { AffinityPolicy, FieldEdit, RoutePolicy } from './policy.ts';
import { type Endpoint, endpointKey, type Route } from '../routes/table.ts';
import { type SplitBackend, splitByHash, type SplitTurns } from '../balance/split.ts';
import type { UpstreamEndpoint } from '../balance/upstream.ts';

export type AdmittedFacts = {
  readonly limits: ProxyLimits;
  readonly takesCanary: boolean;
  /** Whose turn it is where Services share requests. */
  readonly splits: SplitTurns;
  /** Accept-Encoding; '' without, or where nobody asks. */
  readonly acceptEncoding: string;
  /** Of what the request is sent to the same endpoint by; undefined: of nothing. */
  readonly hash: number | undefined;
  readonly corsFields: readonly FieldEdit[];
  readonly scheme: string;
  readonly certificate: ClientCertificate | undefined;
  /** What is told of it to who decides whether it may pass; undefined: nobody is asked. */
  readonly auth: Pick<AuthSubject, 'cacheValues' | 'clientAddress'> | undefined;
  /** A copy of it is sent. */
  readonly mirrors: boolean;
  readonly affinityValue: string | undefined;
  /** Gives back what the request took of a bound; undefined: nothing. */
  readonly release: (() => void) | undefined;
};

type Place = Pick<Endpoint, 'address' | 'port'>;

/** A request that its route's policy lets through, and what the policy changes on its way. */
export class PolicedRequest {
  readonly kind = 'forward';
  readonly limits: ProxyLimits;
  readonly hash: number | undefined;
  readonly #policy: RoutePolicy;
  readonly #route: Route;
  readonly #head: RequestHead;
  readonly #facts: AdmittedFacts;

  #stopAsking: (() => void) | undefined;
  #share = -1;
  #authCookies = '';
  #mirrored = false;

  constructor(route: Route, policy: RoutePolicy, head: RequestHead, facts: AdmittedFacts) {
    this.limits = facts.limits;
    this.hash = facts.hash;
    this.#route = route;
    this.#policy = policy;
    this.#head = head;
    this.#facts = facts;
  }

  /** `route` is that of the newest table, which may have changed since the request was admitted. */
  backendOf(route: Route, backends: readonly { readonly endpoints: readonly Place[] }[]): number {
    const canary = this.#facts.takesCanary ? route.policy?.canary : undefined;
    const index = canary?.backend ?? this.#shareOf(route, backends);
    return backends[index]?.endpoints.length === 0 ? (route.policy?.fallback ?? index) : index;
  }

  /** Chosen once: further tries and newer tables keep it. A session stays where its endpoint is, whatever the weights. */
  #shareOf(
    { backend, policy }: Route,
    backends: readonly { readonly endpoints: readonly Place[] }[],
  ): number {
    const split = policy?.split;
    if (split === undefined) return backend;
    const known = split.find((one) => one.backend === this.#share);
    if (known !== undefined) return known.backend;
    const { affinityValue: wanted, splits } = this.#facts;
    const holds = ({ backend: index }: SplitBackend): boolean =>
      backends[index]?.endpoints.some((endpoint) => affinityIdOf(endpoint) === wanted) === true;
    const session = wanted === undefined ? undefined : split.find(holds);
    const chosen = session ?? (this.hash === undefined ? splits.next(split) : splitByHash(split, this.hash));
    this.#share = chosen.backend;
    return chosen.backend;
  }

  /** The request is over: call it once. */
  over(): void {
    this.#facts.release?.();
    this.#stopAsking?.();
  }

  get needsAuthorization(): boolean {
    return this.#facts.auth !== undefined;
  }

  /**
   * Asks whether the request may pass. `text`: its head; `onText`: it may, with that head instead. One of both is called once,
   * maybe from inside.
   */
  authorize(
    context: ProxyContext,
    text: string,
    onText: (text: string) => void,
    onAnswer: (status: number, reason: string, fields: string) => void,
  ): void {
    const { forwardAuth, ingress } = this.#policy;
    const { auth, scheme } = this.#facts;
    const subject = { head: this.#head, text, scheme, ingress, ...auth!, limits: this.limits };
    this.#stopAsking = askForwardAuth(context, forwardAuth!, subject, (verdict) => {
      if (verdict.kind === 'answer') {
        onAnswer(verdict.status, verdict.reason, verdict.fields);
        return;
      }
      this.#authCookies = verdict.cookies;
      onText(editFields(text, verdict.fields));
    });
  }

  get mirrors(): boolean {
    return this.#facts.mirrors;
  }

  /** The request has gone out whole, maybe once more: only the first time is told to the mirror. */
  mirror(context: ProxyContext, text: string, body: ReplayBuffer | undefined, unframed: boolean): void {
    const { mirror } = this.#policy;
    if (!this.#facts.mirrors || this.#mirrored || mirror === undefined) return;
    this.#mirrored = true;
    mirrorRequest(context, mirror, { head: this.#head, text, body, unframed });
  }

  /** The target that the endpoint sees. */
  rewritten(head: RequestHead): string {
    return rewrittenTarget(this.#route, this.#policy, head);
  }

  /** The head for the endpoint. */
  editRequest(text: string): string {
    const { rewriteTo, rewritePath, requestFields, upstreamHost, upstreamConnection, clientCertificate } =
      this.#policy;
    let out = text;
    let prefix = this.#policy.forwardedPrefix ?? '';
    if ((rewriteTo !== undefined || rewritePath !== undefined) && this.#head.target !== '*') {
      out = withTarget(out, this.#head.method, this.#head.target, this.rewritten(this.#head));
      if (prefix === '' && rewriteTo !== undefined && this.#route.pattern === undefined) {
        prefix = this.#route.path.replace(/\/$/, '');
      }
    }
    if (prefix !== '') out = editFields(out, [{ name: 'X-Forwarded-Prefix', value: prefix }]);
    if (upstreamHost !== undefined) out = editFields(out, [{ name: 'Host', value: upstreamHost }]);
    if (upstreamConnection !== undefined && this.#head.upgrade === undefined) {
      out = editFields(out, [{ name: 'Connection', value: upstreamConnection }]);
    }
    if (clientCertificate !== undefined) {
      out = tellCertificate(out, clientCertificate, this.#facts.certificate);
    }
    return editFields(out, requestFields);
  }

  /** The endpoint that the client's cookie names, if it can be used. */
  keptEndpoint(
    endpoints: readonly UpstreamEndpoint[],
    excluded: ReadonlySet<UpstreamEndpoint> | undefined,
  ): UpstreamEndpoint | undefined {
    const wanted = this.#facts.affinityValue;
    if (wanted === undefined) return undefined;
    return endpoints.find(
      (endpoint) =>
        !endpoint.full && !endpoint.avoided && !excluded?.has(endpoint) && affinityIdOf(endpoint) === wanted,
    );
  }

  #editResponse(text: string, endpoint: UpstreamEndpoint): string {
    const { affinity, responseFields, locationEdit } = this.#policy;
    let out = text;
    for (const edit of this.#facts.corsFields) {
      // Vary is a list that the endpoint may have begun; the others are ours alone.
      out = edit.name === 'Vary' ? addLines(out, `Vary: ${edit.value}\r\n`) : editFields(out, [edit]);
    }
    if (locationEdit !== undefined) {
      const { from, to } = locationEdit;
      out = editField(out, 'Location', (url) =>
        url.startsWith(from) ? `${to}${url.slice(from.length)}` : url,
      );
    }
    if (this.#authCookies !== '') out = addLines(out, this.#authCookies);
    out = editFields(out, responseFields);
    if (affinity !== undefined && affinityIdOf(endpoint) !== this.#facts.affinityValue) {
      out = addLines(out, cookieLine(affinity, affinityIdOf(endpoint), this.#facts.scheme === 'https'));
    }
    return out;
  }

  /** `before` is the head that the client would get; `endpoint` is who answered. The body is coded if that is asked for, allowed and accepted. */
  editAnswer(before: string, head: ResponseHead, endpoint: UpstreamEndpoint, to: AnswerTo): EditedAnswer {
    const { client, lines, onRoom } = to;
    const { compression } = this.#policy;
    const text = this.#editResponse(before, endpoint);
    // A client of HTTP/1.0 could not be told where a body of unknown length ends but by closing.
    const may = compression !== undefined && this.#head.minorVersion === 1;
    if (!may || !isCompressible(compression, head, lines)) return { text, coded: undefined };
    const coding = chooseCoding(compression.codings, this.#facts.acceptEncoding);
    const coded =
      coding === undefined ? undefined : CodedClient.open(client, coding, head.body !== 'length', onRoom);
    return { text: coded === undefined ? renderCodedHead(text, undefined, false) : text, coded };
  }
}

/** Where an answer goes. */
export type AnswerTo = {
  readonly client: ExchangeClient;
  /** Those of the answer's head. */
  readonly lines: FieldLines;
  /** See CodedClient. */
  readonly onRoom: () => void;
};

export type EditedAnswer = {
  readonly text: string;
  /** Takes the answer in place of the client; undefined: it goes plain. */
  readonly coded: CodedClient | undefined;
};

const affinityIds = new WeakMap<object, string>();

/** Stands for an endpoint in cookies: the same in every worker and replica, and tells nobody its address. */
function affinityIdOf(endpoint: Place): string {
  let id = affinityIds.get(endpoint);
  if (id === undefined) {
    id = createHash('sha256').update(endpointKey(endpoint.address, endpoint.port)).digest('hex').slice(0, 20);
    affinityIds.set(endpoint, id);
  }
  return id;
}

function cookieLine(affinity: AffinityPolicy, value: string, secure: boolean): string {
  const age = affinity.maxAgeSeconds === undefined ? '' : `; Max-Age=${affinity.maxAgeSeconds}`;
  const domain = affinity.domain === undefined ? '' : `; Domain=${affinity.domain}`;
  const isSecure = affinity.secure ?? secure;
  const flags = `${domain}${age}; HttpOnly; SameSite=${affinity.sameSite}${isSecure ? '; Secure' : ''}`;
  return `Set-Cookie: ${affinity.cookieName}=${value}; Path=${affinity.path}${flags}\r\n`;
}
