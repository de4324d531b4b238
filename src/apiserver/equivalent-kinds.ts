import type { Kind } from '../api/kind.ts';
import type { JsonObject } from '../api/object.ts';
import { apiVersionOfKind, kinds } from '../api/registry.ts';
import type { ApiContext } from './context.ts';
import { convertObjects } from './custom-resources/conversion.ts';
import type { CustomKinds } from './custom-resources/registry.ts';

/** The same stored objects under another group or version: what "equivalent" means for admission. */

function placeOf(kind: Kind): string {
  const { group, plural } = kind.stored ?? kind;
  return `${group}/${plural}`;
}

/** Every other kind over the same objects, in the order of the registry. */
export function equivalentsOf(kind: Kind, customs: Pick<CustomKinds, 'all'>): readonly Kind[] {
  const place = placeOf(kind);
  const candidates = kind.custom === true ? customs.all() : kinds;
  return candidates.filter((other) => other !== kind && placeOf(other) === place);
}

/** The object as another of its kinds shows it. Throws StatusError 500 when a conversion webhook does not do it. */
export async function convertBetween(
  context: Pick<ApiContext, 'webhooks'>,
  object: JsonObject,
  from: Kind,
  to: Kind,
  signal: AbortSignal,
): Promise<JsonObject> {
  if (from === to) return object;
  if (to.conversion !== undefined) {
    const [converted] = await convertObjects(context, to.conversion, [object], apiVersionOfKind(to), signal);
    return converted ?? object;
  }
  const stored = from.stored === undefined ? object : from.stored.toStored(object);
  return to.stored === undefined ? stored : to.stored.fromStored(stored);
}
