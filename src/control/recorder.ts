import { createHash } from 'node:crypto';
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
  /** How many of `count` the Event has. */
  told: number;
  /** Set once the Event exists. */
  written: Event | undefined;
};

export type RecorderOptions = {
  readonly log?: Logger;
  readonly timing?: Timing;
  /** The node that says it: `source.host`. */
  readonly host?: string;
  /**
   * The component runs on many nodes, which see the same: they write one Event together and count in it, and its
   * `source.host` is who said it last. Else each process has its own Events.
   */
  readonly shared?: boolean;
};

/** Others count in the same Event: tries to be the next before a count is given up. */
const countTriesMax = 4;

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
  readonly #host: string | undefined;
  readonly #shared: boolean;
  readonly #happenings = new Map<string, Happening>(); // insertion order is age
  #failureLogged = false;
  #dropLogged = false;

  constructor(client: ApiClient, component: string, options: RecorderOptions) {
    this.#client = client;
    this.#component = component;
    this.#timing = options.timing ?? systemTiming;
    this.#log = options.log ?? silentLogger;
    this.#queue = new WorkQueue(this.#timing.clock);
    this.#host = options.host;
    this.#shared = options.shared ?? false;
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
      this.#happenings.set(key, { ...base, count: 1, told: 0, written: undefined });
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
    const { count, written } = happening;
    if (written !== undefined) {
      try {
        happening.written = await this.#raise(written, happening, signal);
        happening.told = count;
        return;
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error; // its time to live is over: create it anew
      }
    }
    const event = this.#eventOf(happening);
    try {
      happening.written = await this.#client.create(events, event, { signal });
    } catch (error) {
      if (!this.#shared || !isApiError(error, 'AlreadyExists')) throw error;
      happening.written = await this.#raise(event, happening, signal); // another one has said it before us
    }
    happening.told = count;
  }

  /** Adds what was not told yet to the Event's count. */
  async #raise(event: Event, { count, told, lastMs }: Happening, signal: AbortSignal): Promise<Event> {
    const { namespace, name = '' } = event.metadata ?? {};
    const patch = (body: object): Promise<Event> =>
      this.#client.patch(events, namespace, name, 'merge', body, { signal });
    const lastTimestamp = rfc3339(lastMs);
    if (!this.#shared) return patch({ count, lastTimestamp });
    const source = { component: this.#component, host: this.#host };
    for (let tries = 1; ; tries++) {
      // A patch answers with the whole Event: to read it first would be one more right that we need.
      const now = await patch({ lastTimestamp, source });
      const { resourceVersion } = now.metadata ?? {};
      try {
        return await patch({ metadata: { resourceVersion }, count: (now.count ?? 1) + count - told });
      } catch (error) {
        if (!isApiError(error, 'Conflict')) throw error;
        if (tries >= countTriesMax) return now;
      }
    }
  }

  #eventOf({ involved, type, reason, message, firstMs, lastMs, count }: Happening): Event {
    const { kind, uid, namespace = 'default', name = objectKey(undefined, 'unknown') } = involved;
    const same = [kind, uid, namespace, name, type, reason, message, this.#component].join('\0');
    const suffix = this.#shared
      ? createHash('sha256').update(same).digest('hex').slice(0, 16)
      : `${firstMs.toString(16)}${(Math.floor(this.#timing.random() * 2 ** 48) + 2 ** 48).toString(16).slice(1)}`;
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${name}.${suffix}`.slice(-253), namespace },
      involvedObject: involved,
      type,
      reason,
      message: message.slice(0, 1024), // the API refuses longer ones
      source: { component: this.#component, host: this.#host },
      reportingComponent: this.#component,
      reportingInstance: this.#host ?? '',
      firstTimestamp: rfc3339(firstMs),
      lastTimestamp: rfc3339(lastMs),
      count,
    };
  }
}

function referenceTo(object: KubeObject): ObjectReference {
  const { namespace, name, uid, resourceVersion } = object.metadata ?? {};
  return { apiVersion: object.apiVersion, kind: object.kind, namespace, name, uid, resourceVersion };
}
