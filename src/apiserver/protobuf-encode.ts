import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { objectAt, stringAt } from '../api/fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../api/object.ts';
import type { Field, FieldType, Scalar } from '../api/schema.ts';
import type { MetaVersion } from '../api/table.ts';
import { type Numbers, numbersOf, protobufMagic, shapedType } from './protobuf-numbers.ts';
import { messageOf } from './protobuf-shapes.ts';

/**
 * Objects as application/vnd.kubernetes.protobuf, which client-go's typed clients ask for: the inverse of
 * protobuf-body.ts, by the same table. Kubernetes' messages are proto2 with explicit presence, so what the JSON does not
 * have is not written.
 */

/** What the handlers use of this file, which is loaded when a client first asks for protobuf. */
export type ProtobufEncoder = {
  readonly hasProtobuf: typeof hasProtobuf;
  readonly encodeObject: typeof encodeObject;
  readonly encodeList: typeof encodeList;
  readonly encodeMetadata: typeof encodeMetadata;
  readonly encodeMetadataList: typeof encodeMetadataList;
  readonly encodeEvent: typeof encodeEvent;
};

/** Whether objects of the type ("core/v1.Pod") have a protobuf form. */
export function hasProtobuf(typeName: string): boolean {
  return numbersOf(typeName).size > 0;
}

/** An object with its envelope. */
export function encodeObject(typeName: string, object: JsonObject): Buffer {
  return encodeEnvelope(object, encodeMessage(typeName, object));
}

/** A list: all of them have their metadata at 1 and their items at 2. */
export function encodeList(typeName: string, list: ListHead, items: Iterable<JsonObject>): Buffer {
  const writer = new BinaryWriter();
  writeBytes(writer, 1, encodeMessage('meta/v1.ListMeta', list.metadata));
  for (const item of items) writeBytes(writer, 2, encodeMessage(typeName, item));
  return encodeEnvelope({ apiVersion: list.apiVersion, kind: list.kind }, writer.finish());
}

type ListHead = { readonly apiVersion: string; readonly kind: string; readonly metadata: JsonObject };

/** A PartialObjectMetadata with its envelope: metadata = 1. */
export function encodeMetadata(partial: JsonObject): Buffer {
  return encodeEnvelope(partial, partialMessage(partial));
}

function partialMessage(partial: JsonObject): Uint8Array {
  const writer = new BinaryWriter();
  writeBytes(writer, 1, encodeMessage('meta/v1.ObjectMeta', objectAt(partial, 'metadata') ?? {}));
  return writer.finish();
}

/** A PartialObjectMetadataList. v1 has its metadata at 1 and its items at 2, v1beta1 the other way round. */
export function encodeMetadataList(
  version: MetaVersion,
  list: ListHead,
  items: Iterable<JsonObject>,
): Buffer {
  const [metadataAt, itemsAt] = version === 'v1' ? [1, 2] : [2, 1];
  const writer = new BinaryWriter();
  writeBytes(writer, metadataAt, encodeMessage('meta/v1.ListMeta', list.metadata));
  for (const item of items) writeBytes(writer, itemsAt, partialMessage(item));
  return encodeEnvelope({ apiVersion: list.apiVersion, kind: list.kind }, writer.finish());
}

/**
 * One event of a watch: its length in four bytes, then metav1.WatchEvent {type = 1, object = 2 {raw = 1}}. `object` is
 * encoded, with its envelope.
 */
export function encodeEvent(type: string, object: Uint8Array): Buffer {
  const raw = new BinaryWriter();
  writeBytes(raw, 1, object);
  const event = new BinaryWriter();
  event.tag(1, WireType.LengthDelimited).string(type);
  writeBytes(event, 2, raw.finish());
  const bytes = event.finish();
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** runtime.Unknown: typeMeta = 1 {apiVersion = 1, kind = 2}, raw = 2, contentEncoding = 3, contentType = 4. */
function encodeEnvelope(identity: JsonObject, raw: Uint8Array): Buffer {
  const typeMeta = new BinaryWriter();
  typeMeta.tag(1, WireType.LengthDelimited).string(stringAt(identity, 'apiVersion'));
  typeMeta.tag(2, WireType.LengthDelimited).string(stringAt(identity, 'kind'));
  const unknown = new BinaryWriter();
  writeBytes(unknown, 1, typeMeta.finish());
  writeBytes(unknown, 2, raw);
  unknown.tag(3, WireType.LengthDelimited).string('');
  unknown.tag(4, WireType.LengthDelimited).string('');
  return Buffer.concat([protobufMagic, unknown.finish()]);
}

function writeBytes(writer: BinaryWriter, number: number, bytes: Uint8Array): void {
  writer.tag(number, WireType.LengthDelimited).bytes(bytes);
}

function encodeMessage(typeName: string, object: JsonObject): Uint8Array {
  const writer = new BinaryWriter();
  const { numbers, fields } = messageOf(typeName);
  writeFields(writer, numbers, fields, object);
  return writer.finish();
}

/** The value of a field whose type has a name. Undefined: it is not of that type. */
function encodeValue(typeName: string, value: Json): Uint8Array | undefined {
  const { shape } = messageOf(typeName);
  if (shape !== undefined) return encodeMessage(typeName, shape.toMessage(value));
  return isJsonObject(value) ? encodeMessage(typeName, value) : undefined;
}

function writeFields(
  writer: BinaryWriter,
  numbers: Numbers,
  fields: ReadonlyMap<string, Field>,
  object: JsonObject,
): void {
  for (const [number, numbered] of numbers) {
    if (numbered.kind === 'embedded') {
      const inner = new BinaryWriter();
      writeFields(inner, numbered.numbers, fields, object);
      const bytes = inner.finish();
      if (bytes.length > 0) writeBytes(writer, number, bytes);
      continue;
    }
    const value = object[numbered.name];
    const field = fields.get(numbered.name);
    if (field !== undefined && value !== undefined && value !== null) {
      const { shape } = numbered;
      writeField(writer, number, shape === undefined ? field.type : shapedType(field.type, shape), value);
    }
  }
}

function writeField(writer: BinaryWriter, number: number, type: FieldType, value: Json): void {
  if (type.kind === 'list') {
    if (!Array.isArray(value)) return;
    for (const item of value) writeValue(writer, number, type.of, item);
  } else if (type.kind === 'map') {
    if (!isJsonObject(value)) return;
    for (const key of Object.keys(value).toSorted()) writeMapEntry(writer, number, type.of, key, value[key]);
  } else {
    writeValue(writer, number, type, value);
  }
}

function writeMapEntry(
  writer: BinaryWriter,
  number: number,
  type: FieldType,
  key: string,
  value: Json | undefined,
): void {
  const entry = new BinaryWriter();
  entry.tag(1, WireType.LengthDelimited).string(key);
  if (type.kind === 'list') {
    // A list as a map's value is a message with the list at 1.
    const list = new BinaryWriter();
    for (const item of Array.isArray(value) ? value : []) writeValue(list, 1, type.of, item);
    writeBytes(entry, 2, list.finish());
  } else if (value !== undefined) {
    writeValue(entry, 2, type, value);
  }
  writeBytes(writer, number, entry.finish());
}

function writeValue(writer: BinaryWriter, number: number, type: FieldType, value: Json): void {
  switch (type.kind) {
    case 'scalar':
      writeScalar(writer, number, type.scalar, value);
      return;
    case 'type': {
      const bytes = encodeValue(type.name, value);
      if (bytes !== undefined) writeBytes(writer, number, bytes);
      return;
    }
    case 'list':
    case 'map':
      return; // no message has a list of lists
  }
}

function writeScalar(writer: BinaryWriter, number: number, scalar: Scalar, value: Json): void {
  switch (scalar) {
    case 'string':
      writer.tag(number, WireType.LengthDelimited).string(textOf(value));
      return;
    case 'bool':
      writer.tag(number, WireType.Varint).bool(value === true);
      return;
    case 'int32':
      writer.tag(number, WireType.Varint).int32(Number(value));
      return;
    case 'int64':
      writer.tag(number, WireType.Varint).int64(Math.trunc(Number(value)));
      return;
    case 'double':
      writer.tag(number, WireType.Bit64).double(Number(value));
      return;
    case 'bytes':
      writeBytes(writer, number, Buffer.from(textOf(value), 'base64'));
      return;
    case 'quantity':
      writeBytes(writer, number, firstString(textOf(value)));
      return;
    case 'time':
    case 'microTime':
      writeBytes(writer, number, encodeTime(textOf(value)));
      return;
    case 'intOrString':
      writeBytes(writer, number, encodeIntOrString(value));
      return;
    case 'any':
      writeBytes(writer, number, firstString(JSON.stringify(value)));
      return;
  }
}

/** A stored value is of its field's type; another would be shown as it is. */
function textOf(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** resource.Quantity, runtime.RawExtension, FieldsV1: all they have is a text at 1. */
function firstString(text: string): Uint8Array {
  return new BinaryWriter().tag(1, WireType.LengthDelimited).string(text).finish();
}

/** metav1.Time and MicroTime: seconds = 1, nanos = 2. */
function encodeTime(text: string): Uint8Array {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) return new Uint8Array();
  const fraction = /\.(\d{1,9})/.exec(text)?.[1] ?? '';
  return new BinaryWriter()
    .tag(1, WireType.Varint)
    .int64(Math.floor(ms / 1000))
    .tag(2, WireType.Varint)
    .int32(Number(fraction.padEnd(9, '0')))
    .finish();
}

/** intstr.IntOrString: type = 1 (1 is a string), intVal = 2, strVal = 3. */
function encodeIntOrString(value: Json): Uint8Array {
  const isText = typeof value === 'string';
  return new BinaryWriter()
    .tag(1, WireType.Varint)
    .int64(isText ? 1 : 0)
    .tag(2, WireType.Varint)
    .int32(isText ? 0 : Number(value))
    .tag(3, WireType.LengthDelimited)
    .string(isText ? value : '')
    .finish();
}
