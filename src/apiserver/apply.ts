import { difference, emptySet, type FieldSet } from '../api/apply/field-set.ts';
import { compareObjects, fieldsOfObject } from '../api/apply/fields-of.ts';
import { type ApplyConflict, applyConfiguration, type Manager } from '../api/apply/managed-fields.ts';
import { duplicateElements, mergeConfiguration } from '../api/apply/merge-configuration.ts';
import { rootTypeOf } from '../api/apply/typed-value.ts';
import { decodeBody, decodeObject } from '../api/decode.ts';
import { ensureObject, objectAt, stringAt } from '../api/fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../api/object.ts';
import { apiVersionOfKind } from '../api/registry.ts';
import { checkStructure } from '../api/schema.ts';
import { badRequest, conflict, failure, forbidden, notFound, StatusError } from '../api/status.ts';
import { rfc3339 } from '../base/clock.ts';
import type { ApiContext, Target } from './context.ts';
import { managerOf, requestedManager } from './field-manager.ts';
import type { StoredObject } from './objects.ts';
import { refusalText } from './rbac.ts';
import { isTrue } from './request-info.ts';
import { isDryRun } from './dry-run.ts';
import {
  type Change,
  changeObject,
  createObject,
  duplicatesIn,
  fieldValidationOf,
  type ShownBody,
  type WritablePart,
  type Written,
} from './write.ts';

/** Server-side apply: PATCH with application/apply-patch+yaml. */
export const applyMediaType = 'application/apply-patch+yaml';

export function isApply(target: Target): boolean {
  const contentType = target.request.headers['content-type'] ?? '';
  return contentType.split(';', 1)[0]?.trim().toLowerCase() === applyMediaType;
}

export type ApplyResult = { readonly written: Written; readonly warnings: readonly string[] };

/** Applies the request's body, making the object where there is none. Throws StatusError. */
export async function applyObject(
  context: ApiContext,
  target: Target,
  part: WritablePart,
): Promise<ApplyResult> {
  const { force } = applyParameters(target);
  const { object, warnings } = await readConfiguration(target);
  const configuration = partOf(target, object, part);
  const written = await applyTo(context, target, part, configuration, force);
  return { written, warnings };
}

/** As applyObject for a configuration that was made from another body, as that of a Scale. */
export async function applyChange(
  context: ApiContext,
  target: Target,
  configuration: JsonObject,
  shownAs: ShownBody,
): Promise<Written> {
  const { force } = applyParameters(target);
  const change = changeFor(context, target, 'main', configuration, force);
  return changeObject(context, target, { ...change, shownAs });
}

function applyParameters(target: Target): { readonly force: boolean } {
  if (requestedManager(target) === '') {
    throw badRequest(
      'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
    );
  }
  return { force: isTrue(target.request.query.get('force')) };
}

async function applyTo(
  context: ApiContext,
  target: Target,
  part: WritablePart,
  configuration: JsonObject,
  force: boolean,
): Promise<Written> {
  const change = changeFor(context, target, part, configuration, force);
  for (;;) {
    try {
      return await changeObject(context, target, change);
    } catch (error) {
      if (part !== 'main' || !hasReason(error, 'NotFound')) throw error;
    }
    requireMayCreate(context, target);
    try {
      const fresh = appliedTo(context, target, {}, configuration, force);
      return await createObject(context, target, fresh, { dryRun: isDryRun(target), applied: true });
    } catch (error) {
      // Somebody else made it meanwhile: then it is a change after all.
      if (!hasReason(error, 'AlreadyExists')) throw error;
    }
  }
}

function hasReason(error: unknown, reason: string): boolean {
  return error instanceof StatusError && error.status.reason === reason;
}

function requireMayCreate(context: ApiContext, target: Target): void {
  const { kind, namespace, name, request } = target;
  const { group, plural } = kind;
  const asked = {
    kind: 'resource',
    verb: 'create',
    group,
    plural,
    subresource: '',
    namespace,
    name: '',
  } as const;
  if (!context.authorizer.allows(request.user, asked)) {
    throw forbidden(kind, name, refusalText(request.user, asked));
  }
}

function changeFor(
  context: ApiContext,
  target: Target,
  part: WritablePart,
  configuration: JsonObject,
  force: boolean,
): Change {
  return {
    part,
    dryRun: isDryRun(target),
    applied: true,
    change: (old) => appliedTo(context, target, old, configuration, force),
  };
}

async function readConfiguration(
  target: Target,
): Promise<{ readonly object: JsonObject; readonly warnings: readonly string[] }> {
  const body = await decodeConfiguration(await target.request.body());
  if (objectAt(body, 'metadata')?.['managedFields'] !== undefined) {
    throw badRequest('metadata.managedFields must be nil');
  }
  if (stringAt(body, 'apiVersion') === '' || stringAt(body, 'kind') === '') {
    throw badRequest('error decoding patch: apiVersion and kind must be set in an applied configuration');
  }
  // As in Kubernetes a field without a type cannot be owned, whatever fieldValidation says.
  const decoded = decodeObject(target.kind, body, 'Ignore');
  if (decoded.unknownFields.length > 0) {
    const errors = decoded.unknownFields.map((path) => `.${path}: field not declared in schema`);
    throw badRequest(
      `failed to create typed patch object (${describe(target)}): ${errors.length === 1 ? errors.join('') : `errors:\n  ${errors.join('\n  ')}`}`,
    );
  }
  const { strict, warnings } = await duplicatesIn(target, body);
  if (fieldValidationOf(target) === 'Strict' && strict.length > 0) {
    throw badRequest(`error strict decoding YAML: error converting YAML to JSON: ${strict.join(', ')}`);
  }
  return { object: decoded.object, warnings: [...warnings, ...decoded.warnings] };
}

/** YAML, which kubectl sends as JSON: that is read a hundred times faster, so it is tried first. */
export async function decodeConfiguration(bytes: Buffer): Promise<Json> {
  if (bytes[0] === 0x7b) {
    try {
      return await decodeBody(bytes, 'application/json');
    } catch (error) {
      if (!hasReason(error, 'BadRequest')) throw error; // a flow mapping of YAML may start with a brace too
    }
  }
  return decodeBody(bytes, 'application/yaml');
}

/** What this endpoint may own of the configuration. */
function partOf(target: Target, object: JsonObject, part: WritablePart): JsonObject {
  const { kind, name } = target;
  const metadata = ensureObject(object, 'metadata');
  const ownName = stringAt(metadata, 'name');
  if (ownName !== '' && ownName !== name) {
    throw badRequest(`the name of the object (${ownName}) does not match the name on the URL (${name})`);
  }
  metadata['name'] = name;
  const duplicates = duplicateElements(rootTypeOf(kind), object);
  if (duplicates.length > 0) {
    throw badRequest(
      `failed to create typed patch object (${describe(target)}): ${duplicates.map((path) => `${path}: duplicate entries`).join(', ')}`,
    );
  }
  if (part === 'main') {
    if (kind.subresources.includes('status')) delete object['status'];
    return object;
  }
  const { apiVersion, kind: kindName, status, spec } = object;
  const { name: _name, resourceVersion } = metadata;
  return {
    ...(apiVersion === undefined ? {} : { apiVersion }),
    ...(kindName === undefined ? {} : { kind: kindName }),
    metadata: { name, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    ...(part !== 'status' || status === undefined ? {} : { status }),
    ...(part === 'status' || spec === undefined ? {} : { spec }),
  };
}

function describe({ kind, namespace, name }: Target): string {
  return `${namespace === '' ? '' : `${namespace}/`}${name}; ${apiVersionOfKind(kind)}, Kind=${kind.kind}`;
}

/** The live object (empty: none) with the configuration applied and recorded. Throws StatusError 409. */
function appliedTo(
  context: ApiContext,
  target: Target,
  live: StoredObject | JsonObject,
  configuration: JsonObject,
  force: boolean,
): JsonObject {
  const { kind, name } = target;
  const manager = managerOf(target, 'Apply');
  const exists = Object.keys(live).length > 0;
  const uid = stringAt(configuration, 'metadata', 'uid');
  if (!exists && uid !== '') {
    throw conflict(
      kind,
      name,
      `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`,
    );
  }
  if (!exists && stringAt(configuration, 'metadata', 'resourceVersion') !== '') throw notFound(kind, name);
  const annotated = exists && manager.name === kubectlManager && lastAppliedText(live) !== undefined;
  const result = applyConfiguration(rootTypeOf(kind), live, configuration, {
    manager,
    force,
    time: rfc3339(context.clock.nowMs()),
    allowed: annotated ? unchangedSinceClientApply(target, live) : emptySet,
  });
  if (result.kind === 'conflicts') throw applyConflict(result.conflicts);
  if (!annotated) return result.object;
  const object = { ...result.object };
  const metadata = { ...ensureObject(object, 'metadata') };
  metadata['annotations'] = {
    ...objectAt(metadata, 'annotations'),
    [lastApplied]: `${JSON.stringify(configuration)}\n`,
  };
  object['metadata'] = metadata;
  return object;
}

const kubectlManager = 'kubectl';
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';

function lastAppliedText(object: JsonObject): string | undefined {
  const text = objectAt(object, 'metadata', 'annotations')?.[lastApplied];
  return typeof text === 'string' ? text : undefined;
}

/** What kubectl's client-side apply set and nobody changed since: kubectl's server-side apply takes it over unasked. */
function unchangedSinceClientApply(target: Target, live: JsonObject): FieldSet {
  const root = rootTypeOf(target.kind);
  let configuration: Json;
  try {
    configuration = JSON.parse(lastAppliedText(live) ?? '') as Json;
  } catch {
    return emptySet; // somebody wrote something else there; then nothing is taken over
  }
  if (!isJsonObject(configuration)) return emptySet;
  if (stringAt(configuration, 'apiVersion') !== apiVersionOfKind(target.kind)) return emptySet;
  const { pruned } = checkStructure(target.kind.schema, configuration);
  if (!isJsonObject(pruned)) return emptySet;
  const { changed } = compareObjects(root, live, mergeConfiguration(root, live, pruned));
  return difference(fieldsOfObject(root, pruned), changed);
}

/** 409 in Kubernetes' words, one cause a field. */
export function applyConflict(conflicts: readonly ApplyConflict[]): StatusError {
  const causes = conflicts.map(({ manager, path }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${managerText(manager)}`,
    field: path,
  }));
  return failure(409, 'Conflict', conflictText(conflicts), { causes });
}

function conflictText(conflicts: readonly ApplyConflict[]): string {
  const [first, second] = conflicts;
  if (first !== undefined && second === undefined) {
    return `Apply failed with 1 conflict: conflict with ${managerText(first.manager)}: ${first.path}`;
  }
  const byManager = Map.groupBy(conflicts, ({ manager }) => managerText(manager));
  const lines = [...byManager.keys()]
    .toSorted()
    .flatMap((manager) => [
      `conflicts with ${manager}:`,
      ...(byManager.get(manager) ?? []).map(({ path }) => `- ${path}`),
    ]);
  return `Apply failed with ${conflicts.length} conflicts: ${lines.join('\n')}`;
}

function managerText({ name, operation, apiVersion, subresource }: Manager): string {
  const withPart =
    subresource === ''
      ? JSON.stringify(name)
      : `${JSON.stringify(name)} with subresource ${JSON.stringify(subresource)}`;
  return operation === 'Update' ? `${withPart} using ${apiVersion}` : withPart;
}
