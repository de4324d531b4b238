import { stringAt } from '../api/fields.ts';
import type { JsonObject } from '../api/object.ts';
import { apiVersionOfKind } from '../api/registry.ts';
import { type FailureStatus, notAcceptable } from '../api/status.ts';
import {
  type IncludeObject,
  partialObjectMetadata,
  partialObjectMetadataList,
  renderTable,
} from '../api/table.ts';
import type { Entry, StoreEvent } from '../store/store.ts';
import type { ApiContext, Target } from './context.ts';
import { jsonReply, type Reply } from './exchange.ts';
import type { Page } from './list.ts';
import { type Form, negotiateForm, servedMediaTypes } from './negotiate.ts';
import { parseEntry, servedBytes } from './objects.ts';
import type { ProtobufEncoder } from './protobuf-encode.ts';

/** From stored bytes to what the client asked for. Plain objects are never decoded: their bytes are joined or wrapped. */

export type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

/** Throws StatusError 406. */
export function formOf(target: Target): Form {
  const form = negotiateForm(target.request.headers.accept, {
    protobuf: target.protobuf?.hasProtobuf(target.kind.schema) === true,
    // Reviews are answers, which nobody lists.
    tables: target.kind.ephemeral !== true,
  });
  if (form === undefined) throw notAcceptable(servedMediaTypes);
  return form;
}

export function renderObject(
  context: ApiContext,
  target: Target,
  form: Form,
  entry: Entry,
  status: number,
  warnings: readonly string[] = [],
): Reply {
  if (target.protobuf !== undefined && form.protobuf) {
    const body = [encoded(target.protobuf, target, form, parseEntry(entry, target.kind))];
    return { kind: 'bytes', status, contentType: form.contentType, body, warnings };
  }
  const plain = form.as === 'object';
  const bytes = plain ? servedBytes(entry, target.kind) : encode(formed(context, target, form, entry));
  return {
    kind: 'bytes',
    status,
    contentType: form.contentType,
    body: [bytes, newline],
    warnings,
  };
}

/** An object as protobuf: whole, or its metadata. */
function encoded(encoder: ProtobufEncoder, target: Target, form: Form, object: JsonObject): Buffer {
  return form.as === 'metadata'
    ? encoder.encodeMetadata(partialObjectMetadata(object, form.metaVersion))
    : encoder.encodeObject(target.kind.schema, object);
}

/** As renderObject for an object that is not stored, such as the result of a dry run. */
export function renderUnstored(
  context: ApiContext,
  target: Target,
  form: Form,
  object: JsonObject,
  status: number,
  warnings: readonly string[] = [],
): Reply {
  if (target.protobuf !== undefined && form.protobuf) {
    const body = [encoded(target.protobuf, target, form, object)];
    return { kind: 'bytes', status, contentType: form.contentType, body, warnings };
  }
  const value = form.as === 'object' ? object : formedObject(context, target, form, object);
  return jsonReply(value, status, { warnings, contentType: form.contentType });
}

export function renderList(context: ApiContext, target: Target, form: Form, page: Page): Reply {
  const listMeta: JsonObject = {
    resourceVersion: String(page.revision),
    ...(page.continueToken === undefined ? {} : { continue: page.continueToken }),
    ...(page.remaining === undefined ? {} : { remainingItemCount: page.remaining }),
  };
  if (form.as === 'table') {
    const table = renderTable(target.kind, objectsOf(target, page), {
      version: form.metaVersion,
      includeObject: includeObjectOf(target),
      nowMs: context.clock.nowMs(),
      listMeta,
    });
    return jsonReply(table, 200, { contentType: form.contentType });
  }
  if (form.as === 'metadata') {
    const list = partialObjectMetadataList(objectsOf(target, page), listMeta, form.metaVersion);
    if (target.protobuf !== undefined && form.protobuf) {
      const body = [target.protobuf.encodeMetadataList(form.metaVersion, list, list.items)];
      return { kind: 'bytes', status: 200, contentType: form.contentType, body };
    }
    return jsonReply(list, 200, { contentType: form.contentType });
  }
  const { kind } = target;
  if (target.protobuf !== undefined && form.protobuf) {
    const list = { apiVersion: apiVersionOfKind(kind), kind: `${kind.kind}List`, metadata: listMeta };
    const body = [target.protobuf.encodeList(kind.schema, list, objectsOf(target, page))];
    return { kind: 'bytes', status: 200, contentType: form.contentType, body };
  }
  const head = `{"kind":"${kind.kind}List","apiVersion":"${apiVersionOfKind(kind)}","metadata":${JSON.stringify(listMeta)},"items":[`;
  const body: Uint8Array[] = [Buffer.from(head)];
  for (const [at, entry] of page.entries.entries()) {
    if (at > 0) body.push(comma);
    body.push(servedBytes(entry, kind));
  }
  body.push(listEnd);
  return { kind: 'bytes', status: 200, contentType: form.contentType, body };
}

function objectsOf(target: Target, page: Page): readonly JsonObject[] {
  return page.entries.map((entry) => parseEntry(entry, target.kind));
}

const comma = Buffer.from(',');
const newline = Buffer.from('\n');
const listEnd = Buffer.from(']}\n');
const eventEnd = Buffer.from('}\n');
const eventHead: Readonly<Record<EventType, Buffer>> = {
  ADDED: Buffer.from('{"type":"ADDED","object":'),
  MODIFIED: Buffer.from('{"type":"MODIFIED","object":'),
  DELETED: Buffer.from('{"type":"DELETED","object":'),
};

/** Frames of one event, by type and form: a hundred watchers share one encoding. Dies with the history. */
const framesOfEvent = new WeakMap<StoreEvent, Map<string, Buffer>>();

/** One line of a watch. With `event` the frame is made once for all watchers of this form. */
export function renderEvent(
  context: ApiContext,
  target: Target,
  form: Form,
  type: EventType,
  entry: Entry,
  event?: StoreEvent,
): Buffer {
  if (event === undefined) return frame(context, target, form, type, entry);
  let frames = framesOfEvent.get(event);
  if (frames === undefined) {
    frames = new Map();
    framesOfEvent.set(event, frames);
  }
  const include = form.as === 'table' ? includeObjectOf(target) : '';
  const key = `${type} ${apiVersionOfKind(target.kind)} ${form.as} ${form.metaVersion} ${include} ${form.protobuf}`;
  const known = frames.get(key);
  if (known !== undefined) return known;
  const made = frame(context, target, form, type, entry);
  frames.set(key, made);
  return made;
}

function frame(context: ApiContext, target: Target, form: Form, type: EventType, entry: Entry): Buffer {
  if (target.protobuf !== undefined && form.protobuf) {
    const object = parseEntry(entry, target.kind);
    return target.protobuf.encodeEvent(type, encoded(target.protobuf, target, form, object));
  }
  const bytes =
    form.as === 'object' ? servedBytes(entry, target.kind) : encode(formed(context, target, form, entry));
  return Buffer.concat([eventHead[type], bytes, eventEnd]);
}

/** Tells the client how far it has seen everything; `initial-events-end` also that the state at the start is complete. */
export function renderBookmark(
  target: Target,
  form: Form,
  revision: number,
  meaning: 'progress' | 'initial-events-end',
): Buffer {
  const metadata: JsonObject = {
    resourceVersion: String(revision),
    ...(meaning === 'progress' ? {} : { annotations: { 'k8s.io/initial-events-end': 'true' } }),
  };
  const identity: Readonly<Record<Form['as'], JsonObject>> = {
    object: { kind: target.kind.kind, apiVersion: apiVersionOfKind(target.kind) },
    metadata: { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${form.metaVersion}` },
    table: { kind: 'Table', apiVersion: `meta.k8s.io/${form.metaVersion}`, columnDefinitions: [], rows: [] },
  };
  const object: JsonObject = { ...identity[form.as], metadata };
  if (target.protobuf !== undefined && form.protobuf) {
    return target.protobuf.encodeEvent('BOOKMARK', encoded(target.protobuf, target, form, object));
  }
  return Buffer.from(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`);
}

/** The last event of a watch that cannot go on. */
export function renderErrorEvent(target: Target, form: Form, status: FailureStatus): Buffer {
  if (target.protobuf !== undefined && form.protobuf) {
    const object = target.protobuf.encodeObject('meta/v1.Status', status as unknown as JsonObject);
    return target.protobuf.encodeEvent('ERROR', object);
  }
  return Buffer.from(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
}

function formed(context: ApiContext, target: Target, form: Form, entry: Entry): JsonObject {
  return formedObject(context, target, form, parseEntry(entry, target.kind));
}

function formedObject(context: ApiContext, target: Target, form: Form, object: JsonObject): JsonObject {
  if (form.as === 'metadata') return partialObjectMetadata(object, form.metaVersion);
  return renderTable(target.kind, [object], {
    version: form.metaVersion,
    includeObject: includeObjectOf(target),
    nowMs: context.clock.nowMs(),
    listMeta: { resourceVersion: stringAt(object, 'metadata', 'resourceVersion') },
  });
}

function includeObjectOf(target: Target): IncludeObject {
  const asked = target.request.query.get('includeObject');
  return asked === 'None' || asked === 'Object' ? asked : 'Metadata';
}

function encode(value: JsonObject): Buffer {
  return Buffer.from(JSON.stringify(value));
}
