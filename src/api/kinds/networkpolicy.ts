import { child, index, notSupported } from '../field-errors.ts';
import { ensureObject, listAt, objectAt, objectsAt, setDefault, stringAt, stringsAt } from '../fields.ts';
import type { LabelSelector } from '../gen/meta-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import { formatSelector, selectorOf } from '../labels.ts';
import { validateLabelSelector } from '../object-meta.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { oneOf } from './container-validation.ts';

function validatePolicy(policy: JsonObject): readonly FieldError[] {
  const spec = objectAt(policy, 'spec') ?? {};
  const errors: FieldError[] = [...validateLabelSelector(objectAt(spec, 'podSelector'), 'spec.podSelector')];
  for (const [position, type] of stringsAt(spec, 'policyTypes').entries()) {
    if (type === 'Ingress' || type === 'Egress') continue;
    errors.push(notSupported(index('spec.policyTypes', position), type, ['Egress', 'Ingress']));
  }
  for (const direction of ['ingress', 'egress']) {
    objectsAt(spec, direction).forEach((rule, position) => {
      objectsAt(rule, 'ports').forEach((port, at) => {
        const path = index(child(index(`spec.${direction}`, position), 'ports'), at);
        errors.push(...oneOf(port, path, 'protocol', ['TCP', 'UDP', 'SCTP']));
      });
    });
  }
  return errors;
}

export const networkPolicyKind: Kind = defineKind({
  group: 'networking.k8s.io',
  version: 'v1',
  kind: 'NetworkPolicy',
  plural: 'networkpolicies',
  namespaced: true,
  schema: 'networking/v1.NetworkPolicy',
  shortNames: ['netpol'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Pod-Selector', 'Pods that it is about.', (object) => {
      const selector = objectAt(object, 'spec', 'podSelector');
      return formatSelector(selectorOf(selector as LabelSelector | undefined) ?? []) || '<none>';
    }),
    ageColumn,
  ],
  setDefaults(policy: JsonObject): void {
    const spec = ensureObject(policy, 'spec');
    ensureObject(spec, 'podSelector');
    if (listAt(spec, 'policyTypes').length === 0) {
      spec['policyTypes'] = objectsAt(spec, 'egress').length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
    }
    for (const direction of ['ingress', 'egress']) {
      for (const rule of objectsAt(spec, direction)) {
        for (const port of objectsAt(rule, 'ports')) setDefault(port, 'protocol', 'TCP');
      }
    }
  },
  validate: validatePolicy,
  warnings: (policy) => [
    `NetworkPolicy ${stringAt(policy, 'metadata', 'name')} is stored but NOT enforced by this cluster's network: all traffic stays allowed unless a network plugin that you install acts on it`,
  ],
});
