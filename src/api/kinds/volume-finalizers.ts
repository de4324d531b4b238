import { ensureObject, stringsAt } from '../fields.ts';
import type { JsonObject } from '../object.ts';

/** Hold a claim while Pods use it, and a volume while a claim has it. */
export const claimFinalizer = 'kubernetes.io/pvc-protection';
export const volumeFinalizer = 'kubernetes.io/pv-protection';

/** Puts a finalizer on a new object. May be repeated. */
export function protect(object: JsonObject, finalizer: string): void {
  const finalizers = stringsAt(object, 'metadata', 'finalizers');
  if (finalizers.includes(finalizer)) return;
  ensureObject(object, 'metadata')['finalizers'] = [...finalizers, finalizer];
}
