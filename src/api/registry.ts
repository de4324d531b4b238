import type { Kind } from './kind.ts';
import { admissionPolicyKinds } from './kinds/admissionpolicy.ts';
import { apiServiceKind } from './kinds/apiservice.ts';
import { appsKinds } from './kinds/apps.ts';
import { autoscalingKinds } from './kinds/autoscaling.ts';
import { batchKinds } from './kinds/batch.ts';
import { certificateSigningRequestKind } from './kinds/certificatesigningrequest.ts';
import { customResourceDefinitionKind } from './kinds/customresourcedefinition.ts';
import { coordinationKinds } from './kinds/coordination.ts';
import { coreKinds } from './kinds/core.ts';
import { discoveryKinds } from './kinds/discovery.ts';
import { eventV1Kind } from './kinds/event-v1.ts';
import { flowControlKinds } from './kinds/flowcontrol.ts';
import { mutatingPolicyKinds } from './kinds/mutatingpolicy.ts';
import { networkingKinds } from './kinds/networking.ts';
import { policyKinds } from './kinds/poddisruptionbudget.ts';
import { rbacKinds } from './kinds/rbac.ts';
import { reviewKinds } from './kinds/reviews.ts';
import { runtimeClassKind } from './kinds/runtimeclass.ts';
import { priorityClassKind } from './kinds/scheduling.ts';
import { storageKinds } from './kinds/storage.ts';
import { webhookConfigurationKinds } from './kinds/webhookconfiguration.ts';

/** Every kind that the API server serves, in the order that discovery lists them. Adding a kind is one entry. */
export const kinds: readonly Kind[] = [
  ...coreKinds,
  ...appsKinds,
  ...reviewKinds,
  customResourceDefinitionKind,
  apiServiceKind,
  ...webhookConfigurationKinds,
  ...admissionPolicyKinds,
  ...mutatingPolicyKinds,
  ...autoscalingKinds,
  ...batchKinds,
  certificateSigningRequestKind,
  ...coordinationKinds,
  ...discoveryKinds,
  eventV1Kind,
  ...flowControlKinds,
  ...networkingKinds,
  runtimeClassKind,
  ...policyKinds,
  ...rbacKinds,
  priorityClassKind,
  ...storageKinds,
];

const byPlural = new Map(kinds.map((kind) => [address(kind.group, kind.version, kind.plural), kind]));
const byName = new Map(kinds.map((kind) => [address(kind.group, kind.version, kind.kind), kind]));

function address(group: string, version: string, name: string): string {
  return `${group}/${version}/${name}`;
}

/** The kind served under that plural name; undefined when it is not served. */
export function findKind(group: string, version: string, plural: string): Kind | undefined {
  return byPlural.get(address(group, version, plural));
}

/** As findKind, by the kind's name: `kindNamed('apps', 'v1', 'Deployment')`. */
export function kindNamed(group: string, version: string, kind: string): Kind | undefined {
  return byName.get(address(group, version, kind));
}

/** "v1" or "apps/v1". */
export function apiVersionOfKind(kind: Pick<Kind, 'group' | 'version'>): string {
  return kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;
}

export type GroupVersion = {
  readonly group: string;
  readonly version: string;
  readonly kinds: readonly Kind[];
};

/** The served group versions in discovery's order: core first, custom kinds last. */
export function groupVersions(custom: readonly Kind[] = []): readonly GroupVersion[] {
  const grouped = Map.groupBy([...kinds, ...custom], apiVersionOfKind);
  return [...grouped.values()].flatMap((members) => {
    const [first] = members;
    return first === undefined ? [] : [{ group: first.group, version: first.version, kinds: members }];
  });
}
