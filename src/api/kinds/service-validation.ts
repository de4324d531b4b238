import { child, duplicate, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import { numberAt, objectAt, objectsAt, stringAt, stringMapAt, stringsAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import {
  cidrProblems,
  dnsLabelProblems,
  dnsSubdomainProblems,
  labelKeyProblems,
  portNumberProblems,
} from '../names.ts';
import { validateLabels } from '../object-meta.ts';
import type { JsonObject } from '../object.ts';
import { validatePortReference } from './field-rules.ts';
import { validateAddressUpdate, validateServiceAddresses } from './service-address-validation.ts';
import { endpointAddressProblems } from './endpoint-address.ts';

const types = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const;
const affinityTimeoutSecondsMax = 86_400;

export function validateService(service: JsonObject): readonly FieldError[] {
  const spec = objectAt(service, 'spec') ?? {};
  const type = stringAt(spec, 'type');
  const errors: FieldError[] = [];
  const isHeadless = stringAt(spec, 'clusterIP') === 'None';
  const ports = objectsAt(spec, 'ports');
  if (ports.length === 0 && !isHeadless && type !== 'ExternalName') errors.push(required('spec.ports'));
  if (type === 'LoadBalancer' && isHeadless) {
    errors.push(invalid('spec.clusterIPs[0]', 'None', "may not be set to 'None' for LoadBalancer services"));
  }
  if (type === 'NodePort' && isHeadless) {
    errors.push(invalid('spec.clusterIPs[0]', 'None', "may not be set to 'None' for NodePort services"));
  }
  if (type === 'ExternalName') errors.push(...validateExternalName(spec));
  errors.push(...validatePorts(ports, type));
  errors.push(...validateLabels(stringMapAt(spec, 'selector'), 'spec.selector'));
  errors.push(...validateAffinity(spec));
  if (type !== '' && !(types as readonly string[]).includes(type)) {
    errors.push(notSupported('spec.type', type, types));
  }
  errors.push(...validateAddresses(spec, type));
  errors.push(...validatePolicies(spec, type));
  return errors;
}

function validateExternalName(spec: JsonObject): readonly FieldError[] {
  const name = stringAt(spec, 'externalName').replace(/\.$/, '');
  if (name === '') return [required('spec.externalName')];
  return dnsSubdomainProblems(name).map((problem) => invalid('spec.externalName', name, problem));
}

function validatePorts(ports: readonly JsonObject[], type: string): readonly FieldError[] {
  const names = new Set<string>();
  const numbers = new Set<string>();
  const nodePorts = new Set<string>();
  return ports.flatMap((port, position) => {
    const at = index('spec.ports', position);
    const errors: FieldError[] = [];
    const name = stringAt(port, 'name');
    if (name === '') {
      if (ports.length > 1) errors.push(required(child(at, 'name')));
    } else {
      errors.push(...dnsLabelProblems(name).map((problem) => invalid(child(at, 'name'), name, problem)));
      if (names.has(name)) errors.push(duplicate(child(at, 'name'), name));
      names.add(name);
    }
    const number = port['port'];
    errors.push(...portNumberProblems(number).map((p) => invalid(child(at, 'port'), number ?? 0, p)));
    const protocol = stringAt(port, 'protocol');
    if (protocol === '') errors.push(required(child(at, 'protocol')));
    else if (!['TCP', 'UDP', 'SCTP'].includes(protocol)) {
      errors.push(notSupported(child(at, 'protocol'), protocol, ['TCP', 'UDP', 'SCTP']));
    }
    errors.push(...validatePortReference(port['targetPort'], child(at, 'targetPort')));
    const appProtocol = stringAt(port, 'appProtocol');
    if (appProtocol !== '') {
      errors.push(
        ...labelKeyProblems(appProtocol).map((p) => invalid(child(at, 'appProtocol'), appProtocol, p)),
      );
    }
    const nodePort = numberAt(port, 'nodePort') ?? 0;
    if (nodePort !== 0 && (type === 'ClusterIP' || type === 'ExternalName')) {
      errors.push(forbidden(child(at, 'nodePort'), "may not be used when `type` is 'ClusterIP'"));
    } else if (nodePort !== 0) {
      const key = `${protocol}/${nodePort}`;
      if (nodePorts.has(key)) errors.push(duplicate(child(at, 'nodePort'), nodePort));
      nodePorts.add(key);
    }
    const key = `${protocol}/${numberAt(port, 'port') ?? 0}`;
    if (numbers.has(key))
      errors.push(duplicate(at, { ...(name === '' ? {} : { name }), protocol, port: number ?? 0 }));
    numbers.add(key);
    return errors;
  });
}

function validateAffinity(spec: JsonObject): readonly FieldError[] {
  const affinity = stringAt(spec, 'sessionAffinity');
  if (affinity === '') return [required('spec.sessionAffinity')];
  if (affinity !== 'ClientIP' && affinity !== 'None') {
    return [notSupported('spec.sessionAffinity', affinity, ['ClientIP', 'None'])];
  }
  const config = objectAt(spec, 'sessionAffinityConfig');
  if (affinity === 'None') {
    if (config === undefined) return [];
    return [forbidden('spec.sessionAffinityConfig', 'must not be set when session affinity is None')];
  }
  const path = 'spec.sessionAffinityConfig.clientIP.timeoutSeconds';
  const timeout = numberAt(config, 'clientIP', 'timeoutSeconds');
  if (timeout === undefined) return [required(path)];
  if (timeout > 0 && timeout <= affinityTimeoutSecondsMax) return [];
  return [
    invalid(path, timeout, `must be greater than 0 and less than or equal to ${affinityTimeoutSecondsMax}`),
  ];
}

function validateAddresses(spec: JsonObject, type: string): readonly FieldError[] {
  const errors: FieldError[] = [...validateServiceAddresses(spec)];
  stringsAt(spec, 'externalIPs').forEach((address, position) => {
    const at = index('spec.externalIPs', position);
    errors.push(...endpointAddressProblems(address).map((problem) => invalid(at, address, problem)));
  });
  const ranges = stringsAt(spec, 'loadBalancerSourceRanges');
  if (ranges.length > 0 && type !== 'LoadBalancer') {
    errors.push(forbidden('spec.LoadBalancerSourceRanges', "may only be used when `type` is 'LoadBalancer'"));
  }
  ranges.forEach((range, position) => {
    const at = index('spec.loadBalancerSourceRanges', position);
    errors.push(...cidrProblems(range.trim()).map((problem) => invalid(at, range, problem)));
  });
  return errors;
}

function validatePolicies(spec: JsonObject, type: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const isExternal =
    type === 'NodePort' || type === 'LoadBalancer' || stringsAt(spec, 'externalIPs').length > 0;
  const external = stringAt(spec, 'externalTrafficPolicy');
  if (external !== '' && !isExternal) {
    errors.push(
      invalid('spec.externalTrafficPolicy', external, 'may only be set for externally-accessible services'),
    );
  } else if (external !== '' && external !== 'Cluster' && external !== 'Local') {
    errors.push(notSupported('spec.externalTrafficPolicy', external, ['Cluster', 'Local']));
  }
  const internal = stringAt(spec, 'internalTrafficPolicy');
  if (internal !== '' && internal !== 'Cluster' && internal !== 'Local') {
    errors.push(notSupported('spec.internalTrafficPolicy', internal, ['Cluster', 'Local']));
  }
  const distribution = stringAt(spec, 'trafficDistribution');
  const distributions = ['PreferClose', 'PreferSameNode', 'PreferSameZone'];
  if (distribution !== '' && !distributions.includes(distribution)) {
    errors.push(notSupported('spec.trafficDistribution', distribution, distributions));
  }
  if (spec['allocateLoadBalancerNodePorts'] !== undefined && type !== 'LoadBalancer') {
    errors.push(
      forbidden('spec.allocateLoadBalancerNodePorts', "may only be used when `type` is 'LoadBalancer'"),
    );
  }
  const loadBalancerClass = stringAt(spec, 'loadBalancerClass');
  if (loadBalancerClass !== '' && type !== 'LoadBalancer') {
    errors.push(forbidden('spec.loadBalancerClass', "may only be used when `type` is 'LoadBalancer'"));
  } else if (loadBalancerClass !== '') {
    errors.push(
      ...labelKeyProblems(loadBalancerClass).map((p) =>
        invalid('spec.loadBalancerClass', loadBalancerClass, p),
      ),
    );
  }
  const health = numberAt(spec, 'healthCheckNodePort') ?? 0;
  if (health !== 0 && !(type === 'LoadBalancer' && external === 'Local')) {
    errors.push(
      invalid(
        'spec.healthCheckNodePort',
        health,
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
      ),
    );
  }
  return errors;
}

/** Addresses, once given, stay; a change to or from ExternalName gives or takes them. */
export function validateServiceUpdate(service: JsonObject, old: JsonObject): readonly FieldError[] {
  const spec = objectAt(service, 'spec') ?? {};
  const oldSpec = objectAt(old, 'spec') ?? {};
  const type = stringAt(spec, 'type');
  const oldType = stringAt(oldSpec, 'type');
  const errors: FieldError[] = [...validateAddressUpdate(spec, oldSpec)];
  if (type === 'LoadBalancer' && oldType === 'LoadBalancer') {
    const before = stringAt(oldSpec, 'loadBalancerClass');
    const now = stringAt(spec, 'loadBalancerClass');
    if (before !== now) errors.push(invalid('spec.loadBalancerClass', now, 'may not change once set'));
  }
  const health = numberAt(spec, 'healthCheckNodePort') ?? 0;
  const healthBefore = numberAt(oldSpec, 'healthCheckNodePort') ?? 0;
  const staysLocal = type === 'LoadBalancer' && stringAt(spec, 'externalTrafficPolicy') === 'Local';
  if (staysLocal && healthBefore !== 0 && health !== healthBefore) {
    errors.push(forbidden('spec.healthCheckNodePort', 'field is immutable'));
  }
  return errors;
}
