import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { bodyBytesMax, bodyDepthMax } from '../api/decode.ts';
import { isJsonObject, type Json, type JsonObject } from '../api/object.ts';
import type { Field, FieldType, Scalar } from '../api/schema.ts';
import { badRequest, tooLarge } from '../api/status.ts';
import { type Numbers, protobufMagic as magic, shapedType } from './protobuf-numbers.ts';
import { messageOf } from './protobuf-shapes.ts';

/**
 * Bodies as application/vnd.kubernetes.protobuf, which kubectl from 1.32 on and client-go's typed clients send. They
 * are turned into the JSON that the rest of the server reads.
 */

/** Reads a body that holds an object of `typeName` ("core/v1.Pod"). Throws StatusError 400 or 413. */
export function decodeProtobufBody(bytes: Buffer, typeName: string): JsonObject {
  if (bytes.length > bodyBytesMax) throw tooLarge(`limit is ${bodyBytesMax}`);
  if (!bytes.subarray(0, magic.length).equals(magic)) {
    throw badRequest('provided data does not appear to be a protobuf message, expected prefix 0x6b387300');
  }
  try {
    const { apiVersion, kind, raw } = readEnvelope(new BinaryReader(bytes.subarray(magic.length)));
    return { apiVersion, kind, ...readMessage(new BinaryReader(raw), typeName, 0) };
  } catch (error) {
    // The reader throws RangeError and Error for bytes that are cut off or no protobuf at all.
    throw badRequest(
      `proto: cannot parse the body: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

type Envelope = { readonly apiVersion: string; readonly kind: string; readonly raw: Uint8Array };

/** runtime.Unknown: typeMeta = 1 {apiVersion = 1, kind = 2}, raw = 2. */
function readEnvelope(reader: BinaryReader): Envelope {
  let raw: Uint8Array = new Uint8Array();
  const names = ['', ''];
  eachField(reader, (number, wireType) => {
    if (number === 2 && wireType === WireType.LengthDelimited) raw = reader.bytes();
    else if (number === 1 && wireType === WireType.LengthDelimited) {
      const inner = new BinaryReader(reader.bytes());
      eachField(inner, (at, type) => {
        if ((at === 1 || at === 2) && type === WireType.LengthDelimited) names[at - 1] = inner.string();
        else inner.skip(type);
      });
    } else reader.skip(wireType);
  });
  return { apiVersion: names[0] ?? '', kind: names[1] ?? '', raw };
}

function eachField(reader: BinaryReader, visit: (number: number, wireType: WireType) => void): void {
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    visit(number, wireType);
  }
}

function readMessage(reader: BinaryReader, typeName: string, depth: number): JsonObject {
  if (depth > bodyDepthMax) throw badRequest(`the object is nested deeper than ${bodyDepthMax} levels`);
  const object: JsonObject = {};
  const { numbers, fields } = messageOf(typeName);
  readInto(object, reader, numbers, fields, depth);
  return object;
}

/** A message as the value of a field: an object, or what its JSON looks like instead. */
function readShaped(reader: BinaryReader, typeName: string, depth: number): Json {
  const message = readMessage(reader, typeName, depth);
  const { shape } = messageOf(typeName);
  return shape === undefined ? message : shape.fromMessage(message);
}

function readInto(
  object: JsonObject,
  reader: BinaryReader,
  numbers: Numbers,
  fields: ReadonlyMap<string, Field>,
  depth: number,
): void {
  eachField(reader, (number, wireType) => {
    const numbered = numbers.get(number);
    if (numbered?.kind === 'embedded') {
      readInto(object, new BinaryReader(reader.bytes()), numbered.numbers, fields, depth + 1);
      return;
    }
    const field = numbered === undefined ? undefined : fields.get(numbered.name);
    if (numbered === undefined || field === undefined) {
      reader.skip(wireType); // newer than our schema
      return;
    }
    const { shape } = numbered;
    const type = shape === undefined ? field.type : shapedType(field.type, shape);
    readField(
      object,
      numbered.name,
      reader,
      wireType,
      { type, required: field.required || shape !== undefined },
      depth,
    );
  });
}

function readField(
  object: JsonObject,
  name: string,
  reader: BinaryReader,
  wireType: WireType,
  { type, required }: Field,
  depth: number,
): void {
  if (type.kind === 'list') {
    const existing = object[name];
    const list = Array.isArray(existing) ? existing : [];
    object[name] = list;
    list.push(orEmpty(readValue(reader, wireType, type.of, depth)));
    return;
  }
  if (type.kind === 'map') {
    const existing = object[name];
    const map: JsonObject = isJsonObject(existing) ? existing : {};
    object[name] = map;
    const [key, value] = readMapEntry(new BinaryReader(reader.bytes()), type.of, depth);
    map[key] = value;
    return;
  }
  const value = readValue(reader, wireType, type, depth);
  if (value !== undefined && (required || !isUnset(name, value))) object[name] = value;
}

/** Fields for which zero or false is a choice: pointers in Go. Everywhere else Go sends the zero value for a field that is not set. */
const zeroMeansSomething: ReadonlySet<string> = new Set([
  'activeDeadlineSeconds',
  'allocateLoadBalancerNodePorts',
  'allowPrivilegeEscalation',
  'allowVolumeExpansion',
  'attachRequired',
  'automountServiceAccountToken',
  'averageUtilization',
  'backoffLimit',
  'backoffLimitPerIndex',
  'blockOwnerDeletion',
  'borrowingLimitPercent',
  'collisionCount',
  'completions',
  'controller',
  'currentCPUUtilizationPercentage',
  'defaultMode',
  'deletionGracePeriodSeconds',
  'enableServiceLinks',
  'endPort',
  'expirationSeconds',
  'failedJobsHistoryLimit',
  'fsGroup',
  'gracePeriodSeconds',
  'hostProcess',
  'hostUsers',
  'immutable',
  'leaseDurationSeconds',
  'leaseTransitions',
  'lendablePercent',
  'lun',
  'manualSelector',
  'maxFailedIndexes',
  'maxItems',
  'maxLength',
  'maxProperties',
  'maxSurge',
  'maxUnavailable',
  'maximum',
  'minAvailable',
  'minDomains',
  'minItems',
  'minLength',
  'minProperties',
  'minReplicas',
  'minimum',
  'mode',
  'nominalConcurrencyShares',
  'optional',
  'orphanDependents',
  'parallelism',
  'partition',
  'podInfoOnMount',
  'port',
  'priority',
  'privileged',
  'progressDeadlineSeconds',
  'readOnlyRootFilesystem',
  'ready',
  'recursiveReadOnlyMounts',
  'remainingItemCount',
  'replicas',
  'requiresRepublish',
  'revisionHistoryLimit',
  'runAsGroup',
  'runAsNonRoot',
  'runAsUser',
  'seLinuxMount',
  'serving',
  'setHostnameAsFQDN',
  'shareProcessNamespace',
  'stabilizationWindowSeconds',
  'started',
  'startingDeadlineSeconds',
  'storageCapacity',
  'succeededCount',
  'successfulJobsHistoryLimit',
  'suspend',
  'targetCPUUtilizationPercentage',
  'terminating',
  'terminatingReplicas',
  'terminationGracePeriodSeconds',
  'tolerationSeconds',
  'ttlSecondsAfterFinished',
  'userNamespaces',
  'x-kubernetes-preserve-unknown-fields',
]);

/** The same for texts: of a claim, no class at all where the default class would be filled in. */
const emptyMeansSomething: ReadonlySet<string> = new Set(['storageClassName', 'volumeAttributesClassName']);

function isUnset(name: string, value: Json): boolean {
  if (value === '') return !emptyMeansSomething.has(name);
  return (value === 0 || value === false) && !zeroMeansSomething.has(name);
}

function readMapEntry(reader: BinaryReader, type: FieldType, depth: number): readonly [string, Json] {
  let key = '';
  let value: Json | undefined;
  eachField(reader, (number, wireType) => {
    if (number === 1) key = reader.string();
    else if (number === 2) value = readMapValue(reader, wireType, type, depth);
    else reader.skip(wireType);
  });
  return [key, value === undefined && type.kind === 'list' ? [] : orEmpty(value)];
}

/** An item that says nothing. A null is something: an `enum` may have it. */
function orEmpty(value: Json | undefined): Json {
  return value === undefined ? '' : value;
}

/** A list as a map's value is a message with the list at 1, as `extra` of a user has it. */
function readMapValue(
  reader: BinaryReader,
  wireType: WireType,
  type: FieldType,
  depth: number,
): Json | undefined {
  if (type.kind !== 'list') return readValue(reader, wireType, type, depth);
  const items: Json[] = [];
  const inner = new BinaryReader(reader.bytes());
  eachField(inner, (_number, itemType) => items.push(orEmpty(readValue(inner, itemType, type.of, depth))));
  return items;
}

function readValue(
  reader: BinaryReader,
  wireType: WireType,
  type: FieldType,
  depth: number,
): Json | undefined {
  switch (type.kind) {
    case 'scalar':
      return readScalar(reader, wireType, type.scalar);
    case 'type':
      return readShaped(new BinaryReader(reader.bytes()), type.name, depth + 1);
    case 'list':
    case 'map':
      reader.skip(wireType); // no message has such a field
      return undefined;
  }
}

function readScalar(reader: BinaryReader, wireType: WireType, scalar: Scalar): Json | undefined {
  switch (scalar) {
    case 'string':
      return reader.string();
    case 'bool':
      return reader.bool();
    case 'int32':
      return reader.int32();
    case 'int64':
      return Number(reader.int64());
    case 'double':
      return wireType === WireType.Bit32 ? reader.float() : reader.double();
    case 'bytes':
      return Buffer.from(reader.bytes()).toString('base64');
    case 'quantity':
      return readFirstString(new BinaryReader(reader.bytes()));
    case 'time':
      return readTime(new BinaryReader(reader.bytes()), 0);
    case 'microTime':
      return readTime(new BinaryReader(reader.bytes()), 6);
    case 'intOrString':
      return readIntOrString(new BinaryReader(reader.bytes()));
    case 'any':
      return readRaw(new BinaryReader(reader.bytes()));
  }
}

/** resource.Quantity: string = 1. */
function readFirstString(reader: BinaryReader): string {
  let text = '';
  eachField(reader, (number, wireType) => {
    if (number === 1) text = reader.string();
    else reader.skip(wireType);
  });
  return text;
}

/** metav1.Time: seconds = 1, nanos = 2. Nothing in it: not set. */
function readTime(reader: BinaryReader, fractionDigits: 0 | 6): string | undefined {
  let seconds: number | undefined;
  let nanos = 0;
  eachField(reader, (number, wireType) => {
    if (number === 1) seconds = Number(reader.int64());
    else if (number === 2) nanos = reader.int32();
    else reader.skip(wireType);
  });
  if (seconds === undefined) return undefined;
  const text = new Date(seconds * 1000).toISOString().slice(0, 19);
  const micros = String(Math.floor(nanos / 1000)).padStart(6, '0');
  return fractionDigits === 0 ? `${text}Z` : `${text}.${micros}Z`;
}

/** intstr.IntOrString: type = 1 (1 is a string), intVal = 2, strVal = 3. */
function readIntOrString(reader: BinaryReader): number | string {
  let isText = false;
  let number = 0;
  let text = '';
  eachField(reader, (at, wireType) => {
    if (at === 1) isText = Number(reader.int64()) === 1;
    else if (at === 2) number = reader.int32();
    else if (at === 3) text = reader.string();
    else reader.skip(wireType);
  });
  return isText ? text : number;
}

/** runtime.RawExtension and FieldsV1: JSON text at 1. */
function readRaw(reader: BinaryReader): Json | undefined {
  const text = readFirstString(reader);
  return text === '' ? undefined : (JSON.parse(text) as Json);
}
