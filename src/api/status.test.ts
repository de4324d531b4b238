import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as field from './field-errors.ts';
import * as status from './status.ts';

const pods = { group: '', plural: 'pods' };
const deployments = { group: 'apps', plural: 'deployments' };

const cases: readonly {
  readonly error: status.StatusError;
  readonly code: number;
  readonly reason: string;
  readonly message: string;
}[] = [
  {
    error: status.notFound(deployments, 'web'),
    code: 404,
    reason: 'NotFound',
    message: 'deployments.apps "web" not found',
  },
  {
    error: status.alreadyExists(pods, 'web'),
    code: 409,
    reason: 'AlreadyExists',
    message: 'pods "web" already exists',
  },
  {
    error: status.conflict(pods, 'web'),
    code: 409,
    reason: 'Conflict',
    message:
      'Operation cannot be fulfilled on pods "web": the object has been modified; please apply your changes to the latest version and try again',
  },
  {
    error: status.forbidden(
      pods,
      '',
      'User "eve" cannot list resource "pods" in API group "" in the namespace "default"',
    ),
    code: 403,
    reason: 'Forbidden',
    message:
      'pods is forbidden: User "eve" cannot list resource "pods" in API group "" in the namespace "default"',
  },
  {
    error: status.invalid({ group: '', kind: 'Service' }, 'x', [
      field.invalid('spec.ports[0].port', 70_000, 'must be between 1 and 65535, inclusive'),
    ]),
    code: 422,
    reason: 'Invalid',
    message:
      'Service "x" is invalid: spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive',
  },
  {
    error: status.invalid({ group: 'apps', kind: 'Deployment' }, 'x', [
      field.required('spec.selector'),
      field.notSupported('spec.strategy.type', 'X', ['RollingUpdate', 'Recreate']),
      field.required('spec.selector'),
    ]),
    code: 422,
    reason: 'Invalid',
    message:
      'Deployment.apps "x" is invalid: [spec.selector: Required value, spec.strategy.type: Unsupported value: "X": supported values: "Recreate", "RollingUpdate"]',
  },
  { error: status.unauthorized(), code: 401, reason: 'Unauthorized', message: 'Unauthorized' },
  { error: status.expired('too old'), code: 410, reason: 'Expired', message: 'too old' },
  {
    error: status.tooLarge('limit is 3'),
    code: 413,
    reason: 'RequestEntityTooLarge',
    message: 'Request entity too large: limit is 3',
  },
  {
    error: status.internalError('disk'),
    code: 500,
    reason: 'InternalError',
    message: 'Internal error occurred: disk',
  },
  {
    error: status.methodNotAllowed(pods, 'patch'),
    code: 405,
    reason: 'MethodNotAllowed',
    message: 'patch is not supported on resources of kind "pods"',
  },
];

for (const { error, code, reason, message } of cases) {
  test(`status: ${message}`, () => {
    assert.equal(error.status.code, code);
    assert.equal(error.status.reason, reason);
    assert.equal(error.status.message, message);
    assert.equal(error.message, message);
  });
}

test('status: an invalid object names its causes', () => {
  const error = status.invalid({ group: 'apps', kind: 'Deployment' }, 'x', [
    field.duplicate('a[1]', 'b'),
    field.forbidden('c', 'no'),
  ]);
  assert.deepEqual(error.status.details, {
    name: 'x',
    group: 'apps',
    kind: 'Deployment',
    causes: [
      { reason: 'FieldValueDuplicate', message: 'Duplicate value: "b"', field: 'a[1]' },
      { reason: 'FieldValueForbidden', message: 'Forbidden: no', field: 'c' },
    ],
  });
});
