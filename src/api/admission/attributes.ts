import type { JsonObject } from '../object.ts';
import type { GroupVersionKind, GroupVersionResource } from './match.ts';

export type Operation = 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';

/** Who asks, as AdmissionReview's userInfo needs it. */
export type AdmissionUser = {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
};

/** What a webhook or a policy may know of a request. */
export type AdmissionAttributes = {
  readonly operation: Operation;
  /** Of `object`, which is not that of the resource for subresources such as scale. */
  readonly kind: GroupVersionKind;
  readonly resource: GroupVersionResource;
  /** '' for the resource itself. */
  readonly subresource: string;
  /** '' for cluster-scoped resources; of a Namespace its own name. */
  readonly namespace: string;
  /** '' where the server is still to make one. */
  readonly name: string;
  readonly user: AdmissionUser;
  /** Undefined for a deletion. */
  readonly object: JsonObject | undefined;
  /** Undefined for a creation and a connection. */
  readonly oldObject: JsonObject | undefined;
  /** CreateOptions, UpdateOptions or DeleteOptions, with kind and apiVersion. */
  readonly options: JsonObject | undefined;
  readonly dryRun: boolean;
};
