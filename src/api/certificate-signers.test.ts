import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CertificateRequest } from './certificate-request.ts';
import { signerNames, signerProblem } from './certificate-signers.ts';

const nothing: CertificateRequest = {
  commonName: '',
  organizations: [],
  dnsNames: [],
  addresses: [],
  emailAddresses: [],
  uris: [],
};
const node = { ...nothing, commonName: 'system:node:a', organizations: ['system:nodes'] };
const serving = { ...node, dnsNames: ['a'] };
const clientUsages = ['digital signature', 'key encipherment', 'client auth'];
const serverUsages = ['digital signature', 'key encipherment', 'server auth'];

for (const [signer, request, usages, want] of [
  ['apiServerClient', { ...nothing, commonName: 'jane' }, ['client auth'], undefined],
  ['apiServerClient', nothing, ['digital signature'], /missing required usage .*: client auth/],
  ['apiServerClient', nothing, ['client auth', 'server auth'], /invalid usage .*: server auth/],
  ['kubeletClient', node, clientUsages, undefined],
  ['kubeletClient', node, ['digital signature', 'client auth'], undefined],
  ['kubeletClient', node, ['client auth'], /usages did not match/],
  ['kubeletClient', { ...node, organizations: ['system:nodes', 'x'] }, clientUsages, /organization/],
  ['kubeletClient', { ...node, commonName: 'a' }, clientUsages, /common name/],
  ['kubeletClient', serving, clientUsages, /DNS subjectAltNames are not allowed/],
  ['kubeletClient', { ...node, addresses: ['7f000001'] }, clientUsages, /IP subjectAltNames/],
  ['kubeletServing', serving, serverUsages, undefined],
  ['kubeletServing', node, serverUsages, /DNS or IP subjectAltName is required/],
  ['kubeletServing', serving, clientUsages, /usages did not match/],
  ['kubeletServing', { ...serving, emailAddresses: ['a@b'] }, serverUsages, /Email/],
  ['kubeletServing', { ...serving, uris: ['a:b'] }, serverUsages, /URI/],
  ['legacyUnknown', node, clientUsages, /none of this cluster/],
] as const) {
  test(`signer ${signer}: ${want === undefined ? 'signs' : String(want)}`, () => {
    const problem = signerProblem(signerNames[signer], request, usages);
    if (want === undefined) assert.equal(problem, undefined);
    else assert.match(problem ?? '', want);
  });
}
