import { ensureObject, numberAt, objectAt, objectsAt, setDefault, stringAt } from '../fields.ts';
import type { Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { defineKind } from './define.ts';
import { addressFields, completeClusterIPs, keepAddresses } from './service-address-validation.ts';
import { defaultIpModes, validateLoadBalancerStatus } from './load-balancer-status.ts';
import { serviceColumns } from './service-columns.ts';
import { validateService, validateServiceUpdate } from './service-validation.ts';

/** Three hours: how long a client keeps its endpoint. */
const affinityTimeoutSeconds = 10_800;

function defaultService(service: JsonObject): void {
  const spec = ensureObject(service, 'spec');
  setDefault(spec, 'type', 'ClusterIP');
  setDefault(spec, 'sessionAffinity', 'None');
  const type = stringAt(spec, 'type');
  if (stringAt(spec, 'sessionAffinity') === 'None') delete spec['sessionAffinityConfig'];
  else {
    const clientIP = ensureObject(ensureObject(spec, 'sessionAffinityConfig'), 'clientIP');
    setDefault(clientIP, 'timeoutSeconds', affinityTimeoutSeconds);
  }
  for (const port of objectsAt(spec, 'ports')) {
    setDefault(port, 'protocol', 'TCP');
    const target = port['targetPort'];
    if (target === undefined || target === 0 || target === '') port['targetPort'] = port['port'] ?? 0;
  }
  if (type === 'NodePort' || type === 'LoadBalancer') setDefault(spec, 'externalTrafficPolicy', 'Cluster');
  if (type === 'LoadBalancer') setDefault(spec, 'allocateLoadBalancerNodePorts', true);
  if (type !== 'ExternalName') setDefault(spec, 'internalTrafficPolicy', 'Cluster');
  defaultIpModes(service);
}

/**
 * Before an update is validated: what the client left out and the server had given is taken over, and what the
 * new type does not have is dropped, so that `kubectl apply` of a bare manifest changes nothing.
 */
function prepareServiceUpdate(service: JsonObject, old: JsonObject): void {
  const spec = ensureObject(service, 'spec');
  const oldSpec = objectAt(old, 'spec') ?? {};
  const type = stringAt(spec, 'type');
  if (type === 'ExternalName') {
    if (stringAt(oldSpec, 'type') !== 'ExternalName') dropAddresses(spec, oldSpec);
  } else keepAddresses(spec, oldSpec);
  if (type !== 'LoadBalancer') {
    const wasBalanced = stringAt(oldSpec, 'type') === 'LoadBalancer';
    for (const field of ['allocateLoadBalancerNodePorts', 'loadBalancerClass', 'healthCheckNodePort']) {
      if (wasBalanced && spec[field] === oldSpec[field]) delete spec[field];
    }
    if (wasBalanced) service['status'] = { loadBalancer: {} };
  } else if (
    spec['healthCheckNodePort'] === undefined &&
    stringAt(spec, 'externalTrafficPolicy') === 'Local'
  ) {
    const before = oldSpec['healthCheckNodePort'];
    if (before !== undefined) spec['healthCheckNodePort'] = before;
  }
  if (type === 'NodePort' || type === 'LoadBalancer') keepNodePorts(spec, oldSpec);
  else {
    if (spec['externalTrafficPolicy'] === oldSpec['externalTrafficPolicy'])
      delete spec['externalTrafficPolicy'];
    dropNodePorts(spec, oldSpec);
  }
}

function dropAddresses(spec: JsonObject, oldSpec: JsonObject): void {
  for (const field of [...addressFields, 'internalTrafficPolicy']) {
    if (JSON.stringify(spec[field]) === JSON.stringify(oldSpec[field])) delete spec[field];
  }
}

/** A port that the client names without its node port keeps the one it had, unless another port is given that now. */
function keepNodePorts(spec: JsonObject, oldSpec: JsonObject): void {
  const before = objectsAt(oldSpec, 'ports');
  const ports = objectsAt(spec, 'ports');
  const given = new Set(ports.map((port) => numberAt(port, 'nodePort') ?? 0));
  for (const port of ports) {
    if ((numberAt(port, 'nodePort') ?? 0) !== 0) continue;
    const same = before.find((other) => stringAt(other, 'name') === stringAt(port, 'name'));
    const nodePort = numberAt(same, 'nodePort') ?? 0;
    if (!given.has(nodePort)) port['nodePort'] = nodePort;
  }
}

/** Node ports that only came along from the old type go; those newly asked for stay, and are refused. */
function dropNodePorts(spec: JsonObject, oldSpec: JsonObject): void {
  const before = new Set(objectsAt(oldSpec, 'ports').map((port) => port['nodePort']));
  for (const port of objectsAt(spec, 'ports')) {
    if (before.has(port['nodePort'])) delete port['nodePort'];
  }
}

export const serviceKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Service',
  plural: 'services',
  namespaced: true,
  schema: 'core/v1.Service',
  shortNames: ['svc'],
  categories: ['all'],
  subresources: ['status', 'proxy'],
  nameRule: 'label1035',
  columns: serviceColumns,
  setDefaults: defaultService,
  prepareForCreate(service: JsonObject): void {
    service['status'] = { loadBalancer: {} };
    completeClusterIPs(ensureObject(service, 'spec'));
  },
  prepareForUpdate: prepareServiceUpdate,
  validate: validateService,
  validateUpdate: validateServiceUpdate,
  validateStatus: (service, old) => validateLoadBalancerStatus(service, old, 'Service'),
  selectableFields: (service) => ({
    'spec.clusterIP': stringAt(service, 'spec', 'clusterIP'),
    'spec.type': stringAt(service, 'spec', 'type'),
  }),
});
