import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { isJsonObject, type Json, type JsonObject } from './object.ts';

/**
 * Writes a Swagger 2.0 document as the protobuf message openapi.v2.Document of gnostic (OpenAPIv2.proto). Only what our
 * documents contain is written. Vendor extensions and their values go as YAML text, of which JSON is a part.
 */
export function encodeSwagger(document: JsonObject): Uint8Array {
  const writer = new BinaryWriter();
  text(writer, 1, document['swagger']);
  message(writer, 2, (info) => {
    const from = objectOf(document['info']);
    text(info, 1, from['title']);
    text(info, 2, from['version']);
  });
  message(writer, 8, (paths) => {
    named(paths, 2, objectOf(document['paths']), writePathItem);
  });
  message(writer, 9, (definitions) => {
    named(definitions, 1, objectOf(document['definitions']), writeSchema);
  });
  return writer.finish();
}

type Write = (writer: BinaryWriter) => void;

function objectOf(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

function message(writer: BinaryWriter, field: number, write: Write): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
}

function text(writer: BinaryWriter, field: number, value: Json | undefined): void {
  if (typeof value === 'string') writer.tag(field, WireType.LengthDelimited).string(value);
}

function texts(writer: BinaryWriter, field: number, value: Json | undefined): void {
  for (const item of Array.isArray(value) ? value : []) text(writer, field, item);
}

function flag(writer: BinaryWriter, field: number, value: Json | undefined): void {
  if (value === true) writer.tag(field, WireType.Varint).bool(true);
}

/** Repeated pairs of a name (1) and a message (2): how gnostic writes a map. */
function named(
  writer: BinaryWriter,
  field: number,
  entries: JsonObject,
  write: (writer: BinaryWriter, value: JsonObject) => void,
): void {
  for (const [name, value] of Object.entries(entries)) {
    message(writer, field, (pair) => {
      text(pair, 1, name);
      message(pair, 2, (inner) => write(inner, objectOf(value)));
    });
  }
}

function vendorExtensions(writer: BinaryWriter, field: number, from: JsonObject): void {
  for (const [name, value] of Object.entries(from)) {
    if (!name.startsWith('x-')) continue;
    message(writer, field, (pair) => {
      text(pair, 1, name);
      message(pair, 2, (any) => text(any, 2, `${JSON.stringify(value)}\n`));
    });
  }
}

const methodFields = { get: 2, put: 3, post: 4, delete: 5, patch: 8 } as const;

function writePathItem(writer: BinaryWriter, item: JsonObject): void {
  for (const [method, field] of Object.entries(methodFields)) {
    const operation = item[method];
    if (isJsonObject(operation)) message(writer, field, (inner) => writeOperation(inner, operation));
  }
  writeParameters(writer, 9, item['parameters']);
}

function writeOperation(writer: BinaryWriter, operation: JsonObject): void {
  text(writer, 5, operation['operationId']);
  texts(writer, 6, operation['produces']);
  texts(writer, 7, operation['consumes']);
  writeParameters(writer, 8, operation['parameters']);
  message(writer, 9, (responses) => {
    named(responses, 1, objectOf(operation['responses']), (value, response) => {
      message(value, 1, (inner) => {
        text(inner, 1, response['description']);
        message(inner, 2, (item) =>
          message(item, 1, (schema) => writeSchema(schema, objectOf(response['schema']))),
        );
      });
    });
  });
  texts(writer, 10, operation['schemes']);
  vendorExtensions(writer, 13, operation);
}

function writeParameters(writer: BinaryWriter, field: number, parameters: Json | undefined): void {
  for (const item of Array.isArray(parameters) ? parameters : []) {
    if (!isJsonObject(item)) continue;
    // ParametersItem { Parameter parameter = 1 }
    message(writer, field, (outer) => message(outer, 1, (parameter) => writeParameter(parameter, item)));
  }
}

function writeParameter(writer: BinaryWriter, parameter: JsonObject): void {
  if (parameter['in'] === 'body') {
    message(writer, 1, (body) => {
      text(body, 2, parameter['name']);
      text(body, 3, 'body');
      flag(body, 4, parameter['required']);
      message(body, 5, (schema) => writeSchema(schema, objectOf(parameter['schema'])));
    });
    return;
  }
  const isPath = parameter['in'] === 'path';
  message(writer, 2, (plain) => {
    message(plain, isPath ? 4 : 3, (inner) => {
      flag(inner, 1, parameter['required']);
      text(inner, 2, parameter['in']);
      text(inner, 4, parameter['name']);
      text(inner, isPath ? 5 : 6, parameter['type']);
      flag(inner, isPath ? 19 : 20, parameter['uniqueItems']);
    });
  });
}

function writeSchema(writer: BinaryWriter, schema: JsonObject): void {
  text(writer, 1, schema['$ref']);
  text(writer, 2, schema['format']);
  text(writer, 4, schema['description']);
  texts(writer, 19, schema['required']);
  const { additionalProperties, items, properties, type } = schema;
  if (isJsonObject(additionalProperties)) {
    message(writer, 21, (item) => message(item, 1, (inner) => writeSchema(inner, additionalProperties)));
  }
  if (typeof type === 'string') message(writer, 22, (item) => text(item, 1, type));
  if (isJsonObject(items)) {
    message(writer, 23, (item) => message(item, 1, (inner) => writeSchema(inner, items)));
  }
  if (isJsonObject(properties)) message(writer, 25, (inner) => named(inner, 1, properties, writeSchema));
  vendorExtensions(writer, 31, schema);
}
