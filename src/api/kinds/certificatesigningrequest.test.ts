import assert from 'node:assert/strict';
import { test } from 'node:test';
import { certificateRequest } from '../../../test/support/certificate-request.ts';
import type { FieldError } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { certificateSigningRequestKind as kind } from './certificatesigningrequest.ts';

const { base64: request } = certificateRequest({ commonName: 'jane' });
const certificate = Buffer.from('-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n').toString(
  'base64',
);

function requestOf(spec: JsonObject, status: JsonObject = {}): JsonObject {
  const whole = {
    request,
    signerName: 'kubernetes.io/kube-apiserver-client',
    usages: ['client auth'],
    ...spec,
  };
  return { metadata: { name: 'jane' }, spec: whole, status };
}

function condition(type: string, status = 'True', message = ''): JsonObject {
  return { type, status, message };
}

function told(errors: readonly FieldError[] | undefined): readonly string[] {
  return (errors ?? []).map(({ field, message }) => `${field}: ${message}`);
}

type Case = {
  readonly name: string;
  readonly spec?: JsonObject;
  readonly status?: JsonObject;
  readonly want: readonly RegExp[];
};

const cases: readonly Case[] = [
  { name: 'a good one', want: [] },
  { name: 'any domain may have signers', spec: { signerName: 'example.com/a.b' }, want: [] },
  { name: 'no request', spec: { request: '' }, want: [/^spec.request: Invalid value: "": PEM block type/] },
  { name: 'no usages', spec: { usages: [] }, want: [/^spec.usages: Required value/] },
  {
    name: 'usages twice and unknown',
    spec: { usages: ['any', 'any', 'fun'] },
    want: [/^spec.usages\[1\]: Duplicate/, /^spec.usages\[2\]: Unsupported value: "fun"/],
  },
  { name: 'no signer', spec: { signerName: '' }, want: [/^spec.signerName: Required value/] },
  {
    name: 'a signer without a domain',
    spec: { signerName: 'ca/x' },
    want: [/fully qualified domain and path of the form/],
  },
  {
    name: 'the legacy signer',
    spec: { signerName: 'kubernetes.io/legacy-unknown' },
    want: [/legacy signerName is not allowed/],
  },
  { name: 'a short time', spec: { expirationSeconds: 599 }, want: [/less than 600 seconds/] },
  {
    name: 'approved and denied',
    status: { conditions: [condition('Approved'), condition('Denied')] },
    want: [/mutually exclusive/],
  },
  {
    name: 'approved, but not true',
    status: { conditions: [condition('Approved', 'False'), condition('Approved')] },
    want: [/conditions\[0\].status: Unsupported value: "False"/, /conditions\[1\].type: Duplicate/],
  },
  { name: 'a certificate', status: { certificate }, want: [] },
  {
    name: 'a certificate that is none',
    status: { certificate: request },
    want: [/only CERTIFICATE PEM blocks are allowed/],
  },
];

for (const { name, spec = {}, status = {}, want } of cases) {
  test(`certificate signing request: ${name}`, () => {
    const object = requestOf(spec, status);
    const errors = [
      ...told(kind.validate?.(object)),
      ...told(kind.parts?.approval?.validate(object, structuredClone(object))),
    ];
    assert.equal(errors.length, want.length, errors.join('; '));
    for (const [at, pattern] of want.entries()) assert.match(errors[at] ?? '', pattern);
  });
}

test('certificate signing request: a decision is made by approval alone, and stays', () => {
  const open = requestOf({});
  const approved = requestOf({}, { conditions: [condition('Approved')] });
  const part = kind.parts?.approval;
  assert.deepEqual(told(part?.validate(approved, open)), []);
  assert.match(
    told(kind.validateStatus?.(approved, open)).join(),
    /may not add a condition of type "Approved"/,
  );
  assert.match(told(part?.validate(open, approved)).join(), /may not remove a condition of type "Approved"/);
  const failed = requestOf({}, { conditions: [condition('Failed')] });
  assert.match(told(part?.validate(failed, open)).join(), /may not add a condition of type "Failed"/);
  assert.deepEqual(told(kind.validateStatus?.(failed, open)), []);
});

test('certificate signing request: a certificate is set once, by status alone', () => {
  const open = requestOf({});
  const issued = requestOf({}, { certificate });
  const other = requestOf({}, { certificate: `${certificate}AAAA` });
  assert.deepEqual(told(kind.validateStatus?.(issued, open)), []);
  assert.match(
    told(kind.validateStatus?.(other, issued)).join(),
    /may not modify existing certificate content/,
  );
  assert.match(told(kind.parts?.approval?.validate(issued, open)).join(), /may not set certificate content/);
});

test('certificate signing request: approval takes the conditions and nothing else', () => {
  const wanted = requestOf({ usages: ['any'] }, { certificate, conditions: [condition('Approved')] });
  assert.deepEqual(kind.parts?.approval?.take(wanted, requestOf({})), {
    ...requestOf({}),
    status: { conditions: [condition('Approved')] },
  });
});

test('certificate signing request: what was asked for is not changed afterwards', () => {
  const changed = requestOf({ usages: ['any'] });
  kind.prepareForUpdate?.(changed, requestOf({}));
  assert.deepEqual(changed['spec'], requestOf({})['spec']);
});

test('certificate signing request: columns', () => {
  const cells = (object: JsonObject): readonly unknown[] =>
    kind.columns.slice(2).map((column) => column.cell(object, 0));
  const status = { certificate, conditions: [condition('Approved')] };
  assert.deepEqual(cells(requestOf({ username: 'ada', expirationSeconds: 3600 }, status)), [
    'kubernetes.io/kube-apiserver-client',
    'ada',
    '60m',
    'Approved,Issued',
  ]);
  assert.deepEqual(
    [
      {},
      { conditions: [condition('Denied')] },
      { conditions: [condition('Approved'), condition('Failed')] },
    ].map((state) => cells(requestOf({}, state)).at(-1)),
    ['Pending', 'Denied', 'Approved,Failed'],
  );
});
