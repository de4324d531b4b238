import { isJsonObject, type Json, type JsonObject } from '../api/object.ts';
import { type Field, parseField, typeNode } from '../api/schema.ts';
import { type Numbers, numbersOf, parseNumbers } from './protobuf-numbers.ts';

/**
 * The messages of apiextensions whose JSON is of a shape of its own: `additionalProperties` is `true` or a schema as JSON, and
 * {allows, schema} as protobuf. Their numbers and names are those of apiextensions-apiserver's generated.proto.
 */
type Shape = {
  readonly numbers: Numbers;
  readonly fields: ReadonlyMap<string, Field>;
  toMessage(value: Json): JsonObject;
  fromMessage(message: JsonObject): Json;
};

const schemaType = 'apiextensions/v1.JSONSchemaProps';

const shapes: Readonly<Record<string, Shape>> = {
  JSONSchemaPropsOrArray: {
    numbers: parseNumbers('1 schema, 2 jSONSchemas'),
    fields: fieldsOf({ schema: schemaType, jSONSchemas: `[${schemaType}]` }),
    toMessage: (value) => (Array.isArray(value) ? { jSONSchemas: value } : { schema: value }),
    fromMessage: ({ schema, jSONSchemas }) => jSONSchemas ?? schema ?? null,
  },
  JSONSchemaPropsOrBool: {
    numbers: parseNumbers('1 allows, 2 schema'),
    fields: fieldsOf({ allows: 'bool', schema: schemaType }),
    toMessage: (value) =>
      isJsonObject(value) ? { allows: true, schema: value } : { allows: value === true },
    fromMessage: ({ allows, schema }) => schema ?? allows === true,
  },
  JSONSchemaPropsOrStringArray: {
    numbers: parseNumbers('1 schema, 2 property'),
    fields: fieldsOf({ schema: schemaType, property: '[string]' }),
    toMessage: (value) => (Array.isArray(value) ? { property: value } : { schema: value }),
    fromMessage: ({ schema, property }) => property ?? schema ?? null,
  },
  CustomResourceSubresourceStatus: {
    numbers: new Map(),
    fields: new Map(),
    toMessage: () => ({}),
    fromMessage: () => ({}),
  },
};

function fieldsOf(fields: Readonly<Record<string, string>>): ReadonlyMap<string, Field> {
  return new Map(Object.entries(fields).map(([name, text]) => [name, parseField(text)]));
}

/** What the codecs know of a message: its numbers, the types of its fields, and its other shape where it has one. */
export type Message = {
  readonly numbers: Numbers;
  readonly fields: ReadonlyMap<string, Field>;
  readonly shape?: Shape;
};

const noFields: ReadonlyMap<string, Field> = new Map();

export function messageOf(typeName: string): Message {
  const shape = shapes[typeName];
  if (shape !== undefined) return { numbers: shape.numbers, fields: shape.fields, shape };
  return { numbers: numbersOf(typeName), fields: typeNode(typeName)?.fields ?? noFields };
}
