import { decodeAs, decodeBody, decodeObject } from '../api/decode.ts';
import type { DuplicateFields } from '../api/duplicate-fields.ts';
import type { Kind } from '../api/kind.ts';
import { isJsonObject, type Json, type JsonObject } from '../api/object.ts';
import { applyJsonPatch } from '../api/patch/json.ts';
import { applyMergePatch } from '../api/patch/merge.ts';
import { applyStrategicPatch } from '../api/patch/strategic.ts';
import { badRequest, unsupportedMediaType } from '../api/status.ts';
import type { Target } from './context.ts';
import { duplicatesIn, fieldValidationOf } from './write.ts';

/** A patch that was read and waits for the object to be applied to. Throws StatusError. */
export type Patch = {
  apply(document: JsonObject): Json;
  /** Fields that the patch gives twice. */
  readonly duplicates: DuplicateFields;
};

/** Strategic merge needs the merge keys of Go types. */
const customPatchMediaTypes = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/apply-patch+yaml',
] as const;

const patchMediaTypes = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
] as const;

/** `schema`: the type that is patched, for strategic merge. Throws StatusError 400 or 415. */
export async function readPatch(target: Target, schema: string): Promise<Patch> {
  const { request } = target;
  const mediaType = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  const bytes = await request.body();
  const patchOf = async (patch: Json, apply: Patch['apply']): Promise<Patch> => {
    request.audit?.sent(patch);
    return { apply, duplicates: await duplicatesIn(target, patch) };
  };
  switch (mediaType) {
    case 'application/json-patch+json': {
      const patch = await decodeBody(bytes, 'application/json');
      return patchOf(patch, (document) => applyJsonPatch(document, patch));
    }
    case 'application/merge-patch+json': {
      const patch = requireObject(await decodeBody(bytes, 'application/json'));
      return patchOf(patch, (document) => applyMergePatch(document, patch));
    }
    case 'application/strategic-merge-patch+json': {
      if (target.kind.custom === true) throw unsupportedMediaType(customPatchMediaTypes);
      const patch = requireObject(await decodeBody(bytes, 'application/json'));
      return patchOf(patch, (document) => applyStrategicPatch(schema, document, patch));
    }
    default:
      throw unsupportedMediaType(patchMediaTypes);
  }
}

function requireObject(patch: Json): JsonObject {
  if (isJsonObject(patch)) return patch;
  throw badRequest(
    `error decoding patch: json: cannot unmarshal ${Array.isArray(patch) ? 'array' : typeof patch} into Go value of type map[string]interface {}`,
  );
}

/** The patched object, checked against the kind's schema; its warnings go to `onWarnings`. */
export function patchedObject(
  target: Target,
  patch: Patch,
  old: JsonObject,
  onWarnings: (warnings: readonly string[]) => void,
): JsonObject {
  const { object, warnings } = decodeObject(
    target.kind,
    patch.apply(old),
    fieldValidationOf(target),
    patch.duplicates,
  );
  onWarnings(warnings);
  return object;
}

/** As patchedObject for the body of a subresource that is of another type, such as Scale. */
export function patchedAs(
  target: Target,
  identity: Pick<Kind, 'group' | 'version' | 'kind'>,
  schema: string,
  patch: Patch,
  old: JsonObject,
): JsonObject {
  return decodeAs(identity, schema, patch.apply(old), fieldValidationOf(target)).object;
}
