import type { ParamRef, Policy } from '../../api/admission/policy.ts';
import { stringMapAt } from '../../api/fields.ts';
import type { Kind } from '../../api/kind.ts';
import { matchesLabels } from '../../api/labels.ts';
import type { JsonObject } from '../../api/object.ts';
import { kindNamed } from '../../api/registry.ts';
import type { ApiContext } from '../context.ts';
import { prepareEntries } from '../custom-resources/conversion.ts';
import { keyOfObject, parseEntry, prefixOf } from '../objects.ts';

/**
 * The objects with which a policy is to be asked, one after the other; one `undefined` where it has none. Empty: there is
 * nothing to ask. A text says why they cannot be found.
 */
export async function paramsOf(
  context: Pick<ApiContext, 'store' | 'customs' | 'webhooks'>,
  { paramKind }: Pick<Policy, 'paramKind'>,
  ref: ParamRef | undefined,
  requestNamespace: string,
  signal: AbortSignal,
): Promise<readonly (JsonObject | undefined)[] | string> {
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
  const entries =
    ref.name === ''
      ? context.store.list(prefixOf(kind, namespace)).entries
      : [context.store.get(keyOfObject(kind, namespace, ref.name))].filter((entry) => entry !== undefined);
  await prepareEntries(context, kind, entries, signal);
  const found = entries
    .map((entry) => parseEntry(entry, kind))
    .filter((object) => matchesLabels(ref.selector, stringMapAt(object, 'metadata', 'labels')));
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
