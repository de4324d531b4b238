import { randomInt } from 'node:crypto';
import { badRequest, expired, type FailureStatus } from '../api/status.ts';
import { type Entry, isStoreError, type StoreEvent, type Watching } from '../store/store.ts';
import type { ApiContext, Target } from './context.ts';
import { convertingQueue } from './custom-resources/converting-queue.ts';
import type { Reply, ReplyStream } from './exchange.ts';
import { type EventType, formOf, renderBookmark, renderErrorEvent, renderEvent } from './forms.ts';
import { parseRevision, prepare } from './list.ts';
import type { Form } from './negotiate.ts';
import { prefixOf } from './objects.ts';
import { isTrue } from './request-info.ts';
import { parseSelection, type Selection } from './selection.ts';

type WatchPlan = {
  readonly form: Form;
  readonly prefix: string;
  readonly selection: Selection;
  /** Undefined: begin with the present state as ADDED events. */
  readonly after: number | undefined;
  readonly bookmarks: boolean;
  /** The client asked for a streamed list: a bookmark tells where the initial state ends. */
  readonly announceInitialEnd: boolean;
  readonly timeoutMs: number;
};

/** Initial events are handed to the connection so many at a time, so that a large state never lies in its buffer whole. */
const initialEventsPerWrite = 100;

export function watchObjects(context: ApiContext, target: Target): Reply {
  const plan = planWatch(context, target);
  return {
    kind: 'stream',
    status: 200,
    contentType: plan.form.streamType,
    run: (stream) => counted(context, target, () => runWatch(context, target, plan, stream)),
  };
}

async function counted(context: ApiContext, target: Target, run: () => Promise<void>): Promise<void> {
  const { watches } = context.metrics;
  const { name } = target.request.user;
  watches.set(name, (watches.get(name) ?? 0) + 1);
  try {
    await run();
  } finally {
    const left = (watches.get(name) ?? 1) - 1;
    if (left === 0) watches.delete(name);
    else watches.set(name, left);
  }
}

function planWatch(context: ApiContext, target: Target): WatchPlan {
  const { kind, request, namespace, name } = target;
  const { query } = request;
  // A GET of one object with watch=true is a watch of the collection for this name.
  if (name !== '') query.set('fieldSelector', `metadata.name=${name}`);
  const sendInitialEvents = query.get('sendInitialEvents');
  const match = query.get('resourceVersionMatch') ?? '';
  if (sendInitialEvents !== null && match !== 'NotOlderThan') {
    throw badRequest(
      'resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
    );
  }
  if (sendInitialEvents === null && match !== '') {
    throw badRequest(
      'resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
    );
  }
  const version = query.get('resourceVersion') ?? '';
  const wantsState =
    sendInitialEvents === null ? version === '' || version === '0' : isTrue(sendInitialEvents);
  const from = version === '' || version === '0' ? context.store.revision : parseRevision(version);
  return {
    form: formOf(target),
    prefix: prefixOf(kind, kind.namespaced ? namespace : ''),
    selection: parseSelection(kind, query),
    after: wantsState ? undefined : from,
    bookmarks: isTrue(query.get('allowWatchBookmarks')),
    announceInitialEnd: wantsState && sendInitialEvents !== null,
    timeoutMs: timeoutOf(context, query.get('timeoutSeconds')),
  };
}

function timeoutOf(context: ApiContext, seconds: string | null): number {
  const asked = Number(seconds ?? '0');
  if (!Number.isFinite(asked) || asked < 0) throw badRequest(`timeoutSeconds: Invalid value: ${seconds}`);
  if (asked > 0) return Math.min(asked * 1000, 2 ** 31 - 1);
  // Spread, so that the watches of one start do not end together.
  const least = context.config.limits.watchTimeoutMinMs;
  return least + randomInt(least);
}

async function runWatch(
  context: ApiContext,
  target: Target,
  plan: WatchPlan,
  stream: ReplyStream,
): Promise<void> {
  let after = plan.after;
  if (after === undefined) {
    const { entries, revision } = context.store.list(plan.prefix);
    await sendState(context, target, plan, entries, stream);
    after = revision;
    if (plan.announceInitialEnd) {
      await stream.write(renderBookmark(target, plan.form, revision, 'initial-events-end'));
    }
  }
  const { signal } = target.request;
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const ended = follow(context, target, plan, after, stream, resolve);
    signal.addEventListener('abort', ended, { once: true });
  });
}

async function sendState(
  context: ApiContext,
  target: Target,
  plan: WatchPlan,
  entries: readonly Entry[],
  stream: ReplyStream,
): Promise<void> {
  if (target.kind.conversion !== undefined) await prepare(context, target, entries);
  let chunk: Uint8Array[] = [];
  for (const entry of entries) {
    if (!plan.selection.everything && !plan.selection.matches(entry)) continue;
    chunk.push(renderEvent(context, target, plan.form, 'ADDED', entry));
    if (chunk.length < initialEventsPerWrite) continue;
    await stream.write(Buffer.concat(chunk));
    chunk = [];
  }
  if (chunk.length > 0) await stream.write(Buffer.concat(chunk));
}

/** Sends what happens after `after` until the time is over or the stream is full. Returns the way to end it early. */
function follow(
  context: ApiContext,
  target: Target,
  plan: WatchPlan,
  after: number,
  stream: ReplyStream,
  done: () => void,
): () => void {
  let watching: Watching | undefined;
  let ended = false;
  const cancels: (() => void)[] = [];
  const end = (): void => {
    ended = true;
    watching?.stop();
    for (const cancel of cancels) cancel();
    done();
  };
  const deliver = (events: readonly StoreEvent[]): void => {
    const chunks: Uint8Array[] = [];
    for (const event of events) {
      const type = typeFor(plan.selection, event);
      if (type !== undefined) chunks.push(renderEvent(context, target, plan.form, type, event.entry, event));
    }
    if (
      chunks.length > 0 &&
      !stream.push(chunks.length === 1 ? (chunks[0] ?? Buffer.of()) : Buffer.concat(chunks))
    ) {
      end();
    }
  };
  const fail = (status: FailureStatus): void => {
    stream.push(renderErrorEvent(target, plan.form, status));
    end();
  };
  const convert = (entries: readonly Entry[]): Promise<void> => prepare(context, target, entries);
  const queue = target.kind.conversion === undefined ? undefined : convertingQueue(convert, fail);
  const onEvents =
    queue === undefined
      ? deliver
      : (events: readonly StoreEvent[]): void =>
          queue.add(entriesOf(events), () => {
            if (!ended) deliver(events);
          });
  try {
    watching = context.store.watch(plan.prefix, after, onEvents);
  } catch (error) {
    if (!isStoreError(error, 'Expired')) throw error;
    const { status } = expired(`too old resource version: ${after} (${context.store.compactedRevision})`);
    stream.push(renderErrorEvent(target, plan.form, status));
    done();
    return () => {};
  }
  if (ended) {
    watching.stop(); // the past alone overfilled the stream
    return end;
  }
  const bookmark = (): void => {
    const { revision } = context.store;
    const push = (): void => void stream.push(renderBookmark(target, plan.form, revision, 'progress'));
    if (queue === undefined) push();
    else queue.add([], push); // not before the events that it covers
    cancels[0] = context.clock.after(context.config.limits.bookmarkIntervalMs, bookmark);
  };
  cancels[0] = plan.bookmarks
    ? context.clock.after(context.config.limits.bookmarkIntervalMs, bookmark)
    : (): void => {};
  cancels[1] = context.clock.after(plan.timeoutMs, end);
  return end;
}

/** What events show: the new state, and the old one where a selector asks for it. */
function entriesOf(events: readonly StoreEvent[]): readonly Entry[] {
  return events.flatMap(({ entry, previous }) => (previous === undefined ? [entry] : [entry, previous]));
}

/** What an event means to somebody who sees only a part of the objects. Undefined: nothing. */
function typeFor(selection: Selection, event: StoreEvent): EventType | undefined {
  const matched = event.previous !== undefined && (selection.everything || selection.matches(event.previous));
  if (event.type === 'delete') return matched ? 'DELETED' : undefined;
  const matches = selection.everything || selection.matches(event.entry);
  if (matches) return matched ? 'MODIFIED' : 'ADDED';
  return matched ? 'DELETED' : undefined;
}
