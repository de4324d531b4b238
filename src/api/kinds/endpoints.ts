import { child, index, invalid, required } from '../field-errors.ts';
import { jsonEqual, objectsAt, setDefault, stringAt } from '../fields.ts';
import type { Endpoints } from '../gen/core-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dnsLabelProblems, dnsSubdomainProblems, portNumberProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { abbreviated, ageColumn, column, nameColumn } from './columns.ts';
import { oneOf } from './field-rules.ts';
import { defineKind } from './define.ts';
import { endpointAddressProblems } from './endpoint-address.ts';

function endpointsText(object: JsonObject): string {
  const all = ((object as unknown as Endpoints).subsets ?? []).flatMap((subset) => {
    const addresses = (subset.addresses ?? []).map(({ ip }) => (ip.includes(':') ? `[${ip}]` : ip));
    const ports = subset.ports ?? [];
    if (ports.length === 0) return addresses;
    return ports.flatMap(({ port }) => addresses.map((address) => `${address}:${port}`));
  });
  return abbreviated(all, 3);
}

/** Subsets that an update leaves alone are not asked again: they may be older than a rule. */
function validateEndpoints(endpoints: JsonObject, old?: JsonObject): readonly FieldError[] {
  if (old !== undefined && jsonEqual(endpoints['subsets'], old['subsets'])) return [];
  return objectsAt(endpoints, 'subsets').flatMap((subset, position) => {
    const at = index('subsets', position);
    const errors: FieldError[] = [];
    if (objectsAt(subset, 'addresses').length + objectsAt(subset, 'notReadyAddresses').length === 0) {
      errors.push(required(at, 'must specify `addresses` or `notReadyAddresses`'));
    }
    for (const list of ['addresses', 'notReadyAddresses']) {
      objectsAt(subset, list).forEach((address, addressPosition) => {
        const addressAt = index(child(at, list), addressPosition);
        const field = child(addressAt, 'ip');
        const ip = stringAt(address, 'ip');
        errors.push(...endpointAddressProblems(ip).map((problem) => invalid(field, ip, problem)));
        const hostname = stringAt(address, 'hostname');
        if (hostname !== '') {
          const problems = dnsLabelProblems(hostname);
          errors.push(...problems.map((p) => invalid(child(addressAt, 'hostname'), hostname, p)));
        }
        const node = stringAt(address, 'nodeName');
        if (node !== '')
          errors.push(
            ...dnsSubdomainProblems(node).map((p) => invalid(child(addressAt, 'nodeName'), node, p)),
          );
      });
    }
    const ports = objectsAt(subset, 'ports');
    ports.forEach((port, portPosition) => {
      const field = index(child(at, 'ports'), portPosition);
      const name = stringAt(port, 'name');
      if (name === '' && ports.length > 1) errors.push(required(child(field, 'name')));
      if (name !== '')
        errors.push(...dnsLabelProblems(name).map((p) => invalid(child(field, 'name'), name, p)));
      errors.push(...oneOf(port, field, 'protocol', ['TCP', 'UDP', 'SCTP']));
      const number = port['port'] ?? 0;
      errors.push(...portNumberProblems(number).map((p) => invalid(child(field, 'port'), number, p)));
    });
    return errors;
  });
}

export const endpointsKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Endpoints',
  plural: 'endpoints',
  namespaced: true,
  schema: 'core/v1.Endpoints',
  shortNames: ['ep'],
  deprecated: 'v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice',
  columns: [nameColumn, column('Endpoints', 'Ready addresses with their ports.', endpointsText), ageColumn],
  setDefaults(endpoints: JsonObject): void {
    for (const subset of objectsAt(endpoints, 'subsets')) {
      for (const port of objectsAt(subset, 'ports')) setDefault(port, 'protocol', 'TCP');
    }
  },
  validate: validateEndpoints,
});
