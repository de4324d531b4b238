import { child, index, invalid, notSupported, required } from '../field-errors.ts';
import { objectAt, objectsAt, stringAt, stringsAt, listAt } from '../fields.ts';
import type { Ingress } from '../gen/networking-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import {
  dns1035LabelProblems,
  dnsSubdomainProblems,
  isIPv4,
  isIPv6,
  portNameProblems,
  portNumberProblems,
  wildcardSubdomainProblems,
} from '../names.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn, orNone } from './columns.ts';
import { defineKind } from './define.ts';
import { validateLoadBalancerStatus } from './load-balancer-status.ts';

const pathTypes = ['Exact', 'ImplementationSpecific', 'Prefix'] as const;

function validateIngress(ingress: JsonObject): readonly FieldError[] {
  const spec = objectAt(ingress, 'spec') ?? {};
  const errors: FieldError[] = [];
  const rules = objectsAt(spec, 'rules');
  const defaultBackend = objectAt(spec, 'defaultBackend');
  if (rules.length === 0 && defaultBackend === undefined) {
    errors.push(invalid('spec', [], 'either `defaultBackend` or `rules` must be specified'));
  }
  if (defaultBackend !== undefined) errors.push(...validateBackend(defaultBackend, 'spec.defaultBackend'));
  rules.forEach((rule, position) => errors.push(...validateRule(rule, index('spec.rules', position))));
  objectsAt(spec, 'tls').forEach((tls, position) => {
    const at = index('spec.tls', position);
    stringsAt(tls, 'hosts').forEach((host, hostPosition) => {
      errors.push(
        ...hostProblems(host).map((p) => invalid(index(child(at, 'hosts'), hostPosition), host, p)),
      );
    });
    const secret = stringAt(tls, 'secretName');
    if (secret === '') return;
    errors.push(...dnsSubdomainProblems(secret).map((p) => invalid(child(at, 'secretName'), secret, p)));
  });
  const className = stringAt(spec, 'ingressClassName');
  if (spec['ingressClassName'] !== undefined) {
    errors.push(
      ...dnsSubdomainProblems(className).map((p) => invalid('spec.ingressClassName', className, p)),
    );
  }
  return errors;
}

function hostProblems(host: string): readonly string[] {
  return host.includes('*') ? wildcardSubdomainProblems(host) : dnsSubdomainProblems(host);
}

function validateRule(rule: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const host = stringAt(rule, 'host');
  if (host !== '') {
    if (isIPv4(host) || isIPv6(host)) {
      errors.push(invalid(child(path, 'host'), host, 'must be a DNS name, not an IP address'));
    } else {
      errors.push(...hostProblems(host).map((problem) => invalid(child(path, 'host'), host, problem)));
    }
  }
  const http = objectAt(rule, 'http');
  if (http === undefined) return errors;
  const paths = objectsAt(http, 'paths');
  if (paths.length === 0) errors.push(required(child(path, 'http.paths')));
  paths.forEach((entry, position) => {
    errors.push(...validatePath(entry, index(child(path, 'http.paths'), position)));
  });
  return errors;
}

/** Parts that would make one path mean another. */
const pathPartsForbidden = ['//', '/./', '/../', '%2f', '%2F'] as const;
const pathEndsForbidden = ['/..', '/.'] as const;

function validatePath(entry: JsonObject, at: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const type = stringAt(entry, 'pathType');
  const text = stringAt(entry, 'path');
  if (type === '') errors.push(required(child(at, 'pathType'), 'pathType must be specified'));
  else if (type === 'Exact' || type === 'Prefix') {
    if (!text.startsWith('/')) errors.push(invalid(child(at, 'path'), text, 'must be an absolute path'));
    else {
      for (const part of pathPartsForbidden) {
        if (text.includes(part)) errors.push(invalid(child(at, 'path'), text, `must not contain '${part}'`));
      }
      for (const end of pathEndsForbidden) {
        if (text.endsWith(end)) errors.push(invalid(child(at, 'path'), text, `cannot end with '${end}'`));
      }
    }
  } else if (type === 'ImplementationSpecific') {
    if (text !== '' && !text.startsWith('/')) {
      errors.push(invalid(child(at, 'path'), text, 'must be an absolute path'));
    }
  } else {
    errors.push(notSupported(child(at, 'pathType'), type, pathTypes));
  }
  errors.push(...validateBackend(objectAt(entry, 'backend') ?? {}, child(at, 'backend')));
  return errors;
}

function validateBackend(backend: JsonObject, path: string): readonly FieldError[] {
  const service = objectAt(backend, 'service');
  const resource = objectAt(backend, 'resource');
  if (service !== undefined && resource !== undefined) {
    return [invalid(path, '', 'cannot set both resource and service backends')];
  }
  if (resource !== undefined) {
    return ['kind', 'name']
      .filter((field) => stringAt(resource, field) === '')
      .map((field) => required(child(path, `resource.${field}`)));
  }
  if (service === undefined) {
    return [required(child(path, 'service.name')), required(path, 'port name or number is required')];
  }
  const errors: FieldError[] = [];
  const at = child(path, 'service');
  const name = stringAt(service, 'name');
  if (name === '') errors.push(required(child(at, 'name')));
  else errors.push(...dns1035LabelProblems(name).map((p) => invalid(child(at, 'name'), name, p)));
  const port = objectAt(service, 'port') ?? {};
  const portName = stringAt(port, 'name');
  const { number = 0 } = port;
  if (portName !== '' && number !== 0) {
    errors.push(invalid(path, '', 'cannot set both port name & port number'));
  } else if (portName !== '') {
    errors.push(...portNameProblems(portName).map((p) => invalid(child(at, 'port.name'), portName, p)));
  } else if (number !== 0) {
    errors.push(...portNumberProblems(number).map((p) => invalid(child(at, 'port.number'), number, p)));
  } else {
    errors.push(required(path, 'port name or number is required'));
  }
  return errors;
}

/** The annotation that chose a controller before there were IngressClasses. */
const classAnnotation = 'kubernetes.io/ingress.class';

function validateIngressOnCreate(ingress: JsonObject): readonly FieldError[] {
  const annotation = stringAt(ingress, 'metadata', 'annotations', classAnnotation);
  const className = stringAt(ingress, 'spec', 'ingressClassName');
  if (annotation === '' || className === '' || annotation === className) return [];
  return [
    invalid(
      `annotations.${classAnnotation}`,
      annotation,
      'must match `ingressClassName` when both are specified',
    ),
  ];
}

function read(object: JsonObject): Ingress {
  return object as unknown as Ingress;
}

const hostsShownMax = 3;

function hostsText(object: JsonObject): string {
  const hosts = (read(object).spec?.rules ?? []).map((rule) => rule.host ?? '').filter((host) => host !== '');
  if (hosts.length === 0) return '*';
  const shown = hosts.slice(0, hostsShownMax).join(',');
  return hosts.length <= hostsShownMax ? shown : `${shown} + ${hosts.length - hostsShownMax} more...`;
}

export const ingressKind: Kind = defineKind({
  group: 'networking.k8s.io',
  version: 'v1',
  kind: 'Ingress',
  plural: 'ingresses',
  namespaced: true,
  schema: 'networking/v1.Ingress',
  shortNames: ['ing'],
  subresources: ['status'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Class', 'The IngressClass that serves it.', (object) =>
      orNone(read(object).spec?.ingressClassName ?? ''),
    ),
    column('Hosts', 'Hosts that the rules name.', hostsText),
    column('Address', 'Where the controller serves it.', (object) =>
      (read(object).status?.loadBalancer?.ingress ?? [])
        .map((point) => point.ip || point.hostname || '')
        .filter((text) => text !== '')
        .join(','),
    ),
    column('Ports', 'Ports of the controller that serve it.', (object) =>
      listAt(object, 'spec', 'tls').length > 0 ? '80, 443' : '80',
    ),
    ageColumn,
  ],
  prepareForCreate(ingress: JsonObject): void {
    ingress['status'] = { loadBalancer: {} };
  },
  validate: (ingress, old) => [
    ...validateIngress(ingress),
    ...(old === undefined ? validateIngressOnCreate(ingress) : []),
  ],
  validateStatus: (ingress, old) => validateLoadBalancerStatus(ingress, old, 'Ingress'),
});
