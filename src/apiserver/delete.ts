import { decodeAs } from '../api/decode.ts';
import { notOneOf } from '../api/field-errors.ts';
import { numberAt, stringAt, stringsAt } from '../api/fields.ts';
import type { JsonObject } from '../api/object.ts';
import { badRequest, conflict, deleted, notFound } from '../api/status.ts';
import { rfc3339 } from '../base/clock.ts';
import { type Entry, isStoreError } from '../store/store.ts';
import { admitDelete } from './admission.ts';
import type { ApiContext, Target } from './context.ts';
import { storable } from './custom-resources/conversion.ts';
import { admitDeletion } from './dynamic-admission.ts';
import { jsonReply, type Reply } from './exchange.ts';
import { formOf, renderList, renderObject } from './forms.ts';
import { invalidOptions } from './invalid-options.ts';
import { prepare, readPage, requireEntry } from './list.ts';
import {
  isReadyToGo,
  isBeingDeleted,
  parseEntry,
  type StoredObject,
  templateOf,
  templateOfEntry,
} from './objects.ts';
import { graceOf } from './pod-admission.ts';
import { isTrue } from './request-info.ts';
import { isDryRun } from './dry-run.ts';
import { claimsOfWrite } from './service-allocator.ts';
import { nextCommit, readBody } from './write.ts';

type Propagation = 'Foreground' | 'Background' | 'Orphan';

export type DeleteOptions = {
  readonly graceSeconds: number | undefined;
  readonly propagation: Propagation | undefined;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly dryRun: boolean;
  /** Admission has judged it already, as the subresource that it came by. */
  readonly admitted?: true;
};

/** What became of it: gone, or marked and waiting for its kubelet, its finalizers or its dependents. */
type Outcome = { readonly kind: 'gone' | 'marked'; readonly entry: Entry };

const conflictRetriesMax = 8;

export async function deleteObject(context: ApiContext, target: Target): Promise<Reply> {
  const form = formOf(target);
  const options = await readDeleteOptions(target);
  const outcome = await removeObject(context, target, options);
  if (outcome.kind === 'marked') {
    if (target.kind.conversion !== undefined) await prepare(context, target, [outcome.entry]);
    return renderObject(context, target, form, outcome.entry, 200);
  }
  const uid = stringAt(parseEntry(outcome.entry), 'metadata', 'uid');
  return jsonReply(deleted(target.kind, target.name, uid));
}

export async function deleteCollection(context: ApiContext, target: Target): Promise<Reply> {
  const form = formOf(target);
  const options = await readDeleteOptions(target);
  const page = await readPage(context, target);
  const removed: Entry[] = [];
  for (const entry of page.entries) {
    const { metadata } = parseEntry(entry);
    const member: Target = {
      ...target,
      name: stringAt(metadata, 'name'),
      namespace: stringAt(metadata, 'namespace'),
    };
    if (context.store.get(entry.key) === undefined) continue; // gone meanwhile, which is what is wanted
    removed.push((await removeObject(context, member, options)).entry);
  }
  if (target.kind.conversion !== undefined) await prepare(context, target, removed);
  return renderList(context, target, form, { ...page, entries: removed });
}

/** Deletes or marks. Throws StatusError. */
export async function removeObject(
  context: ApiContext,
  target: Target,
  options: DeleteOptions,
): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    const entry = requireEntry(context, target);
    if (target.kind.conversion !== undefined) await prepare(context, target, [entry]);
    const object = parseEntry(entry, target.kind);
    checkPreconditions(target, object, options);
    admitDelete(target, object);
    if (options.admitted !== true) {
      await admitDeletion(context, target, object, reviewedOptions(options), options.dryRun);
    }
    const marked = markDeleted(target, object, options, context.clock.nowMs());
    try {
      if (options.dryRun) return { kind: isReadyToGo(marked) ? 'gone' : 'marked', entry };
      if (isReadyToGo(marked)) {
        const gone = await context.store.delete(
          entry.key,
          templateOfEntry(entry),
          entry.revision,
          claimsOfWrite(target.kind, undefined, object),
        );
        return { kind: 'gone', entry: gone };
      }
      const toStore =
        target.kind.conversion === undefined
          ? marked
          : await storable(context, target.kind, marked, target.request.signal);
      const template = templateOf(target.kind, toStore);
      if (entry.value.toString().endsWith(template.after)) return { kind: 'marked', entry };
      return { kind: 'marked', entry: await context.store.put(entry.key, template, entry.revision) };
    } catch (error) {
      if (isStoreError(error, 'Missing')) throw notFound(target.kind, target.name);
      if (!isStoreError(error, 'Conflict') || attempt === conflictRetriesMax) throw error;
      await nextCommit();
    }
  }
}

/** As an AdmissionReview shows them. */
function reviewedOptions(options: DeleteOptions): JsonObject {
  const { graceSeconds, propagation, uid, resourceVersion, dryRun } = options;
  const preconditions = {
    ...(uid === '' ? {} : { uid }),
    ...(resourceVersion === '' ? {} : { resourceVersion }),
  };
  return {
    kind: 'DeleteOptions',
    apiVersion: 'meta.k8s.io/v1',
    ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }),
    ...(propagation === undefined ? {} : { propagationPolicy: propagation }),
    ...(Object.keys(preconditions).length === 0 ? {} : { preconditions }),
    ...(dryRun ? { dryRun: ['All'] } : {}),
  };
}

function checkPreconditions(target: Target, object: StoredObject, options: DeleteOptions): void {
  const { kind, name } = target;
  const uid = stringAt(object.metadata, 'uid');
  if (options.uid !== '' && options.uid !== uid) {
    throw conflict(
      kind,
      name,
      `Precondition failed: UID in precondition: ${options.uid}, UID in object meta: ${uid}`,
    );
  }
  const version = stringAt(object.metadata, 'resourceVersion');
  if (options.resourceVersion !== '' && options.resourceVersion !== version) {
    throw conflict(
      kind,
      name,
      `Precondition failed: ResourceVersion in precondition: ${options.resourceVersion}, ResourceVersion in object meta: ${version}`,
    );
  }
}

const propagationFinalizers: Readonly<Record<Propagation, string | undefined>> = {
  Foreground: 'foregroundDeletion',
  Orphan: 'orphan',
  Background: undefined,
};

/** The object as a delete leaves it, if it leaves it: timestamps, grace and the finalizer that propagation asks for. */
function markDeleted(target: Target, old: StoredObject, options: DeleteOptions, nowMs: number): StoredObject {
  const object = structuredClone(old);
  const { metadata } = object;
  setPropagation(metadata, options.propagation);
  const isPod = target.kind.group === '' && target.kind.plural === 'pods';
  const grace = isPod ? graceOf(object, options.graceSeconds) : 0;
  const before = numberAt(metadata, 'deletionGracePeriodSeconds');
  // A second delete may only shorten the grace.
  if (!isBeingDeleted(old) || grace < (before ?? 0)) {
    const startedMs = isBeingDeleted(old)
      ? Date.parse(stringAt(metadata, 'deletionTimestamp')) - (before ?? 0) * 1000
      : nowMs;
    metadata['deletionTimestamp'] = rfc3339(Math.max(startedMs + grace * 1000, Math.min(nowMs, startedMs)));
    metadata['deletionGracePeriodSeconds'] = grace;
    const generation = numberAt(metadata, 'generation');
    if (generation !== undefined && !isBeingDeleted(old)) metadata['generation'] = generation + 1;
  }
  if (object['kind'] === 'Namespace') object['status'] = { phase: 'Terminating', ...conditionsOf(object) };
  return object;
}

function conditionsOf(object: JsonObject): JsonObject {
  const status = object['status'];
  if (typeof status !== 'object' || status === null || Array.isArray(status)) return {};
  return status['conditions'] === undefined ? {} : { conditions: status['conditions'] };
}

function setPropagation(metadata: JsonObject, propagation: Propagation | undefined): void {
  if (propagation === undefined) return;
  const wanted = propagationFinalizers[propagation];
  const others = stringsAt(metadata, 'finalizers').filter(
    (finalizer) => finalizer !== 'foregroundDeletion' && finalizer !== 'orphan',
  );
  const finalizers = wanted === undefined ? others : [...others, wanted];
  if (finalizers.length === 0) delete metadata['finalizers'];
  else metadata['finalizers'] = finalizers;
}

/** From the body (DeleteOptions) or, without one, from the query. */
export async function readDeleteOptions(target: Target): Promise<DeleteOptions> {
  const { request } = target;
  const { query } = request;
  const bytes = await request.body();
  const given = bytes.length === 0 ? {} : await decodeOptions(target);
  const graceText = query.get('gracePeriodSeconds') ?? '';
  const orphan =
    given['orphanDependents'] ??
    (query.has('orphanDependents') ? isTrue(query.get('orphanDependents')) : undefined);
  const propagation = stringAt(given, 'propagationPolicy') || (query.get('propagationPolicy') ?? '');
  return {
    graceSeconds:
      numberAt(given, 'gracePeriodSeconds') ?? (graceText === '' ? undefined : parseGrace(graceText)),
    propagation: parsePropagation(target, propagation, typeof orphan === 'boolean' ? orphan : undefined),
    uid: stringAt(given, 'preconditions', 'uid'),
    resourceVersion: stringAt(given, 'preconditions', 'resourceVersion'),
    dryRun: isDryRun(target) || stringsAt(given, 'dryRun').includes('All'),
  };
}

async function decodeOptions(target: Target): Promise<JsonObject> {
  const body = await readBody(target, 'meta/v1.DeleteOptions');
  // Clients name any group version here: v1, apps/v1, policy/v1 …
  const identity = typeof body === 'object' && body !== null && !Array.isArray(body) ? { ...body } : body;
  if (typeof identity === 'object' && identity !== null && !Array.isArray(identity)) {
    delete identity['apiVersion'];
  }
  return decodeAs(
    { group: '', version: 'v1', kind: 'DeleteOptions' },
    'meta/v1.DeleteOptions',
    identity,
    'Ignore',
  ).object;
}

function parseGrace(text: string): number {
  const seconds = Number(text);
  if (!Number.isInteger(seconds))
    throw badRequest(`gracePeriodSeconds: Invalid value: ${JSON.stringify(text)}`);
  return seconds;
}

function parsePropagation(
  target: Target,
  text: string,
  orphan: boolean | undefined,
): Propagation | undefined {
  if (text === '') return orphan === undefined ? undefined : orphan ? 'Orphan' : 'Background';
  if (text === 'Foreground' || text === 'Background' || text === 'Orphan') return text;
  throw invalidOptions(
    target,
    notOneOf('propagationPolicy', text, ['Foreground', 'Background', 'Orphan', 'nil']),
  );
}
