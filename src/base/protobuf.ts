import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/**
 * Protobuf messages declared as TypeScript values, so that the few messages that we use of CRI and etcd need no generator:
 * `message({ image: string(1), labels: map(9) })`. The wire format itself is @bufbuild/protobuf's.
 * proto3 rules: defaults are not written, unknown fields are skipped, absent scalars read as their default.
 */

type Scalar = 'string' | 'bool' | 'int32' | 'int64' | 'uint32' | 'uint64' | 'bytes';

/** `T` is what one value of the field is in TypeScript; `rule` says how often it occurs. */
export type Field<T> = {
  readonly number: number;
  readonly rule: 'scalar' | 'optional' | 'repeated' | 'map';
  readonly type: Scalar | MessageType<unknown>;
  /** Never set; carries T. */
  readonly value?: T;
};

type Fields = Readonly<Record<string, Field<unknown>>>;

type ValueOf<F> = F extends Field<infer T> ? T : never;

/** A decoded message: every field is there; absent messages are undefined. */
export type MessageOf<F extends Fields> = { readonly [K in keyof F]: ValueOf<F[K]> };

/** Never set `value`; carries T. Fields are kept in ascending order of their numbers. */
export type MessageType<T> = {
  readonly fields: ReadonlyMap<number, { readonly name: string; readonly field: Field<unknown> }>;
  readonly value?: T;
};

/** What may be left out when a message is written: everything. */
export type Partially<T> = T extends Uint8Array
  ? T
  : T extends readonly (infer E)[]
    ? readonly Partially<E>[]
    : T extends object
      ? { readonly [K in keyof T]?: Partially<T[K]> | undefined }
      : T;

export function message<F extends Fields>(fields: F): MessageType<MessageOf<F>> {
  const entries = Object.entries(fields).map(([name, field]) => [field.number, { name, field }] as const);
  return { fields: new Map(entries.toSorted((a, b) => a[0] - b[0])) };
}

const scalar =
  <T>(type: Scalar) =>
  (number: number): Field<T> => ({ number, rule: 'scalar', type });

export const string = scalar<string>('string');
export const bool = scalar<boolean>('bool');
export const int32 = scalar<number>('int32');
export const uint32 = scalar<number>('uint32');
/** As a double: exact to 2^53, which is 256 ns where the value is a time in ns since 1970. */
export const int64 = scalar<number>('int64');
export const uint64 = scalar<number>('uint64');
export const bytes = scalar<Uint8Array>('bytes');

export function optional<T>(number: number, type: MessageType<T>): Field<T | undefined> {
  return { number, rule: 'optional', type };
}

/** `repeated(3, 'string')` or `repeated(2, keyValue)`. */
export function repeated(number: number, type: 'string'): Field<readonly string[]>;
export function repeated(number: number, type: 'int64' | 'int32'): Field<readonly number[]>;
export function repeated<T>(number: number, type: MessageType<T>): Field<readonly T[]>;
export function repeated(number: number, type: Scalar | MessageType<unknown>): Field<unknown> {
  return { number, rule: 'repeated', type };
}

/** map<string, string>, the only one in use. */
export function map(number: number): Field<Readonly<Record<string, string>>> {
  return { number, rule: 'map', type: 'string' };
}

export function encode<T>(type: MessageType<T>, value: Partially<T>): Uint8Array {
  const writer = new BinaryWriter();
  writeFields(writer, type, value);
  return writer.finish();
}

/** Throws Error on bytes that are no message. */
export function decode<T>(type: MessageType<T>, data: Uint8Array): T {
  const reader = new BinaryReader(data);
  return readFields(reader, type, data.length) as T;
}

function writeFields(writer: BinaryWriter, type: MessageType<unknown>, value: unknown): void {
  const record = value as Readonly<Record<string, unknown>>;
  for (const { name, field } of type.fields.values()) {
    const member = record[name];
    if (member === undefined) continue;
    switch (field.rule) {
      case 'scalar':
        if (!isDefault(member)) writeValue(writer, field, member);
        break;
      case 'optional':
        writeValue(writer, field, member);
        break;
      case 'repeated':
        for (const element of member as readonly unknown[]) writeValue(writer, field, element);
        break;
      case 'map':
        for (const [key, text] of Object.entries(member as Readonly<Record<string, string>>)) {
          writer.tag(field.number, WireType.LengthDelimited).fork();
          writer.tag(1, WireType.LengthDelimited).string(key);
          writer.tag(2, WireType.LengthDelimited).string(text);
          writer.join();
        }
        break;
    }
  }
}

function isDefault(value: unknown): boolean {
  return (
    value === '' || value === 0 || value === false || (value instanceof Uint8Array && value.length === 0)
  );
}

function writeValue(writer: BinaryWriter, field: Field<unknown>, value: unknown): void {
  const { number, type } = field;
  if (typeof type !== 'string') {
    writer.tag(number, WireType.LengthDelimited).fork();
    writeFields(writer, type, value);
    writer.join();
    return;
  }
  switch (type) {
    case 'string':
      writer.tag(number, WireType.LengthDelimited).string(value as string);
      return;
    case 'bytes':
      writer.tag(number, WireType.LengthDelimited).bytes(value as Uint8Array);
      return;
    case 'bool':
      writer.tag(number, WireType.Varint).bool(value as boolean);
      return;
    case 'int32':
      writer.tag(number, WireType.Varint).int32(value as number);
      return;
    case 'uint32':
      writer.tag(number, WireType.Varint).uint32(value as number);
      return;
    case 'int64':
      writer.tag(number, WireType.Varint).int64(BigInt(value as number));
      return;
    case 'uint64':
      writer.tag(number, WireType.Varint).uint64(BigInt(value as number));
      return;
  }
}

function readFields(reader: BinaryReader, type: MessageType<unknown>, end: number): Record<string, unknown> {
  const record = defaults(type);
  while (reader.pos < end) {
    const [number, wireType] = reader.tag();
    const known = type.fields.get(number);
    if (known === undefined) {
      reader.skip(wireType, number);
      continue;
    }
    const { name, field } = known;
    switch (field.rule) {
      case 'scalar':
      case 'optional':
        record[name] = readValue(reader, field);
        break;
      case 'repeated': {
        const list = record[name] as unknown[];
        const packed = wireType === WireType.LengthDelimited && isNumeric(field.type);
        const until = packed ? reader.uint32() + reader.pos : reader.pos + 1;
        while (reader.pos < until) list.push(readValue(reader, field));
        break;
      }
      case 'map':
        readMapEntry(reader, record[name] as Record<string, string>);
        break;
    }
  }
  return record;
}

function isNumeric(type: Scalar | MessageType<unknown>): boolean {
  return typeof type === 'string' && type !== 'string' && type !== 'bytes';
}

function defaults(type: MessageType<unknown>): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  for (const { name, field } of type.fields.values()) {
    if (field.rule === 'repeated') record[name] = [];
    else if (field.rule === 'map') record[name] = {};
    else if (field.rule === 'optional') record[name] = undefined;
    else record[name] = scalarDefault(field.type);
  }
  return record;
}

function scalarDefault(type: Scalar | MessageType<unknown>): unknown {
  if (type === 'string') return '';
  if (type === 'bool') return false;
  if (type === 'bytes') return new Uint8Array(0);
  return 0;
}

function readValue(reader: BinaryReader, field: Field<unknown>): unknown {
  const { type } = field;
  if (typeof type !== 'string') {
    const length = reader.uint32();
    return readFields(reader, type, reader.pos + length);
  }
  switch (type) {
    case 'string':
      return reader.string();
    case 'bytes':
      return reader.bytes();
    case 'bool':
      return reader.bool();
    case 'int32':
      return reader.int32();
    case 'uint32':
      return reader.uint32();
    case 'int64':
      return Number(reader.int64());
    case 'uint64':
      return Number(reader.uint64());
  }
}

function readMapEntry(reader: BinaryReader, into: Record<string, string>): void {
  const length = reader.uint32(); // before reader.pos is read: evaluation is left to right
  const end = reader.pos + length;
  let key = '';
  let text = '';
  while (reader.pos < end) {
    const [number, wireType] = reader.tag();
    if (number === 1) key = reader.string();
    else if (number === 2) text = reader.string();
    else reader.skip(wireType, number);
  }
  into[key] = text;
}
