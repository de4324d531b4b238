import { applyPatch, type Operation } from 'rfc6902';
import type { Json } from '../object.ts';
import { isJsonObject } from '../object.ts';
import { badRequest, failure, tooLarge } from '../status.ts';

/** Most operations in one JSON patch, as in Kubernetes. Beyond it: 413. */
export const jsonPatchOperationsMax = 10_000;

const verbs: ReadonlySet<string> = new Set(['add', 'remove', 'replace', 'move', 'copy', 'test']);

/**
 * Applies an RFC 6902 patch to a copy of `document`.
 * Throws StatusError: 400 when the patch itself is no patch, 413 too many operations, 422 when it does not apply.
 */
export function applyJsonPatch(document: Json, patch: Json): Json {
  const operations = parseOperations(patch);
  const target = structuredClone(document);
  for (const error of applyPatch(target, operations)) {
    if (error === null) continue;
    throw failure(
      422,
      'Invalid',
      `the server rejected our request due to an error in our request: ${error.message}`,
    );
  }
  return target;
}

function parseOperations(patch: Json): Operation[] {
  if (!Array.isArray(patch)) {
    throw badRequest(
      'error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch',
    );
  }
  if (patch.length > jsonPatchOperationsMax) {
    throw tooLarge(
      `The allowed maximum operations in a JSON patch is ${jsonPatchOperationsMax}, got ${patch.length}`,
    );
  }
  return patch.map((item, position) => {
    if (!isJsonObject(item)) throw badRequest(`error decoding patch: operation ${position} is not an object`);
    const { op, path, from } = item;
    if (typeof op !== 'string' || !verbs.has(op)) {
      throw badRequest(
        `error decoding patch: operation ${position} has an unknown op ${JSON.stringify(op ?? '')}`,
      );
    }
    if (typeof path !== 'string') throw badRequest(`error decoding patch: operation ${position} has no path`);
    if ((op === 'move' || op === 'copy') && typeof from !== 'string') {
      throw badRequest(`error decoding patch: operation ${position} has no from`);
    }
    for (const pointer of [path, from]) {
      // RFC 6901: empty, or segments that each begin with a slash.
      if (typeof pointer !== 'string' || pointer === '' || pointer.startsWith('/')) continue;
      throw badRequest(
        `error decoding patch: operation ${position}: ${JSON.stringify(pointer)} is no JSON pointer, which begins with "/"`,
      );
    }
    if ((op === 'add' || op === 'replace' || op === 'test') && !('value' in item)) {
      return { ...item, value: null } as unknown as Operation;
    }
    return item as unknown as Operation;
  });
}
