import { boolAt, objectAt, stringsAt } from '../fields.ts';
import { isJsonObject, type JsonObject } from '../object.ts';

/** A structural schema as OpenAPI documents show it, as Kubernetes' controller/openapi/builder has it. */

export type Publishing = {
  /** Version 2 lacks keywords, and kubectl takes what it shows of an object for all that the object may have. */
  readonly version: 2 | 3;
  /** What every object has: apiVersion, kind and metadata. */
  readonly objectFields: JsonObject;
};

/** The schema of a kind. Changes nothing that it is given. */
export function publishedSchema(schema: JsonObject, publishing: Publishing): JsonObject {
  const { version, objectFields } = publishing;
  // Any field named here would make kubectl refuse all the others.
  if (version === 2 && keepsUnknown(schema)) return { type: 'object' };
  const published = publish(schema, publishing);
  return { ...published, properties: { ...objectAt(published, 'properties'), ...objectFields } };
}

function keepsUnknown(schema: JsonObject): boolean {
  return boolAt(schema, 'x-kubernetes-preserve-unknown-fields');
}

/** Keywords of OpenAPI 3 that version 2 does not have, or that say too little there. */
const newKeywords = ['allOf', 'anyOf', 'not', 'nullable', 'oneOf', 'x-kubernetes-validations'] as const;

function publish(schema: JsonObject, publishing: Publishing): JsonObject {
  const shown: JsonObject = { ...schema };
  if (publishing.version === 2) loosen(shown);
  const properties = objectAt(shown, 'properties');
  if (properties !== undefined) {
    shown['properties'] = Object.fromEntries(
      Object.entries(properties).map(([name, property]) => [
        name,
        isJsonObject(property) ? publish(property, publishing) : property,
      ]),
    );
  }
  for (const keyword of ['items', 'additionalProperties']) {
    const inner = shown[keyword];
    if (isJsonObject(inner)) shown[keyword] = publish(inner, publishing);
  }
  const isOpen = publishing.version === 2 && keepsUnknown(shown);
  if (boolAt(shown, 'x-kubernetes-embedded-resource') && !isOpen) {
    shown['properties'] = { ...objectAt(shown, 'properties'), ...publishing.objectFields };
    shown['required'] = [...new Set([...stringsAt(shown, 'required'), 'kind', 'apiVersion'])];
  }
  return shown;
}

/** Takes out in place what version 2 cannot say, so that it does not refuse what the schema allows. */
function loosen(schema: JsonObject): void {
  const properties = objectAt(schema, 'properties') ?? {};
  const isNullable = (property: unknown): boolean => isJsonObject(property) && boolAt(property, 'nullable');
  const required = isNullable(schema['additionalProperties'])
    ? []
    : stringsAt(schema, 'required').filter((name) => !isNullable(properties[name]));
  if (required.length === 0) delete schema['required'];
  else schema['required'] = [...required];
  if (boolAt(schema, 'nullable') || keepsUnknown(schema)) {
    delete schema['items'];
    delete schema['properties'];
    if (schema['type'] === 'object' || boolAt(schema, 'nullable')) delete schema['type'];
  }
  if (schema['type'] === 'array' && schema['items'] === undefined) delete schema['type'];
  for (const keyword of newKeywords) delete schema[keyword];
}
