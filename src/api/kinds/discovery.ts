import { child, duplicate, index, invalid, notSupported, required, tooMany } from '../field-errors.ts';
import { listAt, objectAt, objectsAt, setDefault, stringAt, stringsAt } from '../fields.ts';
import type { EndpointSlice } from '../gen/discovery-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import {
  dnsLabelProblems,
  dnsSubdomainProblems,
  isIPv4,
  isIPv6,
  labelKeyProblems,
  labelValueProblems,
  portNumberProblems,
} from '../names.ts';
import type { JsonObject } from '../object.ts';
import { abbreviated, ageColumn, column, nameColumn } from './columns.ts';
import { oneOf } from './field-rules.ts';
import { defineKind } from './define.ts';
import { endpointAddressProblems } from './endpoint-address.ts';

/** Endpoints of one slice, addresses of one endpoint, ports of one slice. */
const endpointsMax = 1000;
const addressesMax = 100;
const portsMax = 20_000;
/** Zones, and nodes, that one endpoint is meant for. */
const hintsMax = 8;

const addressTypes = ['FQDN', 'IPv4', 'IPv6'] as const;

function addressProblems(type: string, address: string): readonly string[] {
  switch (type) {
    case 'IPv4':
      return isIPv4(address) ? endpointAddressProblems(address) : ['must be an IPv4 address'];
    case 'IPv6':
      return isIPv6(address) ? endpointAddressProblems(address) : ['must be an IPv6 address'];
    case 'FQDN':
      return dnsSubdomainProblems(address);
    default:
      return [];
  }
}

function validateSlice(slice: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const type = stringAt(slice, 'addressType');
  if (type === '') errors.push(required('addressType'));
  else if (!(addressTypes as readonly string[]).includes(type)) {
    errors.push(notSupported('addressType', type, addressTypes));
  }
  const endpoints = objectsAt(slice, 'endpoints');
  if (endpoints.length > endpointsMax) errors.push(tooMany('endpoints', endpoints.length, endpointsMax));
  endpoints.forEach((endpoint, position) => {
    const at = index('endpoints', position);
    const addresses = stringsAt(endpoint, 'addresses');
    if (addresses.length === 0)
      errors.push(required(child(at, 'addresses'), 'must contain at least 1 address'));
    if (addresses.length > addressesMax) {
      errors.push(tooMany(child(at, 'addresses'), addresses.length, addressesMax));
    }
    addresses.forEach((address, addressPosition) => {
      const field = index(child(at, 'addresses'), addressPosition);
      errors.push(...addressProblems(type, address).map((problem) => invalid(field, address, problem)));
    });
    const hostname = stringAt(endpoint, 'hostname');
    if (hostname !== '') {
      errors.push(...dnsLabelProblems(hostname).map((p) => invalid(child(at, 'hostname'), hostname, p)));
    }
    const node = endpoint['nodeName'];
    if (typeof node === 'string')
      errors.push(...dnsSubdomainProblems(node).map((p) => invalid(child(at, 'nodeName'), node, p)));
    errors.push(...validateHints(objectAt(endpoint, 'hints'), child(at, 'hints')));
  });
  errors.push(...validatePorts(objectsAt(slice, 'ports')));
  return errors;
}

function validateHints(hints: JsonObject | undefined, path: string): readonly FieldError[] {
  return ['forZones', 'forNodes'].flatMap((list) => {
    const at = child(path, list);
    const entries = objectsAt(hints, list);
    if (entries.length > hintsMax) return [tooMany(at, entries.length, hintsMax)];
    const names = new Set<string>();
    return entries.flatMap((entry, position) => {
      const field = child(index(at, position), 'name');
      const name = stringAt(entry, 'name');
      if (name === '') return [required(field)];
      if (names.has(name)) return [duplicate(field, name)];
      names.add(name);
      const problems = list === 'forZones' ? labelValueProblems(name) : dnsSubdomainProblems(name);
      return problems.map((problem) => invalid(field, name, problem));
    });
  });
}

function validatePorts(ports: readonly JsonObject[]): readonly FieldError[] {
  const errors: FieldError[] = [];
  if (ports.length > portsMax) errors.push(tooMany('ports', ports.length, portsMax));
  const names = new Set<string>();
  ports.forEach((port, position) => {
    const at = index('ports', position);
    const name = stringAt(port, 'name');
    if (name !== '') errors.push(...dnsLabelProblems(name).map((p) => invalid(child(at, 'name'), name, p)));
    if (names.has(name)) errors.push(duplicate(child(at, 'name'), name));
    names.add(name);
    errors.push(...oneOf(port, at, 'protocol', ['TCP', 'UDP', 'SCTP']));
    const { port: number, appProtocol } = port;
    if (typeof appProtocol === 'string') {
      const problems = labelKeyProblems(appProtocol);
      errors.push(...problems.map((problem) => invalid(child(at, 'appProtocol'), appProtocol, problem)));
    }
    if (number !== undefined) {
      errors.push(
        ...portNumberProblems(number).map((problem) => invalid(child(at, 'port'), number, problem)),
      );
    }
  });
  return errors;
}

function read(object: JsonObject): EndpointSlice {
  return object as unknown as EndpointSlice;
}

function portsText(object: JsonObject): string {
  const ports = (read(object).ports ?? []).map((port) =>
    port.port === undefined ? (port.name ?? '*') : String(port.port),
  );
  return ports.length === 0 ? '<unset>' : abbreviated(ports, 3);
}

function endpointsText(object: JsonObject): string {
  const addresses = (read(object).endpoints ?? []).flatMap((endpoint) => endpoint.addresses ?? []);
  return addresses.length === 0 ? '<unset>' : abbreviated(addresses, 3);
}

export const discoveryKinds: readonly Kind[] = [
  defineKind({
    group: 'discovery.k8s.io',
    version: 'v1',
    kind: 'EndpointSlice',
    plural: 'endpointslices',
    namespaced: true,
    schema: 'discovery/v1.EndpointSlice',
    countsGenerations: true,
    columns: [
      nameColumn,
      column('AddressType', 'IPv4, IPv6 or FQDN.', (object) => stringAt(object, 'addressType')),
      column('Ports', 'Ports of every endpoint.', portsText),
      column('Endpoints', 'Addresses.', endpointsText),
      ageColumn,
    ],
    setDefaults(slice: JsonObject): void {
      for (const port of objectsAt(slice, 'ports')) {
        setDefault(port, 'name', '');
        setDefault(port, 'protocol', 'TCP');
      }
      if (listAt(slice, 'endpoints').length === 0) setDefault(slice, 'endpoints', []);
    },
    validate: validateSlice,
    validateUpdate(slice: JsonObject, old: JsonObject): readonly FieldError[] {
      const type = stringAt(slice, 'addressType');
      return type === stringAt(old, 'addressType')
        ? []
        : [invalid('addressType', type, 'field is immutable')];
    },
  }),
];
