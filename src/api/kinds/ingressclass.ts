import { child, forbidden, invalid, notSupported, required, tooLong } from '../field-errors.ts';
import { objectAt, setDefault, stringAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dnsSubdomainProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

const controllerBytesMax = 250;

function validateIngressClass(ingressClass: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const controller = stringAt(ingressClass, 'spec', 'controller');
  if (controller.length > controllerBytesMax) errors.push(tooLong('spec.controller', controllerBytesMax));
  const [domain = '', ...rest] = controller.split('/');
  if (controller === '') errors.push(required('spec.controller'));
  else if (rest.length === 0 || rest[0] === '') {
    errors.push(
      invalid('spec.controller', controller, 'must be a domain-prefixed path (such as "acme.io/foo")'),
    );
  } else errors.push(...dnsSubdomainProblems(domain).map((p) => invalid('spec.controller', controller, p)));
  const parameters = objectAt(ingressClass, 'spec', 'parameters');
  if (parameters === undefined) return errors;
  const path = 'spec.parameters';
  for (const field of ['kind', 'name']) {
    if (stringAt(parameters, field) === '') errors.push(required(child(path, field)));
  }
  const scope = stringAt(parameters, 'scope');
  const namespace = stringAt(parameters, 'namespace');
  if (scope === 'Namespace' && namespace === '') {
    errors.push(required(child(path, 'namespace'), "`parameters.scope` is set to 'Namespace'"));
  } else if (scope === 'Cluster' && namespace !== '') {
    errors.push(forbidden(child(path, 'namespace'), "`parameters.scope` is set to 'Cluster'"));
  } else if (scope !== 'Cluster' && scope !== 'Namespace') {
    errors.push(notSupported(child(path, 'scope'), scope, ['Cluster', 'Namespace']));
  }
  return errors;
}

export const ingressClassKind: Kind = defineKind({
  group: 'networking.k8s.io',
  version: 'v1',
  kind: 'IngressClass',
  plural: 'ingressclasses',
  namespaced: false,
  schema: 'networking/v1.IngressClass',
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Controller', 'The controller that serves Ingresses of the class.', (object) =>
      stringAt(object, 'spec', 'controller'),
    ),
    column('Parameters', "The controller's own settings.", (object) => {
      const parameters = objectAt(object, 'spec', 'parameters');
      if (parameters === undefined) return '<none>';
      const group = stringAt(parameters, 'apiGroup');
      const kind = stringAt(parameters, 'kind');
      return `${group === '' ? kind : `${kind}.${group}`}/${stringAt(parameters, 'name')}`;
    }),
    ageColumn,
  ],
  setDefaults(ingressClass: JsonObject): void {
    const parameters = objectAt(ingressClass, 'spec', 'parameters');
    if (parameters !== undefined) setDefault(parameters, 'scope', 'Cluster');
  },
  validate: validateIngressClass,
  validateUpdate(ingressClass: JsonObject, old: JsonObject): readonly FieldError[] {
    const now = stringAt(ingressClass, 'spec', 'controller');
    if (now === stringAt(old, 'spec', 'controller')) return [];
    return [invalid('spec.controller', now, 'field is immutable')];
  },
});
