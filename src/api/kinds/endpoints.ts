import { child, index, invalid, required } from '../field-errors.ts';
import { objectsAt, setDefault, stringAt } from '../fields.ts';
import type { Endpoints } from '../gen/core-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dnsLabelProblems, ipProblems, portNumberProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { abbreviated, ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

function endpointsText(object: JsonObject): string {
  const all = ((object as unknown as Endpoints).subsets ?? []).flatMap((subset) => {
    const addresses = (subset.addresses ?? []).map(({ ip }) => (ip.includes(':') ? `[${ip}]` : ip));
    const ports = subset.ports ?? [];
    if (ports.length === 0) return addresses;
    return ports.flatMap(({ port }) => addresses.map((address) => `${address}:${port}`));
  });
  return abbreviated(all, 3);
}

function validateEndpoints(endpoints: JsonObject): readonly FieldError[] {
  return objectsAt(endpoints, 'subsets').flatMap((subset, position) => {
    const at = index('subsets', position);
    const errors: FieldError[] = [];
    if (objectsAt(subset, 'addresses').length + objectsAt(subset, 'notReadyAddresses').length === 0) {
      errors.push(required(at, 'must specify `addresses` or `notReadyAddresses`'));
    }
    for (const list of ['addresses', 'notReadyAddresses']) {
      objectsAt(subset, list).forEach((address, addressPosition) => {
        const field = child(index(child(at, list), addressPosition), 'ip');
        const ip = stringAt(address, 'ip');
        errors.push(...ipProblems(ip).map((problem) => invalid(field, ip, problem)));
      });
    }
    const ports = objectsAt(subset, 'ports');
    ports.forEach((port, portPosition) => {
      const field = index(child(at, 'ports'), portPosition);
      const name = stringAt(port, 'name');
      if (name === '' && ports.length > 1) errors.push(required(child(field, 'name')));
      if (name !== '')
        errors.push(...dnsLabelProblems(name).map((p) => invalid(child(field, 'name'), name, p)));
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
  columns: [nameColumn, column('Endpoints', 'Ready addresses with their ports.', endpointsText), ageColumn],
  setDefaults(endpoints: JsonObject): void {
    for (const subset of objectsAt(endpoints, 'subsets')) {
      for (const port of objectsAt(subset, 'ports')) setDefault(port, 'protocol', 'TCP');
    }
  },
  validate: validateEndpoints,
});
