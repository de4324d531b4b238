/**
 * How lists and maps of the served types merge: facts that the schema table does not carry.
 *
 * Grammar of a marker: `LIST-TYPE [KEYS][; PATCH-STRATEGY [MERGE-KEY]]`. The first half rules server-side apply
 * (`map name`, `set`, `atomic`, `atomicMap` for a map that is replaced whole), the second strategic merge patch
 * (`merge name`, `retainKeys`, `merge,retainKeys name`, `replace` for a struct taken whole). A field without a marker is replaced when it is a list,
 * merged key by key when it is a map or a struct.
 */
const markers: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'apps/v1.DeploymentSpec': { strategy: '; retainKeys' },
  'apps/v1.DeploymentStatus': { conditions: 'map type; merge type' },
  'apps/v1.ReplicaSetStatus': { conditions: 'map type; merge type' },
  'authentication/v1.TokenRequestSpec': { audiences: 'atomic' },
  'authentication/v1.TokenReviewSpec': { audiences: 'atomic' },
  'authentication/v1.TokenReviewStatus': { audiences: 'atomic' },
  'authentication/v1.UserInfo': { groups: 'atomic' },
  'authorization/v1.FieldSelectorAttributes': { requirements: 'atomic' },
  'authorization/v1.LabelSelectorAttributes': { requirements: 'atomic' },
  'authorization/v1.NonResourceRule': { nonResourceURLs: 'atomic', verbs: 'atomic' },
  'authorization/v1.ResourceRule': {
    apiGroups: 'atomic',
    resourceNames: 'atomic',
    resources: 'atomic',
    verbs: 'atomic',
  },
  'authorization/v1.SubjectAccessReviewSpec': { groups: 'atomic' },
  'authorization/v1.SubjectRulesReviewStatus': { nonResourceRules: 'atomic', resourceRules: 'atomic' },
  'certificates/v1.CertificateSigningRequestSpec': { groups: 'atomic', usages: 'atomic' },
  'certificates/v1.CertificateSigningRequestStatus': { conditions: 'map type' },
  'core/v1.Capabilities': { add: 'atomic', drop: 'atomic' },
  'core/v1.CephFSVolumeSource': { monitors: 'atomic' },
  'core/v1.ComponentStatus': { conditions: 'map type; merge type' },
  'core/v1.ConfigMapProjection': { items: 'atomic' },
  'core/v1.ConfigMapVolumeSource': { items: 'atomic' },
  'core/v1.Container': {
    args: 'atomic',
    command: 'atomic',
    env: 'map name; merge name',
    envFrom: 'atomic',
    ports: 'map containerPort,protocol; merge containerPort',
    resizePolicy: 'atomic',
    restartPolicyRules: 'atomic',
    volumeDevices: 'map devicePath; merge devicePath',
    volumeMounts: 'map mountPath; merge mountPath',
  },
  'core/v1.ContainerImage': { names: 'atomic' },
  'core/v1.ContainerRestartRuleOnExitCodes': { values: 'set' },
  'core/v1.ContainerStatus': {
    allocatedResourcesStatus: 'map name; merge name',
    volumeMounts: 'map mountPath; merge mountPath',
  },
  'core/v1.DownwardAPIProjection': { items: 'atomic' },
  'core/v1.DownwardAPIVolumeSource': { items: 'atomic' },
  'core/v1.EndpointSubset': { addresses: 'atomic', notReadyAddresses: 'atomic', ports: 'atomic' },
  'core/v1.Endpoints': { subsets: 'atomic' },
  'core/v1.EphemeralContainer': {
    args: 'atomic',
    command: 'atomic',
    env: 'map name; merge name',
    envFrom: 'atomic',
    ports: 'map containerPort,protocol; merge containerPort',
    resizePolicy: 'atomic',
    restartPolicyRules: 'atomic',
    volumeDevices: 'map devicePath; merge devicePath',
    volumeMounts: 'map mountPath; merge mountPath',
  },
  'core/v1.ExecAction': { command: 'atomic' },
  'core/v1.FCVolumeSource': { targetWWNs: 'atomic', wwids: 'atomic' },
  'core/v1.HTTPGetAction': { httpHeaders: 'atomic' },
  'core/v1.HostAlias': { hostnames: 'atomic' },
  'core/v1.ISCSIVolumeSource': { portals: 'atomic' },
  'core/v1.LinuxContainerUser': { supplementalGroups: 'atomic' },
  'core/v1.LoadBalancerIngress': { ports: 'atomic' },
  'core/v1.LoadBalancerStatus': { ingress: 'atomic' },
  'core/v1.NamespaceSpec': { finalizers: 'atomic' },
  'core/v1.NamespaceStatus': { conditions: 'map type; merge type' },
  'core/v1.NodeAffinity': { preferredDuringSchedulingIgnoredDuringExecution: 'atomic' },
  'core/v1.NodeAllocatableResourceClaimStatus': { containers: 'set' },
  'core/v1.NodeSelector': { nodeSelectorTerms: 'atomic' },
  'core/v1.NodeSelectorRequirement': { values: 'atomic' },
  'core/v1.NodeSelectorTerm': { matchExpressions: 'atomic', matchFields: 'atomic' },
  'core/v1.NodeSpec': { podCIDRs: 'set; merge', taints: 'atomic' },
  'core/v1.NodeStatus': {
    addresses: 'map type; merge type',
    conditions: 'map type; merge type',
    declaredFeatures: 'atomic',
    images: 'atomic',
    runtimeHandlers: 'atomic',
    volumesAttached: 'atomic',
    volumesInUse: 'atomic',
  },
  'core/v1.PersistentVolumeClaimSpec': { accessModes: 'atomic' },
  'core/v1.PodAffinity': {
    preferredDuringSchedulingIgnoredDuringExecution: 'atomic',
    requiredDuringSchedulingIgnoredDuringExecution: 'atomic',
  },
  'core/v1.PodAffinityTerm': { matchLabelKeys: 'atomic', mismatchLabelKeys: 'atomic', namespaces: 'atomic' },
  'core/v1.PodAntiAffinity': {
    preferredDuringSchedulingIgnoredDuringExecution: 'atomic',
    requiredDuringSchedulingIgnoredDuringExecution: 'atomic',
  },
  'core/v1.PodDNSConfig': { nameservers: 'atomic', options: 'atomic', searches: 'atomic' },
  'core/v1.PodExtendedResourceClaimStatus': { requestMappings: 'atomic' },
  'core/v1.PodSecurityContext': { supplementalGroups: 'atomic', sysctls: 'atomic' },
  'core/v1.PodSpec': {
    containers: 'map name; merge name',
    ephemeralContainers: 'map name; merge name',
    hostAliases: 'map ip; merge ip',
    imagePullSecrets: 'map name; merge name',
    initContainers: 'map name; merge name',
    nodeSelector: 'atomicMap',
    readinessGates: 'atomic',
    resourceClaims: 'map name; merge,retainKeys name',
    schedulingGates: 'map name; merge name',
    tolerations: 'atomic',
    topologySpreadConstraints: 'map topologyKey,whenUnsatisfiable; merge topologyKey',
    volumes: 'map name; merge,retainKeys name',
  },
  'core/v1.PodStatus': {
    conditions: 'map type; merge type',
    containerStatuses: 'atomic',
    ephemeralContainerStatuses: 'atomic',
    hostIPs: 'atomic; merge ip',
    initContainerStatuses: 'atomic',
    nodeAllocatableResourceClaimStatuses: 'atomic',
    podIPs: 'map ip; merge ip',
    resourceClaimStatuses: 'map name; merge,retainKeys name',
  },
  'core/v1.ProjectedVolumeSource': { sources: 'atomic' },
  'core/v1.RBDVolumeSource': { monitors: 'atomic' },
  'core/v1.ResourceRequirements': { claims: 'map name' },
  'core/v1.ResourceStatus': { resources: 'map resourceID' },
  'core/v1.SecretProjection': { items: 'atomic' },
  'core/v1.SecretVolumeSource': { items: 'atomic' },
  'core/v1.ServiceAccount': { imagePullSecrets: 'atomic', secrets: 'map name; merge name' },
  'core/v1.ServiceSpec': {
    clusterIPs: 'atomic',
    externalIPs: 'atomic',
    ipFamilies: 'atomic',
    loadBalancerSourceRanges: 'atomic',
    ports: 'map port,protocol; merge port',
    selector: 'atomicMap',
  },
  'core/v1.ServiceStatus': { conditions: 'map type; merge type' },
  'core/v1.TopologySpreadConstraint': { matchLabelKeys: 'atomic' },
  'discovery/v1.Endpoint': { addresses: 'set' },
  'discovery/v1.EndpointHints': { forNodes: 'atomic', forZones: 'atomic' },
  'discovery/v1.EndpointSlice': { endpoints: 'atomic', ports: 'atomic' },
  'flowcontrol/v1.FlowSchemaSpec': { rules: 'atomic' },
  'flowcontrol/v1.FlowSchemaStatus': { conditions: 'map type; merge type' },
  'flowcontrol/v1.NonResourcePolicyRule': { nonResourceURLs: 'set', verbs: 'set' },
  'flowcontrol/v1.PolicyRulesWithSubjects': {
    nonResourceRules: 'atomic',
    resourceRules: 'atomic',
    subjects: 'atomic',
  },
  'flowcontrol/v1.PriorityLevelConfigurationStatus': { conditions: 'map type; merge type' },
  'flowcontrol/v1.ResourcePolicyRule': {
    apiGroups: 'set',
    namespaces: 'set',
    resources: 'set',
    verbs: 'set',
  },
  'meta/v1.StatusDetails': { causes: 'atomic' },
  'networking/v1.HTTPIngressRuleValue': { paths: 'atomic' },
  'networking/v1.IngressLoadBalancerIngress': { ports: 'atomic' },
  'networking/v1.IngressLoadBalancerStatus': { ingress: 'atomic' },
  'networking/v1.IngressSpec': { rules: 'atomic', tls: 'atomic' },
  'networking/v1.IngressTLS': { hosts: 'atomic' },
  'rbac/v1.AggregationRule': { clusterRoleSelectors: 'atomic' },
  'rbac/v1.ClusterRole': { rules: 'atomic' },
  'rbac/v1.ClusterRoleBinding': { subjects: 'atomic' },
  'rbac/v1.PolicyRule': {
    apiGroups: 'atomic',
    nonResourceURLs: 'atomic',
    resourceNames: 'atomic',
    resources: 'atomic',
    verbs: 'atomic',
  },
  'rbac/v1.Role': { rules: 'atomic' },
  'rbac/v1.RoleBinding': { subjects: 'atomic' },
  'meta/v1.DeleteOptions': { dryRun: 'atomic' },
  'meta/v1.FieldSelectorRequirement': { values: 'atomic' },
  'meta/v1.LabelSelector': { matchExpressions: 'atomic' },
  'meta/v1.LabelSelectorRequirement': { values: 'atomic' },
  'meta/v1.ObjectMeta': {
    finalizers: 'set; merge',
    managedFields: 'atomic',
    ownerReferences: 'map uid; merge uid',
  },
  'apps/v1.DaemonSetStatus': { conditions: 'map type; merge type' },
  'apps/v1.StatefulSetSpec': { volumeClaimTemplates: 'atomic' },
  'apps/v1.StatefulSetStatus': { conditions: 'map type; merge type' },
  'autoscaling/v2.HPAScalingRules': { policies: 'atomic' },
  'autoscaling/v2.HorizontalPodAutoscalerSpec': { metrics: 'atomic' },
  'autoscaling/v2.HorizontalPodAutoscalerStatus': {
    conditions: 'map type; merge type',
    currentMetrics: 'atomic',
  },
  'batch/v1.CronJobStatus': { active: 'atomic' },
  'batch/v1.JobStatus': { conditions: 'atomic; merge type' },
  'batch/v1.PodFailurePolicy': { rules: 'atomic' },
  'batch/v1.PodFailurePolicyOnExitCodesRequirement': { values: 'set' },
  'batch/v1.PodFailurePolicyRule': { onPodConditions: 'atomic' },
  'batch/v1.SuccessPolicy': { rules: 'atomic' },
  'batch/v1.UncountedTerminatedPods': { failed: 'set', succeeded: 'set' },
  'core/v1.CephFSPersistentVolumeSource': { monitors: 'atomic' },
  'core/v1.ISCSIPersistentVolumeSource': { portals: 'atomic' },
  'core/v1.PersistentVolumeClaimStatus': {
    accessModes: 'atomic',
    allocatedResourceStatuses: '',
    conditions: 'map type; merge type',
  },
  'core/v1.PersistentVolumeSpec': { accessModes: 'atomic', claimRef: '', mountOptions: 'atomic' },
  'core/v1.RBDPersistentVolumeSource': { monitors: 'atomic' },
  'core/v1.ReplicationControllerSpec': { selector: 'atomicMap' },
  'core/v1.ReplicationControllerStatus': { conditions: 'map type; merge type' },
  'core/v1.TopologySelectorLabelRequirement': { values: 'atomic' },
  'core/v1.TopologySelectorTerm': { matchLabelExpressions: 'atomic' },
  'networking/v1.IPBlock': { except: 'atomic' },
  'networking/v1.NetworkPolicyEgressRule': { ports: 'atomic', to: 'atomic' },
  'networking/v1.NetworkPolicyIngressRule': { from: 'atomic', ports: 'atomic' },
  'networking/v1.NetworkPolicySpec': { egress: 'atomic', ingress: 'atomic', policyTypes: 'atomic' },
  'networking/v1.ServiceCIDRSpec': { cidrs: 'atomic' },
  'networking/v1.ServiceCIDRStatus': { conditions: 'map type; merge type' },
  'node/v1.Scheduling': { nodeSelector: 'atomicMap', tolerations: 'atomic' },
  'policy/v1.PodDisruptionBudgetSpec': { selector: '; replace' },
  'policy/v1.PodDisruptionBudgetStatus': { conditions: 'map type; merge type' },
  'storage/v1.CSIDriverSpec': { tokenRequests: 'atomic', volumeLifecycleModes: 'set' },
  'storage/v1.CSINodeDriver': { topologyKeys: 'atomic' },
  'storage/v1.CSINodeSpec': { drivers: 'map name; merge name' },
  'storage/v1.StorageClass': { allowedTopologies: 'atomic', mountOptions: 'atomic' },
  'apiextensions/v1.CustomResourceDefinitionNames': { categories: 'atomic', shortNames: 'atomic' },
  'apiextensions/v1.CustomResourceDefinitionSpec': { versions: 'atomic' },
  'apiextensions/v1.CustomResourceDefinitionStatus': { conditions: 'map type', storedVersions: 'atomic' },
  'apiextensions/v1.CustomResourceDefinitionVersion': {
    additionalPrinterColumns: 'atomic',
    selectableFields: 'atomic',
  },
  'apiextensions/v1.JSONSchemaProps': {
    allOf: 'atomic',
    anyOf: 'atomic',
    enum: 'atomic',
    oneOf: 'atomic',
    required: 'atomic',
    'x-kubernetes-list-map-keys': 'atomic',
    'x-kubernetes-validations': 'map rule; merge rule',
  },
  'admissionregistration/v1.MatchResources': { excludeResourceRules: 'atomic', resourceRules: 'atomic' },
  'admissionregistration/v1.MutatingAdmissionPolicySpec': {
    matchConditions: 'map name; merge name',
    mutations: 'atomic',
    variables: 'atomic',
  },
  'admissionregistration/v1.MutatingWebhook': {
    admissionReviewVersions: 'atomic',
    matchConditions: 'map name; merge name',
    rules: 'atomic',
  },
  'admissionregistration/v1.MutatingWebhookConfiguration': { webhooks: 'map name; merge name' },
  'admissionregistration/v1.NamedRuleWithOperations': {
    apiGroups: 'atomic',
    apiVersions: 'atomic',
    operations: 'atomic',
    resourceNames: 'atomic',
    resources: 'atomic',
  },
  'admissionregistration/v1.RuleWithOperations': {
    apiGroups: 'atomic',
    apiVersions: 'atomic',
    operations: 'atomic',
    resources: 'atomic',
  },
  'admissionregistration/v1.TypeChecking': { expressionWarnings: 'atomic' },
  'admissionregistration/v1.ValidatingAdmissionPolicyBindingSpec': { validationActions: 'set' },
  'admissionregistration/v1.ValidatingAdmissionPolicySpec': {
    auditAnnotations: 'atomic',
    matchConditions: 'map name; merge name',
    validations: 'atomic',
    variables: 'map name; merge name',
  },
  'admissionregistration/v1.ValidatingAdmissionPolicyStatus': { conditions: 'map type' },
  'admissionregistration/v1.ValidatingWebhook': {
    admissionReviewVersions: 'atomic',
    matchConditions: 'map name; merge name',
    rules: 'atomic',
  },
  'admissionregistration/v1.ValidatingWebhookConfiguration': { webhooks: 'map name; merge name' },
  'apiregistration/v1.APIServiceSpec': { caBundle: 'atomic' },
  'apiregistration/v1.APIServiceStatus': { conditions: 'map type; merge type' },
  'apiextensions/v1.WebhookConversion': { conversionReviewVersions: 'atomic' },
  'core/v1.LimitRangeSpec': { limits: 'atomic' },
  'core/v1.ResourceQuotaSpec': { scopes: 'atomic' },
  'core/v1.ScopeSelector': { matchExpressions: 'atomic' },
  'core/v1.ScopedResourceSelectorRequirement': { values: 'atomic' },
};

/** Structs that server-side apply owns whole; strategic merge patch still merges them field by field. */
const atomicTypes: ReadonlySet<string> = new Set([
  'admissionregistration/v1.MatchResources',
  'admissionregistration/v1.NamedRuleWithOperations',
  'admissionregistration/v1.ParamKind',
  'admissionregistration/v1.ParamRef',
  'admissionregistration/v1.Variable',
  'core/v1.ConfigMapKeySelector',
  'core/v1.EndpointAddress',
  'core/v1.EndpointPort',
  'core/v1.FileKeySelector',
  'core/v1.LocalObjectReference',
  'core/v1.NodeSelector',
  'core/v1.NodeSelectorTerm',
  'core/v1.ObjectFieldSelector',
  'core/v1.ObjectReference',
  'core/v1.ResourceFieldSelector',
  'core/v1.SecretKeySelector',
  'core/v1.TypedLocalObjectReference',
  'discovery/v1.EndpointPort',
  'meta/v1.LabelSelector',
  'meta/v1.OwnerReference',
  'networking/v1.ServiceBackendPort',
  'rbac/v1.RoleRef',
  'rbac/v1.Subject',
  'autoscaling/v1.CrossVersionObjectReference',
  'core/v1.ScopeSelector',
  'core/v1.SecretReference',
  'core/v1.TopologySelectorTerm',
]);

export type Marker = {
  readonly listType?: 'atomic' | 'set' | 'map';
  /** Keys of a list of type map, most significant first. */
  readonly listMapKeys?: readonly string[];
  readonly mapType?: 'atomic';
  readonly patchMerge: boolean;
  readonly patchRetainKeys: boolean;
  /** A struct that a strategic merge patch replaces whole. */
  readonly patchReplace?: true;
  readonly patchMergeKey?: string;
};

const parsed = new Map<string, Marker>();
const none: Marker = { patchMerge: false, patchRetainKeys: false };

/** The marker of a field; one without any rules where there is none. */
export function markerOf(typeName: string, field: string): Marker {
  const row = markers[typeName];
  // A client may name a field `__proto__`, which every object seems to have.
  const text = row !== undefined && Object.hasOwn(row, field) ? row[field] : undefined;
  if (text === undefined) return none;
  const known = parsed.get(text);
  if (known !== undefined) return known;
  const marker = parseMarker(text);
  parsed.set(text, marker);
  return marker;
}

export function isAtomicType(typeName: string): boolean {
  return atomicTypes.has(typeName);
}

/** Every field that has a marker, for documents and tests. */
export function markedFields(): readonly { readonly type: string; readonly field: string }[] {
  return Object.entries(markers).flatMap(([type, fields]) =>
    Object.keys(fields).map((field) => ({ type, field })),
  );
}

function parseMarker(text: string): Marker {
  const [list = '', patch = ''] = text.split(';');
  const [listType = '', keys = ''] = list.trim().split(' ');
  const [strategies = '', mergeKey = ''] = patch.trim().split(' ');
  const strategy = new Set(strategies.split(','));
  return {
    ...(listType === 'atomic' || listType === 'set' || listType === 'map' ? { listType } : {}),
    ...(keys === '' ? {} : { listMapKeys: keys.split(',') }),
    ...(listType === 'atomicMap' ? { mapType: 'atomic' } : {}),
    patchMerge: strategy.has('merge'),
    patchRetainKeys: strategy.has('retainKeys'),
    ...(strategy.has('replace') ? { patchReplace: true } : {}),
    ...(mergeKey === '' ? {} : { patchMergeKey: mergeKey }),
  };
}
