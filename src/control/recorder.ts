import type { Event, ObjectReference } from '../api/gen/core-v1.ts';
import { type KubeObject, objectKey } from '../api/object.ts';
import { events } from '../api/resource.ts';
import { rfc3339 } from '../base/clock.ts';
import { type Logger, silentLogger } from '../base/log.ts';
import { type ApiClient, isApiError } from '../client/client.ts';
import type { Timing } from './backoff.ts';
import { systemTiming } from './reconciler.ts';
import { WorkQueue } from './work-queue.ts';

export type EventType = 'Normal' | 'Warning';

export type Recorder = {
  /** Notes that something happened to `object`. Never blocks and never fails; written in the background. */
  event(object: KubeObject, type: EventType, reason: string, message: string): void;
  /** Writes events until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
};

/** Different happenings remembered for counting repeats; past it the oldest is forgotten and would be created anew. */
const rememberedMax = 1024;
/** Happenings waiting to be written; more are dropped, which is logged once. */
const waitingMax = 512;

type Happening = {
  readonly involved: ObjectReference;
  readonly type: EventType;
  readonly reason: string;
  readonly message: string;
  readonly firstMs: number;
  lastMs: number;
  count: number;
  /** Set once the Event exists. */
  written: Event | undefined;
};

export type RecorderOptions = { readonly log?: Logger; readonly timing?: Timing };

/**
 * Writes core/v1 Events of one component. The same thing happening again to the same object raises `count` of the
 * one Event instead of making a second.
 */
export function createRecorder(
  client: ApiClient,
  component: string,
  options: RecorderOptions = {},
): Recorder {
  return new EventRecorder(client, component, options);
}

class EventRecorder implements Recorder {
  readonly #client: ApiClient;
  readonly #component: string;
  readonly #timing: Timing;
  readonly #log: Logger;
  readonly #queue: WorkQueue;
  readonly #happenings = new Map<string, Happening>(); // insertion order is age
  #failureLogged = false;
  #dropLogged = false;

  constructor(client: ApiClient, component: string, options: RecorderOptions) {
    this.#client = client;
    this.#component = component;
    this.#timing = options.timing ?? systemTiming;
    this.#log = options.log ?? silentLogger;
    this.#queue = new WorkQueue(this.#timing.clock);
  }

  event(object: KubeObject, type: EventType, reason: string, message: string): void {
    const involved = referenceTo(object);
    const { kind, uid, namespace, name } = involved;
    const key = [kind, uid, namespace, name, type, reason, message].join('\0');
    const nowMs = this.#timing.clock.nowMs();
    const known = this.#happenings.get(key);
    if (known === undefined) {
      if (this.#queue.size >= waitingMax) {
        if (!this.#dropLogged) this.#log.warn('too many events, dropping some', { waitingMax });
        this.#dropLogged = true;
        return;
      }
      const base = { involved, type, reason, message, firstMs: nowMs, lastMs: nowMs };
      this.#happenings.set(key, { ...base, count: 1, written: undefined });
      const oldest = this.#happenings.keys().next();
      if (this.#happenings.size > rememberedMax && oldest.done !== true)
        this.#happenings.delete(oldest.value);
    } else {
      known.count++;
      known.lastMs = nowMs;
    }
    this.#queue.add(key);
  }

  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#queue.close(), { once: true });
    while (!signal.aborted) {
      const key = await this.#queue.next();
      if (key === undefined) return;
      const happening = this.#happenings.get(key);
      try {
        if (happening !== undefined) await this.#write(happening, signal);
        this.#failureLogged = false;
      } catch (error) {
        if (signal.aborted) return;
        // An Event in a namespace that is being deleted is refused: expected, not worth a line.
        if (!this.#failureLogged && !isApiError(error, 'Forbidden') && !isApiError(error, 'NotFound')) {
          this.#failureLogged = true;
          this.#log.warn('cannot write an event', { error });
        }
      } finally {
        this.#queue.done(key);
      }
    }
  }

  async #write(happening: Happening, signal: AbortSignal): Promise<void> {
    const { written } = happening;
    if (written !== undefined) {
      try {
        const body = { count: happening.count, lastTimestamp: rfc3339(happening.lastMs) };
        const { namespace, name = '' } = written.metadata ?? {};
        happening.written = await this.#client.patch(events, namespace, name, 'merge', body, { signal });
        return;
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error; // its time to live is over: create it anew
      }
    }
    const event = eventOf(happening, this.#component, this.#timing.random);
    happening.written = await this.#client.create(events, event, { signal });
  }
}

function referenceTo(object: KubeObject): ObjectReference {
  const { namespace, name, uid, resourceVersion } = object.metadata ?? {};
  return { apiVersion: object.apiVersion, kind: object.kind, namespace, name, uid, resourceVersion };
}

function eventOf(happening: Happening, component: string, random: () => number): Event {
  const { involved, type, reason, message, firstMs, lastMs, count } = happening;
  const suffix = (Math.floor(random() * 2 ** 48) + 2 ** 48).toString(16).slice(1);
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: {
      name: `${involved.name ?? objectKey(undefined, 'unknown')}.${firstMs.toString(16)}${suffix}`.slice(
        -253,
      ),
      namespace: involved.namespace ?? 'default',
    },
    involvedObject: involved,
    type,
    reason,
    message: message.slice(0, 1024), // the API refuses longer ones
    source: { component },
    reportingComponent: component,
    reportingInstance: '',
    firstTimestamp: rfc3339(firstMs),
    lastTimestamp: rfc3339(lastMs),
    count,
  };
}
