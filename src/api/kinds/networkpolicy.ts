import { cidrContains, parseCidr } from '../../base/ip.ts';
import { child, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import { ensureObject, listAt, objectAt, objectsAt, setDefault, stringAt, stringsAt } from '../fields.ts';
import type { LabelSelector } from '../gen/meta-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import { formatSelector, selectorOf } from '../labels.ts';
import { cidrProblems, portNumberProblems } from '../names.ts';
import { validateLabelSelector } from '../object-meta.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { oneOf, validatePortReference } from './field-rules.ts';

function validatePolicy(policy: JsonObject): readonly FieldError[] {
  const spec = objectAt(policy, 'spec') ?? {};
  const errors: FieldError[] = [...validateLabelSelector(objectAt(spec, 'podSelector'), 'spec.podSelector')];
  if (stringsAt(spec, 'policyTypes').length > 2) {
    const detail = 'may not specify more than two policyTypes';
    return [...errors, invalid('spec.policyTypes', stringsAt(spec, 'policyTypes'), detail)];
  }
  for (const [position, type] of stringsAt(spec, 'policyTypes').entries()) {
    if (type === 'Ingress' || type === 'Egress') continue;
    errors.push(notSupported(index('spec.policyTypes', position), type, ['Egress', 'Ingress']));
  }
  for (const [direction, peers] of [
    ['ingress', 'from'],
    ['egress', 'to'],
  ] as const) {
    objectsAt(spec, direction).forEach((rule, position) => {
      const at = index(`spec.${direction}`, position);
      objectsAt(rule, 'ports').forEach((port, portPosition) => {
        errors.push(...validatePort(port, index(child(at, 'ports'), portPosition)));
      });
      objectsAt(rule, peers).forEach((peer, peerPosition) => {
        errors.push(...validatePeer(peer, index(child(at, peers), peerPosition)));
      });
    });
  }
  return errors;
}

function validatePort(rule: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [...oneOf(rule, path, 'protocol', ['TCP', 'UDP', 'SCTP'])];
  const { port, endPort } = rule;
  if (port !== undefined) errors.push(...validatePortReference(port, child(path, 'port')));
  if (endPort === undefined) return errors;
  const at = child(path, 'endPort');
  if (port === undefined)
    errors.push(invalid(at, endPort, 'may not be specified when `port` is not specified'));
  else if (typeof port === 'string')
    errors.push(invalid(at, endPort, 'may not be specified when `port` is non-numeric'));
  else {
    if (Number(endPort) < Number(port))
      errors.push(invalid(at, endPort, 'must be greater than or equal to `port`'));
    errors.push(...portNumberProblems(endPort).map((problem) => invalid(at, endPort, problem)));
  }
  return errors;
}

function validatePeer(peer: JsonObject, path: string): readonly FieldError[] {
  const selectors = ['podSelector', 'namespaceSelector'].filter((field) => peer[field] !== undefined);
  const errors: FieldError[] = selectors.flatMap((field) =>
    validateLabelSelector(objectAt(peer, field), child(path, field)),
  );
  const block = objectAt(peer, 'ipBlock');
  if (block !== undefined) errors.push(...validateBlock(block, child(path, 'ipBlock')));
  if (block === undefined && selectors.length === 0) errors.push(required(path, 'must specify a peer'));
  if (block !== undefined && selectors.length > 0)
    errors.push(forbidden(path, 'may not specify both ipBlock and another peer'));
  return errors;
}

function validateBlock(block: JsonObject, path: string): readonly FieldError[] {
  const text = stringAt(block, 'cidr');
  if (text === '') return [required(child(path, 'cidr'))];
  const cidr = parseCidr(text);
  if (cidr === undefined)
    return cidrProblems(text).map((problem) => invalid(child(path, 'cidr'), text, problem));
  return stringsAt(block, 'except').flatMap((exceptText, position) => {
    const at = index(child(path, 'except'), position);
    const except = parseCidr(exceptText);
    if (except === undefined)
      return cidrProblems(exceptText).map((problem) => invalid(at, exceptText, problem));
    const inside = cidrContains(cidr, { family: except.family, value: except.first });
    if (inside && except.prefixBits > cidr.prefixBits) return [];
    return [invalid(at, exceptText, 'must be a strict subset of `cidr`')];
  });
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
