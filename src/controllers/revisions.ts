import type { ControllerRevision } from '../api/gen/apps-v1.ts';
import type { PodTemplateSpec } from '../api/gen/core-v1.ts';
import type { KubeObject } from '../api/object.ts';
import { controllerRevisions, type Resource } from '../api/resource.ts';
import { type ApiClient, isApiError } from '../client/client.ts';
import { controllerReference } from './ownership.ts';
import { canonicalJson } from './status-patch.ts';

/** The history of templates that StatefulSets and DaemonSets keep as ControllerRevisions. */

export const revisionHashLabel = 'controller-revision-hash';

export type Revisioned = KubeObject & {
  readonly spec?:
    | {
        readonly template: PodTemplateSpec;
        readonly selector: unknown;
        readonly revisionHistoryLimit?: number | undefined;
      }
    | undefined;
};

export type RevisionPlan =
  /** The newest revision is the present template's. */
  | { readonly kind: 'current'; readonly revision: ControllerRevision }
  /** The template was used before: its revision becomes the newest. */
  | { readonly kind: 'renumber'; readonly revision: ControllerRevision; readonly to: number }
  | { readonly kind: 'create'; readonly revision: ControllerRevision };

/** Which revision stands for the owner's present template. */
export function planRevision(
  resource: Resource,
  owner: Revisioned,
  history: readonly ControllerRevision[],
): RevisionPlan {
  const data = revisionData(owner.spec?.template);
  const text = canonicalJson(data);
  const last = Math.max(0, ...history.map(({ revision }) => revision));
  const known = history.find((revision) => canonicalJson(revision.data) === text);
  if (known !== undefined) {
    if (known.revision === last) return { kind: 'current', revision: known };
    return { kind: 'renumber', revision: known, to: last + 1 };
  }
  const hash = hashOf(text);
  const { name = '', namespace } = owner.metadata ?? {};
  return {
    kind: 'create',
    revision: {
      apiVersion: 'apps/v1',
      kind: 'ControllerRevision',
      metadata: {
        name: `${name}-${hash}`,
        namespace,
        labels: { ...owner.spec?.template.metadata?.labels, 'controller.kubernetes.io/hash': hash },
        ownerReferences: [controllerReference(resource, owner)],
      },
      data,
      revision: last + 1,
    },
  };
}

/** As kubectl's rollout undo applies it: a strategic merge patch of the owner. */
function revisionData(template: PodTemplateSpec | undefined): Record<string, unknown> {
  return { spec: { template: { ...template, $patch: 'replace' } } };
}

/** Revisions that may go: the oldest beyond the limit that no Pod is made of. */
export function planHistory(
  owner: Revisioned,
  history: readonly ControllerRevision[],
  live: ReadonlySet<string>,
): readonly ControllerRevision[] {
  const limit = owner.spec?.revisionHistoryLimit ?? 10;
  const old = history
    .filter(({ metadata }) => !live.has(metadata?.name ?? ''))
    .toSorted((a, b) => a.revision - b.revision);
  return old.slice(0, Math.max(0, old.length - limit));
}

/** Makes sure of the present revision. Returns it, with the history as it is then. */
export async function ensureRevision(
  client: ApiClient,
  plan: RevisionPlan,
  signal: AbortSignal,
): Promise<ControllerRevision> {
  const { namespace, name = '' } = plan.revision.metadata ?? {};
  switch (plan.kind) {
    case 'current':
      return plan.revision;
    case 'renumber':
      return client.patch(controllerRevisions, namespace, name, 'merge', { revision: plan.to }, { signal });
    case 'create':
      try {
        return await client.create(controllerRevisions, plan.revision, { signal });
      } catch (error) {
        if (!isApiError(error, 'AlreadyExists')) throw error;
        return client.get(controllerRevisions, namespace, name, signal); // our own, not yet in our copy
      }
  }
}

/** Removes revisions; one that is gone already is none the worse. */
export async function deleteRevisions(
  client: ApiClient,
  revisions: readonly ControllerRevision[],
  signal: AbortSignal,
): Promise<void> {
  for (const { metadata } of revisions) {
    try {
      await client.delete(controllerRevisions, metadata?.namespace, metadata?.name ?? '', { signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }
}

/** Ten letters and digits that are no words, from an FNV-1a hash. */
function hashOf(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text, 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
  return Array.from(String(hash), (digit) => alphabet[digit.charCodeAt(0) % alphabet.length]).join('');
}
