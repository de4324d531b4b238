import type { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet } from './gen/apps-v1.ts';
import type { Lease } from './gen/coordination-v1.ts';
import type {
  ConfigMap,
  Endpoints,
  Event,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  ReplicationController,
  ResourceQuota,
  Secret,
  Service,
  ServiceAccount,
} from './gen/core-v1.ts';
import type { CustomResourceDefinition } from './gen/apiextensions-v1.ts';
import type { HorizontalPodAutoscaler } from './gen/autoscaling-v2.ts';
import type { CronJob, Job } from './gen/batch-v1.ts';
import type { CertificateSigningRequest } from './gen/certificates-v1.ts';
import type { SubjectAccessReview } from './gen/authorization-v1.ts';
import type { EndpointSlice } from './gen/discovery-v1.ts';
import type { Ingress, IngressClass, ServiceCIDR } from './gen/networking-v1.ts';
import type { PodDisruptionBudget } from './gen/policy-v1.ts';
import type { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from './gen/rbac-v1.ts';
import type { StorageClass } from './gen/storage-v1.ts';
import type { KubeObject } from './object.ts';

/** Where a kind lives in the API, with its object type for the compiler's sake. */
export type Resource<T extends KubeObject = KubeObject> = {
  readonly group: string; // '' is the core group
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set; carries T. */
  readonly object?: T;
};

function resource<T extends KubeObject>(
  groupVersion: string,
  plural: string,
  kind: string,
  scope: 'Namespaced' | 'Cluster',
): Resource<T> {
  const slash = groupVersion.indexOf('/');
  return {
    group: slash === -1 ? '' : groupVersion.slice(0, slash),
    version: groupVersion.slice(slash + 1),
    plural,
    kind,
    namespaced: scope === 'Namespaced',
  };
}

export const pods = resource<Pod>('v1', 'pods', 'Pod', 'Namespaced');
export const services = resource<Service>('v1', 'services', 'Service', 'Namespaced');
export const endpoints = resource<Endpoints>('v1', 'endpoints', 'Endpoints', 'Namespaced');
export const configMaps = resource<ConfigMap>('v1', 'configmaps', 'ConfigMap', 'Namespaced');
export const secrets = resource<Secret>('v1', 'secrets', 'Secret', 'Namespaced');
export const serviceAccounts = resource<ServiceAccount>(
  'v1',
  'serviceaccounts',
  'ServiceAccount',
  'Namespaced',
);
export const events = resource<Event>('v1', 'events', 'Event', 'Namespaced');
export const namespaces = resource<Namespace>('v1', 'namespaces', 'Namespace', 'Cluster');
export const nodes = resource<Node>('v1', 'nodes', 'Node', 'Cluster');
export const deployments = resource<Deployment>('apps/v1', 'deployments', 'Deployment', 'Namespaced');
export const replicaSets = resource<ReplicaSet>('apps/v1', 'replicasets', 'ReplicaSet', 'Namespaced');
export const statefulSets = resource<StatefulSet>('apps/v1', 'statefulsets', 'StatefulSet', 'Namespaced');
export const daemonSets = resource<DaemonSet>('apps/v1', 'daemonsets', 'DaemonSet', 'Namespaced');
export const controllerRevisions = resource<ControllerRevision>(
  'apps/v1',
  'controllerrevisions',
  'ControllerRevision',
  'Namespaced',
);
export const replicationControllers = resource<ReplicationController>(
  'v1',
  'replicationcontrollers',
  'ReplicationController',
  'Namespaced',
);
export const resourceQuotas = resource<ResourceQuota>('v1', 'resourcequotas', 'ResourceQuota', 'Namespaced');
export const persistentVolumes = resource<PersistentVolume>(
  'v1',
  'persistentvolumes',
  'PersistentVolume',
  'Cluster',
);
export const storageClasses = resource<StorageClass>(
  'storage.k8s.io/v1',
  'storageclasses',
  'StorageClass',
  'Cluster',
);
export const persistentVolumeClaims = resource<PersistentVolumeClaim>(
  'v1',
  'persistentvolumeclaims',
  'PersistentVolumeClaim',
  'Namespaced',
);
export const jobs = resource<Job>('batch/v1', 'jobs', 'Job', 'Namespaced');
export const cronJobs = resource<CronJob>('batch/v1', 'cronjobs', 'CronJob', 'Namespaced');
export const certificateSigningRequests = resource<CertificateSigningRequest>(
  'certificates.k8s.io/v1',
  'certificatesigningrequests',
  'CertificateSigningRequest',
  'Cluster',
);
export const subjectAccessReviews = resource<SubjectAccessReview>(
  'authorization.k8s.io/v1',
  'subjectaccessreviews',
  'SubjectAccessReview',
  'Cluster',
);
export const podDisruptionBudgets = resource<PodDisruptionBudget>(
  'policy/v1',
  'poddisruptionbudgets',
  'PodDisruptionBudget',
  'Namespaced',
);
export const horizontalPodAutoscalers = resource<HorizontalPodAutoscaler>(
  'autoscaling/v2',
  'horizontalpodautoscalers',
  'HorizontalPodAutoscaler',
  'Namespaced',
);
export const customResourceDefinitions = resource<CustomResourceDefinition>(
  'apiextensions.k8s.io/v1',
  'customresourcedefinitions',
  'CustomResourceDefinition',
  'Cluster',
);
export const endpointSlices = resource<EndpointSlice>(
  'discovery.k8s.io/v1',
  'endpointslices',
  'EndpointSlice',
  'Namespaced',
);
export const ingresses = resource<Ingress>('networking.k8s.io/v1', 'ingresses', 'Ingress', 'Namespaced');
export const ingressClasses = resource<IngressClass>(
  'networking.k8s.io/v1',
  'ingressclasses',
  'IngressClass',
  'Cluster',
);
export const serviceCidrs = resource<ServiceCIDR>(
  'networking.k8s.io/v1',
  'servicecidrs',
  'ServiceCIDR',
  'Cluster',
);
export const leases = resource<Lease>('coordination.k8s.io/v1', 'leases', 'Lease', 'Namespaced');
export const roles = resource<Role>('rbac.authorization.k8s.io/v1', 'roles', 'Role', 'Namespaced');
export const roleBindings = resource<RoleBinding>(
  'rbac.authorization.k8s.io/v1',
  'rolebindings',
  'RoleBinding',
  'Namespaced',
);
export const clusterRoles = resource<ClusterRole>(
  'rbac.authorization.k8s.io/v1',
  'clusterroles',
  'ClusterRole',
  'Cluster',
);
export const clusterRoleBindings = resource<ClusterRoleBinding>(
  'rbac.authorization.k8s.io/v1',
  'clusterrolebindings',
  'ClusterRoleBinding',
  'Cluster',
);

/** "/api/v1/namespaces/default/pods/web" and the like; without `name` the collection's path. */
export function resourcePath(
  resource: Resource,
  namespace: string | undefined,
  name?: string,
  subresource?: string,
): string {
  const root =
    resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope =
    resource.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  const item = name === undefined ? '' : `/${encodeURIComponent(name)}`;
  const sub = subresource === undefined ? '' : `/${subresource}`;
  return `${root}${scope}/${resource.plural}${item}${sub}`;
}

export function apiVersionOf(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}
