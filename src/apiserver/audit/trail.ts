import { randomUUID } from 'node:crypto';
import { stringAt } from '../../api/fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../../api/object.ts';
import type { FailureStatus } from '../../api/status.ts';
import { type Clock, rfc3339Micro } from '../../base/clock.ts';
import type { ApiRequest, User } from '../exchange.ts';
import type { RequestInfo } from '../request-info.ts';
import type { AuditDecision, AuditStage } from './policy.ts';

/** What is gathered of one request that the policy wants written down, and the events (audit.k8s.io/v1) made of it. */

/** As in Kubernetes: a client that sends a longer id gets one of ours. */
export const idLengthMax = 64;

type Answer = {
  readonly code: number;
  /** Of a refusal. */
  readonly status: FailureStatus | undefined;
  readonly body: Json | undefined;
};

export class AuditTrail {
  readonly id: string;
  readonly #clock: Clock;
  readonly #decision: AuditDecision;
  readonly #request: ApiRequest;
  readonly #info: RequestInfo;
  readonly #user: User;
  readonly #write: (line: string) => void;
  readonly #receivedMs: number;
  readonly #annotations: Record<string, string> = {};
  #actsAs: User | undefined;
  #sent: Json | undefined;
  #answer: Answer | undefined;

  constructor(
    clock: Clock,
    decision: AuditDecision,
    {
      request,
      info,
      user,
    }: { readonly request: ApiRequest; readonly info: RequestInfo; readonly user: User },
    write: (line: string) => void,
  ) {
    this.#clock = clock;
    this.#decision = decision;
    this.#request = request;
    this.#info = info;
    this.#user = user;
    this.#write = write;
    this.#receivedMs = clock.nowMs();
    const own = request.headers['audit-id'];
    this.id = typeof own === 'string' && own !== '' && own.length <= idLengthMax ? own : randomUUID();
    this.#event('RequestReceived');
  }

  /** True where answers are to be kept whole. */
  get keepsAnswer(): boolean {
    return this.#decision.level === 'RequestResponse';
  }

  /** The first value of a key stays, as in Kubernetes. */
  annotate(key: string, value: string): void {
    this.#annotations[key] ??= value;
  }

  /** Impersonation: as whom the request goes on. */
  actsAs(user: User): void {
    this.#actsAs = user;
  }

  decided(decision: 'allow' | 'forbid', reason: string): void {
    this.annotate('authorization.k8s.io/decision', decision);
    this.annotate('authorization.k8s.io/reason', reason);
  }

  /** The body of the request, as it was read. */
  sent(body: Json): void {
    if (this.#decision.level === 'Request' || this.keepsAnswer) this.#sent = body;
  }

  /** A stream has begun. */
  started(code: number): void {
    this.#answer = { code, status: undefined, body: undefined };
    this.#event('ResponseStarted');
  }

  /** `body`: the answer's, where it is to be kept and is JSON. */
  complete(code: number, status?: FailureStatus, body?: Json): void {
    this.#answer = { code, status, body: this.keepsAnswer ? body : undefined };
    this.#event('ResponseComplete');
  }

  #event(stage: AuditStage): void {
    const { level, omitStages, omitManagedFields } = this.#decision;
    if (omitStages.includes(stage)) return;
    const shown = (value: Json | undefined): Json | undefined =>
      value !== undefined && omitManagedFields ? withoutManagedFields(value) : value;
    const event = {
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level,
      auditID: this.id,
      stage,
      requestURI: this.#request.rawUrl,
      verb: this.#info.verb,
      user: userFacts(this.#user),
      ...(this.#actsAs === undefined ? {} : { impersonatedUser: userFacts(this.#actsAs) }),
      sourceIPs: sourcesOf(this.#request),
      userAgent: this.#request.headers['user-agent'],
      ...(this.#info.kind === 'resource' ? { objectRef: this.#objectRef(this.#info) } : {}),
      ...(this.#answer === undefined ? {} : { responseStatus: statusFacts(this.#answer) }),
      requestObject: shown(this.#sent),
      responseObject: shown(this.#answer?.body),
      requestReceivedTimestamp: rfc3339Micro(this.#receivedMs),
      stageTimestamp: rfc3339Micro(this.#clock.nowMs()),
      ...(Object.keys(this.#annotations).length === 0 ? {} : { annotations: this.#annotations }),
    };
    this.#write(`${JSON.stringify(event)}\n`);
  }

  #objectRef({ group, version, plural, namespace, name, subresource }: RequestInfo & { kind: 'resource' }) {
    const sent = isJsonObject(this.#sent) ? this.#sent : undefined;
    const metadata = (field: string): string => stringAt(sent, 'metadata', field);
    return withoutEmpty({
      resource: plural,
      namespace,
      name: name || metadata('name'),
      uid: metadata('uid'),
      apiGroup: group,
      apiVersion: version,
      resourceVersion: metadata('resourceVersion'),
      subresource,
    });
  }
}

function userFacts({ name, uid, groups, extra }: User): object {
  return {
    username: name,
    ...(uid === '' ? {} : { uid }),
    groups,
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
}

/** Those that proxies in front tell come first, as in Kubernetes; the last one is the connection's own. */
function sourcesOf({ headers, remoteAddress }: ApiRequest): readonly string[] {
  const forwarded = headers['x-forwarded-for'];
  const told = (typeof forwarded === 'string' ? forwarded.split(',') : []).map((text) => text.trim());
  return [...new Set([...told, remoteAddress])].filter((text) => text !== '');
}

function statusFacts({ code, status }: Answer): object {
  if (status === undefined) return { metadata: {}, code };
  return withoutEmpty({
    metadata: {},
    status: status.status,
    message: status.message,
    reason: status.reason ?? '',
    details: status.details ?? '',
    code,
  });
}

function withoutEmpty(fields: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''));
}

function withoutManagedFields(value: Json): Json {
  if (!isJsonObject(value)) return value;
  const { metadata, items } = value;
  const kept: JsonObject = { ...value };
  if (isJsonObject(metadata)) {
    const { managedFields: _, ...rest } = metadata;
    kept['metadata'] = rest;
  }
  if (Array.isArray(items)) kept['items'] = items.map(withoutManagedFields);
  return kept;
}
