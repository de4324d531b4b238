import type { ParamRef, Policy } from '../../api/admission/policy.ts';
import { stringMapAt } from '../../api/fields.ts';
import type { Kind } from '../../api/kind.ts';
import { matchesLabels } from '../../api/labels.ts';
import type { JsonObject } from '../../api/object.ts';
import { kindNamed } from '../../api/registry.ts';
import type { ApiContext } from '../context.ts';
import { keyOfObject, parseEntry, prefixOf } from '../objects.ts';

/**
 * The objects with which a policy is to be asked, one after the other; one `undefined` where it has none. Empty: there is
 * nothing to ask. A text says why they cannot be found.
 */
export function paramsOf(
  context: Pick<ApiContext, 'store' | 'customs'>,
  { paramKind }: Pick<Policy, 'paramKind'>,
  ref: ParamRef | undefined,
  requestNamespace: string,
): readonly (JsonObject | undefined)[] | string {
  if (paramKind === undefined || ref === undefined) return [undefined];
  const kind = findKind(context, paramKind.apiVersion, paramKind.kind);
  if (kind === undefined)
    return `paramKind kind \`${paramKind.apiVersion}, Kind=${paramKind.kind}\` not known`;
  const namespace = kind.namespaced ? ref.namespace || requestNamespace : '';
  if (kind.namespaced && namespace === '') {
    return 'cannot use namespaced paramRef in policy binding that matches cluster-scoped resources';
  }
  if (!kind.namespaced && ref.namespace !== '') {
    return 'paramRef.namespace must not be provided for a cluster-scoped `paramKind`';
  }
  const found =
    ref.name === '' ? selected(context, kind, namespace, ref) : named(context, kind, namespace, ref);
  if (found.length > 0 || ref.allowMissing) return found;
  return 'no params found for policy binding with `Deny` parameterNotFoundAction';
}

function findKind(
  { customs }: Pick<ApiContext, 'customs'>,
  apiVersion: string,
  name: string,
): Kind | undefined {
  const slash = apiVersion.indexOf('/');
  const group = slash === -1 ? '' : apiVersion.slice(0, slash);
  const version = apiVersion.slice(slash + 1);
  return (
    kindNamed(group, version, name) ??
    customs.all().find((kind) => kind.group === group && kind.version === version && kind.kind === name)
  );
}

function named(
  { store }: Pick<ApiContext, 'store'>,
  kind: Kind,
  namespace: string,
  { name }: ParamRef,
): readonly JsonObject[] {
  const entry = store.get(keyOfObject(kind, namespace, name));
  return entry === undefined ? [] : [parseEntry(entry, kind)];
}

function selected(
  { store }: Pick<ApiContext, 'store'>,
  kind: Kind,
  namespace: string,
  { selector }: ParamRef,
): readonly JsonObject[] {
  return store
    .list(prefixOf(kind, namespace))
    .entries.map((entry) => parseEntry(entry, kind))
    .filter((object) => matchesLabels(selector, stringMapAt(object, 'metadata', 'labels')));
}
