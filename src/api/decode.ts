import {
  type DuplicateFields,
  duplicateJsonFields,
  duplicateYamlKeys,
  noDuplicates,
  strictErrors,
} from './duplicate-fields.ts';
import { stringAt } from './fields.ts';
import type { BodyStructure, Kind } from './kind.ts';
import { isJsonObject, type Json, type JsonObject } from './object.ts';
import { checkStructure } from './schema.ts';
import { badRequest, tooLarge, unsupportedMediaType } from './status.ts';

/** Largest body of a write, bytes; Kubernetes has the same 3 MiB. Beyond it: 413. */
export const bodyBytesMax = 3 * 1024 * 1024;
/** Deepest nesting of a body. Beyond it: 400. Kubernetes' own kinds need less than 30. */
export const bodyDepthMax = 100;
/** Most aliases a YAML body may expand: a bound against "billion laughs" documents. */
const yamlAliasesMax = 100;

export const bodyMediaTypes = ['application/json', 'application/yaml'] as const;

/** What is done with fields that the schema does not know. */
export type FieldValidation = 'Ignore' | 'Warn' | 'Strict';

/**
 * Decodes a body to JSON. YAML is read as version 1.1, as kubectl does, and its parser is loaded when first needed.
 * Throws StatusError: 413 too large, 415 unknown content type, 400 unreadable or too deep.
 */
export async function decodeBody(bytes: Uint8Array, contentType: string): Promise<Json> {
  if (bytes.byteLength > bodyBytesMax) throw tooLarge(`limit is ${bodyBytesMax}`);
  const text = textOf(bytes);
  switch (languageOf(contentType)) {
    case 'json':
      return bounded(parseJson(text));
    case 'yaml':
      return bounded((await parseYaml(text)).value);
    case undefined:
      throw unsupportedMediaType(bodyMediaTypes);
  }
}

/**
 * The fields that a body gives twice; `value` is what decodeBody made of it.
 */
export async function duplicateFieldsOf(
  bytes: Uint8Array,
  contentType: string,
  value: Json,
): Promise<DuplicateFields> {
  const language = languageOf(contentType);
  if (language === 'json') return duplicateJsonFields(textOf(bytes), value);
  if (language === undefined) return noDuplicates;
  const text = textOf(bytes);
  return duplicateYamlKeys(text, (await parseYaml(text)).duplicates);
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: false }).decode(bytes);
}

function languageOf(contentType: string): 'json' | 'yaml' | undefined {
  const mediaType = (contentType.split(';', 1)[0] ?? '').trim().toLowerCase();
  if (mediaType === '' || mediaType === 'application/json' || mediaType.endsWith('+json')) return 'json';
  return mediaType === 'application/yaml' || mediaType === 'text/yaml' || mediaType.endsWith('+yaml')
    ? 'yaml'
    : undefined;
}

function parseJson(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw badRequest(
      `the object provided is unrecognized (must be of type Object): couldn't get version/kind; json parse error: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

const yamlTagsIgnored: ReadonlySet<string> = new Set(
  ['binary', 'omap', 'pairs', 'set', 'timestamp'].map((name) => `tag:yaml.org,2002:${name}`),
);

function isSexagesimal(tag: { readonly format?: string }): boolean {
  return tag.format === 'TIME';
}

type YamlBody = {
  readonly value: Json;
  /** Where keys stand that their map has already. */
  readonly duplicates: readonly { readonly line: number; readonly offset: number }[];
};

async function parseYaml(text: string): Promise<YamlBody> {
  const { parseDocument } = await import('yaml');
  try {
    const document = parseDocument(text, {
      version: '1.1',
      schema: 'yaml-1.1',
      logLevel: 'error',
      // As in Go: dates and `80:80` stay texts, and there are no types beyond those of JSON.
      customTags: (tags) =>
        tags.filter(
          (tag) => typeof tag === 'string' || (!yamlTagsIgnored.has(tag.tag) && !isSexagesimal(tag)),
        ),
    });
    const [fatal] = document.errors.filter(({ code }) => code !== 'DUPLICATE_KEY');
    if (fatal !== undefined) throw fatal;
    const duplicates = document.errors.map(({ pos, linePos }) => ({
      line: linePos?.[0].line ?? 0,
      offset: pos[0],
    }));
    // The last one of a name counts, as in Go.
    return { value: document.toJS({ maxAliasCount: yamlAliasesMax }) as Json, duplicates };
  } catch (error) {
    throw badRequest(`yaml: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function bounded(value: Json): Json {
  checkDepth(value, bodyDepthMax);
  return value;
}

function checkDepth(value: Json, left: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (left === 0) throw badRequest(`the object is nested deeper than ${bodyDepthMax} levels`);
  if (Array.isArray(value)) {
    for (const item of value) checkDepth(item, left - 1);
    return;
  }
  for (const [key, item] of Object.entries(value)) {
    // Assigning this key to an object would change its prototype instead of adding a field.
    if (key === '__proto__') throw badRequest('the field name "__proto__" is not supported; rename it');
    checkDepth(item, left - 1);
  }
}

export type DecodedObject = {
  readonly object: JsonObject;
  /** Texts for Warning headers: `unknown field "spec.foo"`. */
  readonly warnings: readonly string[];
  /** Paths of what the schema does not know, in the order found. */
  readonly unknownFields: readonly string[];
};

/**
 * Turns a body into an object of `kind`: group, version and kind must agree (absent ones are filled in), types must fit,
 * unknown fields are dropped, warned of or refused. Nulls are dropped: for Kubernetes they are unset fields.
 * Throws StatusError 400.
 */
export function decodeObject(
  kind: Kind,
  body: Json,
  fieldValidation: FieldValidation,
  duplicates: DuplicateFields = noDuplicates,
): DecodedObject {
  const structure = kind.structure?.bind(kind);
  const decoded = decodeAs(kind, kind.schema, body, fieldValidation, structure, duplicates);
  const own = kind.warnings?.(decoded.object) ?? [];
  return own.length === 0 ? decoded : { ...decoded, warnings: [...decoded.warnings, ...own] };
}

/** As decodeObject, for the body of a subresource that is of another type, such as Scale or Binding. */
export function decodeAs(
  identity: Pick<Kind, 'group' | 'version' | 'kind'>,
  schema: string,
  body: Json,
  fieldValidation: FieldValidation,
  structure: (body: JsonObject) => BodyStructure = (value) => checkStructure(schema, value),
  duplicates: DuplicateFields = noDuplicates,
): DecodedObject {
  const { group, version, kind } = identity;
  const apiVersion = group === '' ? version : `${group}/${version}`;
  if (!isJsonObject(body)) {
    throw badRequest(
      `couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(body) ? 'array' : typeof body} into Go value of type struct { APIVersion string; Kind string }`,
    );
  }
  const gotApiVersion = stringAt(body, 'apiVersion') || apiVersion;
  const gotKind = stringAt(body, 'kind') || kind;
  if (gotApiVersion !== apiVersion) {
    throw badRequest(
      `the API version in the data (${gotApiVersion}) does not match the expected API version (${apiVersion})`,
    );
  }
  if (gotKind !== kind) {
    throw badRequest(
      `${gotKind} in version ${JSON.stringify(version)} cannot be handled as a ${kind}: the kind in the data does not match the expected kind`,
    );
  }
  const { typeErrors, unknownFields, pruned } = structure(body);
  const prefix = `${kind} in version ${JSON.stringify(version)} cannot be handled as a ${kind}: `;
  if (typeErrors.length > 0) throw badRequest(prefix + typeErrors[0]);
  if (fieldValidation === 'Strict' && unknownFields.length + duplicates.strict.length > 0) {
    throw badRequest(
      `${prefix}strict decoding error: ${strictErrors(duplicates, unknownFields, 'strict').join(', ')}`,
    );
  }
  const object = pruned as JsonObject;
  object['apiVersion'] = apiVersion;
  object['kind'] = kind;
  const warnings = fieldValidation === 'Warn' ? strictErrors(duplicates, unknownFields, 'warnings') : [];
  return { object, warnings, unknownFields };
}
