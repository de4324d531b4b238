import { randomBytes, randomUUID } from 'node:crypto';
import { ensureObject, stringAt } from '../api/fields.ts';
import type { Kind } from '../api/kind.ts';
import type { JsonObject } from '../api/object.ts';
import { badRequest, conflict } from '../api/status.ts';
import { rfc3339 } from '../base/clock.ts';
import type { ApiContext, Target } from './context.ts';
import { randomSuffix, type StoredObject } from './objects.ts';
import type { Change } from './write.ts';

/** What the server alone says of an object: its identity, and the parts that a request cannot change through its path. */

/** Gives a new object its identity in place. Throws StatusError 400. */
export function stampNew(context: ApiContext, target: Target, object: JsonObject): { metadata: JsonObject } {
  const { kind, namespace } = target;
  const metadata = ensureObject(object, 'metadata');
  if (stringAt(metadata, 'resourceVersion') !== '') {
    throw badRequest('resourceVersion should not be set on objects to be created');
  }
  checkNamespace(target, metadata);
  if (kind.namespaced) metadata['namespace'] = namespace;
  const prefix = stringAt(metadata, 'generateName');
  if (stringAt(metadata, 'name') === '' && prefix !== '') {
    // 63 characters in all, so that the name fits a label.
    metadata['name'] = `${prefix.slice(0, 58)}${randomSuffix(5, randomBytes(5))}`;
  }
  for (const field of ['deletionTimestamp', 'deletionGracePeriodSeconds', 'selfLink', 'managedFields']) {
    delete metadata[field];
  }
  dropEmpty(metadata);
  metadata['uid'] = randomUUID();
  metadata['creationTimestamp'] = rfc3339(context.clock.nowMs());
  return { metadata };
}

function checkNamespace(target: Target, metadata: JsonObject): void {
  const own = stringAt(metadata, 'namespace');
  if (target.kind.namespaced && own !== '' && own !== target.namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
}

const serverOwnedMetadata = [
  'uid',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'generation',
  'resourceVersion',
] as const;

/** Checks identity and puts back what a client cannot change through this part. Throws StatusError 400, 409. */
export function stampChanged(
  target: Target,
  change: Change,
  wanted: JsonObject,
  old: StoredObject,
): JsonObject {
  const { kind, name, namespace } = target;
  const metadata = ensureObject(wanted, 'metadata');
  const ownName = stringAt(metadata, 'name');
  if (ownName !== '' && ownName !== name) {
    throw badRequest(`the name of the object (${ownName}) does not match the name on the URL (${name})`);
  }
  checkNamespace(target, metadata);
  metadata['name'] = name;
  if (kind.namespaced) metadata['namespace'] = namespace;
  const uid = stringAt(metadata, 'uid');
  const oldUid = stringAt(old.metadata, 'uid');
  if (uid !== '' && uid !== oldUid) {
    throw conflict(
      kind,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${oldUid}`,
    );
  }
  for (const field of serverOwnedMetadata) restore(metadata, old.metadata, field);
  delete metadata['managedFields'];
  delete metadata['selfLink'];
  dropEmpty(metadata);
  switch (change.part) {
    case 'main':
    case 'binding':
      return wanted;
    case 'status': {
      const object: JsonObject = { ...old, metadata: statusMetadata(kind, metadata, old.metadata) };
      restore(object, wanted, 'status');
      return object;
    }
    case 'ephemeralcontainers':
    case 'resize':
      return { ...(kind.parts?.[change.part]?.take(wanted, old) ?? old), metadata: { ...old.metadata } };
    case 'approval':
      // Who decides may say why in annotations; a Pod's parts leave its metadata alone.
      return { ...(kind.parts?.approval?.take(wanted, old) ?? old), metadata };
    case 'finalize': {
      const spec = ensureObject(structuredClone(wanted), 'spec');
      return { ...old, spec: { ...ensureObject(old, 'spec'), finalizers: spec['finalizers'] ?? [] } };
    }
  }
}

/** An empty map or list is the same as none, and is kept as none. */
function dropEmpty(metadata: JsonObject): void {
  for (const field of ['labels', 'annotations', 'finalizers', 'ownerReferences']) {
    const value = metadata[field];
    if (value === null || (typeof value === 'object' && Object.keys(value).length === 0))
      delete metadata[field];
  }
}

/** Kinds whose metadata stays as it is when their status is written, beside all custom ones. */
const statusIsAlone: ReadonlySet<string> = new Set([
  'admissionregistration.k8s.io/validatingadmissionpolicies',
  'apiextensions.k8s.io/customresourcedefinitions',
  'apiregistration.k8s.io/apiservices',
  'flowcontrol.apiserver.k8s.io/flowschemas',
  'flowcontrol.apiserver.k8s.io/prioritylevelconfigurations',
  'networking.k8s.io/servicecidrs',
  'storage.k8s.io/volumeattachments',
]);

/** A status may come with labels, annotations, finalizers and owners: as each kind's strategy in Kubernetes has it. */
function statusMetadata({ custom, group, plural }: Kind, wanted: JsonObject, old: JsonObject): JsonObject {
  if (custom === true || statusIsAlone.has(`${group}/${plural}`)) return old;
  const metadata = { ...wanted };
  if (plural === 'pods') restore(metadata, old, 'ownerReferences');
  if (plural === 'deployments') restore(metadata, old, 'labels');
  return metadata;
}

export function restore(object: JsonObject, from: JsonObject, field: string): void {
  const value = from[field];
  if (value === undefined) delete object[field];
  else object[field] = value;
}
