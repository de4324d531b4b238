import { trackUpdate } from '../api/apply/managed-fields.ts';
import { rootTypeOf } from '../api/apply/typed-value.ts';
import { decodeBody, decodeObject, duplicateFieldsOf, type FieldValidation } from '../api/decode.ts';
import { type DuplicateFields, noDuplicates } from '../api/duplicate-fields.ts';
import { notSupported } from '../api/field-errors.ts';
import { ensureObject, jsonEqual, stringAt } from '../api/fields.ts';
import type { FieldError, Kind, Part, PartName } from '../api/kind.ts';
import { isJsonObject, type Json, type JsonObject } from '../api/object.ts';
import { alreadyExists, conflict, invalid, notFound } from '../api/status.ts';
import { rfc3339 } from '../base/clock.ts';
import { type Claims, type Entry, isStoreError, type Turn } from '../store/store.ts';
import type { QuotaReservation } from './quota.ts';
import { admitCreate, admitUpdate, requireNamespace } from './admission.ts';
import { admissionRequest, type BodyKind, writeOptions } from './admission-request.ts';
import type { ApiContext, Target } from './context.ts';
import { storable } from './custom-resources/conversion.ts';
import {
  mutate,
  mutateNew,
  mutatesDynamically,
  validate,
  validatesDynamically,
} from './dynamic-admission.ts';
import { managerOf } from './field-manager.ts';
import { invalidOptions } from './invalid-options.ts';
import { prepare, requireEntry } from './list.ts';
import { companionsOf } from './namespaces.ts';
import {
  isReadyToGo,
  keyOfObject,
  parseEntry,
  type StoredObject,
  templateOf,
  templateOfEntry,
} from './objects.ts';
import { claimsOfWrite, type Reservation } from './service-allocator.ts';
import { restore, stampChanged, stampNew } from './stamp.ts';

/** The result of a write: stored, or only thought through (dry run). */
export type Written =
  | { readonly kind: 'stored'; readonly entry: Entry; readonly created: boolean }
  /** The change took the last finalizer from an object that was waiting to go. */
  | { readonly kind: 'removed'; readonly entry: Entry }
  | { readonly kind: 'dry-run'; readonly object: JsonObject; readonly created: boolean };

/** Tries of a change without a precondition when others write the same object. */
const conflictRetriesMax = 8;

export function fieldValidationOf(target: Target): FieldValidation {
  const value = target.request.query.get('fieldValidation') ?? '';
  if (value === '' || value === 'Warn') return 'Warn';
  if (value === 'Ignore' || value === 'Strict') return value;
  throw invalidOptions(target, notSupported('fieldValidation', value, ['', 'Ignore', 'Strict', 'Warn']));
}

export async function decodeRequest(
  target: Target,
): Promise<{ readonly object: JsonObject; readonly warnings: readonly string[] }> {
  const fieldValidation = fieldValidationOf(target);
  const body = await readBody(target, target.kind.schema);
  return decodeObject(target.kind, body, fieldValidation, await duplicatesIn(target, body));
}

/** The fields that the request's body gives twice, where anybody is to be told. `body`: what was decoded. */
export async function duplicatesIn(target: Target, body: Json): Promise<DuplicateFields> {
  const { request } = target;
  if (fieldValidationOf(target) === 'Ignore') return noDuplicates;
  return duplicateFieldsOf(await request.body(), request.headers['content-type'] ?? '', body);
}

/** The body as JSON, whatever it came as. `schema` is what it should hold. Throws StatusError 400, 408, 413 or 415. */
export async function readBody(target: Target, schema: string): Promise<Json> {
  const { request } = target;
  const bytes = await request.body();
  const contentType = request.headers['content-type'] ?? '';
  const isProtobuf = contentType.startsWith('application/vnd.kubernetes.protobuf');
  const body = isProtobuf
    ? (await import('./protobuf-body.ts')).decodeProtobufBody(bytes, schema)
    : await decodeBody(bytes, contentType);
  request.audit?.sent(body);
  return body;
}

/** Makes an object out of a decoded one. Throws StatusError. */
export async function createObject(
  context: ApiContext,
  target: Target,
  wanted: JsonObject,
  options: {
    readonly dryRun: boolean;
    /** The object carries its managedFields already: it comes from server-side apply. */
    readonly applied?: true;
  },
): Promise<Written> {
  const { kind } = target;
  const { dryRun } = options;
  const recorded = options.applied === true ? managedFieldsOf(wanted) : undefined;
  const generatedName = stringAt(wanted, 'metadata', 'name') === '';
  const { metadata } = stampNew(context, target, wanted);
  kind.setDefaults?.(wanted);
  kind.prepareForCreate?.(wanted);
  setManagedFields(
    metadata,
    recorded ??
      trackUpdate(rootTypeOf(kind), {}, withoutStatus(kind, wanted), managerOf(target, 'Update'), {
        sent: undefined,
        created: true,
        time: rfc3339(context.clock.nowMs()),
      }),
  );
  admitCreate(context, target, wanted);
  const object = await mutateNew(context, target, wanted, {
    dryRun,
    generatedName,
    settle(changed) {
      kind.setDefaults?.(changed);
      kind.prepareForCreate?.(changed);
      admitCreate(context, target, changed);
    },
  });
  const name = stringAt(object, 'metadata', 'name');
  const errors = kind.validate?.(object) ?? [];
  if (errors.length > 0) throw invalid(kind, name, errors);
  for (let attempt = 1; ; attempt++) {
    // Another server on the same store may be first with an address: then it is chosen anew.
    const draft = claimsOfWrite(kind, object, undefined) === undefined ? object : structuredClone(object);
    try {
      return await storeNew(context, target, draft, { dryRun, name });
    } catch (error) {
      if (isStoreError(error, 'Exists')) throw alreadyExists(kind, name);
      if (!isStoreError(error, 'Claimed')) throw error;
      if (attempt === conflictRetriesMax) throw conflict(kind, name, error.message);
    }
  }
}

async function storeNew(
  context: ApiContext,
  target: Target,
  object: JsonObject,
  { dryRun, name }: { readonly dryRun: boolean; readonly name: string },
): Promise<Written> {
  const { kind } = target;
  const reservation = reserve(context, target, object, undefined);
  try {
    await validateWrite(context, target, { operation: 'CREATE', object, oldObject: undefined, dryRun });
    if (dryRun) return { kind: 'dry-run', object, created: true };
    const key = keyOfObject(kind, kind.namespaced ? target.namespace : '', name);
    const toStore = kind.conversion === undefined ? object : await formToStore(context, target, object);
    const claims = claimsOfWrite(kind, object, undefined);
    const writing = reservation.write((turn) =>
      context.store.put(key, templateOf(kind, toStore), 0, withTurn(claims, turn)),
    );
    // One that exists already is as good as ours. Settled from the start: the write itself may be the one that fails.
    const companions = Promise.allSettled(
      companionsOf(context, kind, object).map(async (companion) => {
        await context.store.put(companion.key, companion.value, 0);
      }),
    );
    const entry = await writing;
    await companions;
    if (kind.conversion !== undefined) await prepare(context, target, [entry]);
    return { kind: 'stored', entry, created: true };
  } finally {
    reservation?.release();
  }
}

/** What the maker of an object owns: a status that others will write is nobody's, whatever it begins as. */
function withoutStatus(kind: Kind, object: JsonObject): JsonObject {
  if (!kind.subresources.includes('status')) return object;
  const { status: _, ...rest } = object;
  return rest;
}

/** Asks what the cluster's objects say of a write. Throws StatusError. */
async function validateWrite(
  context: ApiContext,
  target: Target,
  subject: {
    readonly operation: 'CREATE' | 'UPDATE';
    readonly object: JsonObject;
    readonly oldObject: JsonObject | undefined;
    readonly dryRun: boolean;
    readonly body?: BodyKind;
  },
): Promise<void> {
  if (!mutatesDynamically(context) && !validatesDynamically(context)) return;
  const options = writeOptions(target, subject.operation === 'CREATE' ? 'CreateOptions' : 'UpdateOptions');
  await validate(context, admissionRequest(context, target, { ...subject, options }));
  // Time went by: the namespace may have gone meanwhile.
  if (subject.operation === 'CREATE') requireNamespace(context, target);
}

/** The object in the version that is stored, by the kind's conversion webhook. */
function formToStore(context: ApiContext, target: Target, object: JsonObject): Promise<JsonObject> {
  return storable(context, target.kind, object, target.request.signal);
}

function reserve(
  context: ApiContext,
  target: Target,
  object: JsonObject,
  old: JsonObject | undefined,
): QuotaReservation {
  const quota =
    target.kind.namespaced && (old === undefined || target.subresource === 'resize')
      ? context.quotas.reserve(target.kind, target.namespace, object, old)
      : undefined;
  try {
    const addresses = reserveAddresses(context, target, object, old);
    return {
      write: (put) => quota?.write(put) ?? put(undefined),
      release() {
        quota?.release();
        addresses?.release();
      },
    };
  } catch (error) {
    quota?.release();
    throw error;
  }
}

function withTurn(claims: Claims | undefined, turn: Turn | undefined): Claims | undefined {
  return turn === undefined ? claims : { taken: [], released: [], ...claims, turn };
}

function reserveAddresses(
  context: ApiContext,
  target: Target,
  object: JsonObject,
  old: JsonObject | undefined,
): Reservation | undefined {
  const { kind } = target;
  if (kind.group !== '' || kind.plural !== 'services') return undefined;
  const reservation = context.services.reserve(object, old);
  if (reservation.errors.length > 0) {
    reservation.release();
    // Of ports that are wrong in themselves it says nothing that there is no node port for them.
    const wrong = (kind.validate?.(object) ?? []).filter(({ field }) => field.startsWith('spec.ports'));
    const errors = wrong.length > 0 ? wrong : reservation.errors;
    throw invalid(kind, stringAt(object, 'metadata', 'name'), errors);
  }
  return reservation;
}

function managedFieldsOf(object: JsonObject): Json | undefined {
  const { metadata } = object;
  return isJsonObject(metadata) ? metadata['managedFields'] : undefined;
}

function setManagedFields(metadata: JsonObject, entries: Json | undefined): void {
  delete metadata['managedFields'];
  if (entries !== undefined) metadata['managedFields'] = entries;
}

/** What a client may write of an object by itself. */
export type WritablePart = 'main' | 'status' | PartName;

export type Change = {
  readonly part: WritablePart | 'finalize' | 'binding';
  readonly dryRun: boolean;
  /** The wanted object carries its managedFields already: it comes from server-side apply. */
  readonly applied?: true;
  /** What admission is shown instead of the object, where the subresource has a body of another type. */
  readonly shownAs?: ShownBody;
  /** The wanted object; gets a copy of the stored one that it may change and return. May be called again. */
  change(old: StoredObject): JsonObject;
};

export type ShownBody = {
  readonly kind: BodyKind;
  show(object: JsonObject): JsonObject;
  /** The object with what the body says. */
  accept(object: JsonObject, body: JsonObject): JsonObject;
};

/** Changes the stored object that the path names, trying again when others come first. Throws StatusError. */
export async function changeObject(context: ApiContext, target: Target, change: Change): Promise<Written> {
  for (let attempt = 1; ; attempt++) {
    const entry = requireEntry(context, target);
    if (target.kind.conversion !== undefined) await prepare(context, target, [entry]);
    const wanted = change.change(parseEntry(entry, target.kind));
    const precondition = stringAt(wanted, 'metadata', 'resourceVersion');
    if (precondition !== '' && precondition !== String(entry.revision)) {
      throw conflict(target.kind, target.name);
    }
    try {
      return await tryChange(context, target, change, entry, wanted);
    } catch (error) {
      if (isStoreError(error, 'Missing')) throw notFound(target.kind, target.name);
      if (!isStoreError(error, 'Conflict') && !isStoreError(error, 'Claimed')) throw error;
      if (attempt === conflictRetriesMax) throw conflict(target.kind, target.name);
      await nextCommit();
    }
  }
}

/** Lets a write that waits for its commit become visible. */
export function nextCommit(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

async function tryChange(
  context: ApiContext,
  target: Target,
  change: Change,
  entry: Entry,
  wanted: JsonObject,
): Promise<Written> {
  const { kind, name } = target;
  const old = parseEntry(entry, kind);
  const sent = managedFieldsOf(wanted);
  const asked = settled(target, change, wanted, old);
  recordManager(context, target, change, { object: asked, old, sent });
  admitUpdate(context, target, asked, old);
  const object = await mutateChanged(context, target, change, asked, old);
  const reservation = writesSpec(target, change) ? reserve(context, target, object, old) : undefined;
  try {
    const errors = errorsOf(target, change, object, old);
    if (errors.length > 0) throw invalid(kind, name, errors);
    if (change.part !== 'binding') {
      const shown = (state: JsonObject): JsonObject => change.shownAs?.show(state) ?? state;
      await validateWrite(context, target, {
        operation: 'UPDATE',
        object: shown(object),
        oldObject: shown(old),
        dryRun: change.dryRun,
        ...(change.shownAs === undefined ? {} : { body: change.shownAs.kind }),
      });
    }
    if (change.dryRun) return { kind: 'dry-run', object, created: false };
    if (isReadyToGo(object)) {
      const released = claimsOfWrite(kind, undefined, old);
      const removed = await context.store.delete(entry.key, templateOfEntry(entry), entry.revision, released);
      if (kind.conversion !== undefined) await prepare(context, target, [removed]);
      return { kind: 'removed', entry: removed };
    }
    if (jsonEqual(object, old)) return { kind: 'stored', entry, created: false };
    const toStore = kind.conversion === undefined ? object : await formToStore(context, target, object);
    const claims = claimsOfWrite(kind, object, old);
    const put = (turn?: Turn): Promise<Entry> =>
      context.store.put(entry.key, templateOf(kind, toStore), entry.revision, withTurn(claims, turn));
    const written = await (reservation?.write(put) ?? put());
    if (kind.conversion !== undefined) await prepare(context, target, [written]);
    return { kind: 'stored', entry: written, created: false };
  } finally {
    reservation?.release();
  }
}

/** The wanted object with what clients cannot change put back, defaults, and what its kind derives from the change. */
function settled(target: Target, change: Change, wanted: JsonObject, old: StoredObject): JsonObject {
  const { kind } = target;
  const object = stampChanged(target, change, wanted, old);
  kind.setDefaults?.(object);
  if (writesSpec(target, change)) kind.prepareForUpdate?.(object, old);
  return object;
}

/** The changed object after the mutating webhooks. A binding was shown to them as such. */
async function mutateChanged(
  context: ApiContext,
  target: Target,
  change: Change,
  object: JsonObject,
  old: StoredObject,
): Promise<JsonObject> {
  if (change.part === 'binding' || !mutatesDynamically(context)) return object;
  const { shownAs } = change;
  const managedFields = managedFieldsOf(object);
  const shown = shownAs?.show(object) ?? object;
  const settle = (changed: JsonObject): JsonObject => {
    const next = settled(target, change, shownAs?.accept(structuredClone(object), changed) ?? changed, old);
    next['metadata'] = { ...ensureObject(next, 'metadata') };
    setManagedFields(ensureObject(next, 'metadata'), managedFields);
    admitUpdate(context, target, next, old);
    return next;
  };
  const request = admissionRequest(context, target, {
    operation: 'UPDATE',
    object: shown,
    oldObject: shownAs?.show(old) ?? old,
    dryRun: change.dryRun,
    options: writeOptions(target, 'UpdateOptions'),
    ...(shownAs === undefined ? { settle } : { body: shownAs.kind }),
  });
  const changed = await mutate(context, request);
  if (changed === undefined || changed === shown) return object;
  return shownAs === undefined ? changed : settle(changed);
}

/** How the change writes its part of the object; undefined for the parts that every kind has. */
function partOf({ kind }: Target, { part }: Change): Part | undefined {
  const isPart = part === 'ephemeralcontainers' || part === 'resize' || part === 'approval';
  return isPart ? kind.parts?.[part] : undefined;
}

/** What is wrong with the changed object, by the rules of what the change may write of it. */
function errorsOf(
  target: Target,
  change: Change,
  object: JsonObject,
  old: StoredObject,
): readonly FieldError[] {
  const { kind } = target;
  // A binding sets what no update may change, and takes nothing else from its client.
  if (change.part === 'binding') return [];
  if (change.part === 'status') return kind.validateStatus?.(object, old) ?? [];
  const part = partOf(target, change);
  if (part?.of === 'status') return part.validate(object, old);
  return [
    ...(kind.validate?.(object, old) ?? []),
    ...(part?.validate(object, old) ?? kind.validateUpdate?.(object, old) ?? []),
  ];
}

function writesSpec(target: Target, change: Change): boolean {
  return change.part === 'main' || partOf(target, change)?.of === 'spec';
}

/** Puts who owns what into the object. Bindings and finalize are the server's own business, as in Kubernetes. */
function recordManager(
  context: ApiContext,
  target: Target,
  { part, applied }: Change,
  state: { readonly object: JsonObject; readonly old: StoredObject; readonly sent: Json | undefined },
): void {
  const { object, old, sent } = state;
  const metadata = { ...ensureObject(object, 'metadata') };
  object['metadata'] = metadata; // that of a status update is still the old object's
  if (part === 'binding' || part === 'finalize') {
    restore(metadata, old.metadata, 'managedFields');
    return;
  }
  setManagedFields(
    metadata,
    applied === true
      ? sent
      : trackUpdate(rootTypeOf(target.kind), old, object, managerOf(target, 'Update'), {
          sent: target.subresource === '' ? sent : undefined,
          created: false,
          time: rfc3339(context.clock.nowMs()),
        }),
  );
}
