import { readElements } from '../../base/der.ts';
import { parseCertificateRequest } from '../certificate-request.ts';
import { keyUsages, signerNames } from '../certificate-signers.ts';
import { humanDuration } from '../duration.ts';
import {
  child,
  duplicate,
  forbidden,
  index,
  invalid,
  notSupported,
  required,
  tooLong,
} from '../field-errors.ts';
import { ensureObject, jsonEqual, numberAt, objectAt, objectsAt, stringAt, stringsAt } from '../fields.ts';
import type { FieldError, Kind, Part } from '../kind.ts';
import { dnsSubdomainProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn, noneText } from './columns.ts';
import { defineKind } from './define.ts';

/** A CertificateSigningRequest asks a signer for a certificate; somebody approves it before. */

/** A certificate that ends sooner is not asked for, seconds. */
const expirationSecondsMin = 600;
/** Domain and path of a signer, of the lengths that a resource name may have. */
const signerNameBytesMax = 253 + 1 + 63 * 5;

/** Conditions that somebody's decision makes, and that stay once they are made. */
const decisions: readonly string[] = ['Approved', 'Denied', 'Failed'];

function conditionOf(object: JsonObject, type: string): JsonObject | undefined {
  return objectsAt(object, 'status', 'conditions').find((condition) => stringAt(condition, 'type') === type);
}

function validateSpec(spec: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const request = parseCertificateRequest(stringAt(spec, 'request'));
  if (typeof request === 'string') errors.push(invalid('spec.request', stringAt(spec, 'request'), request));
  const usages = stringsAt(spec, 'usages');
  if (usages.length === 0) errors.push(required('spec.usages', 'usages must be provided'));
  const seen = new Set<string>();
  usages.forEach((usage, at) => {
    const path = index('spec.usages', at);
    if (!keyUsages.some((known) => known === usage)) errors.push(notSupported(path, usage, keyUsages));
    if (seen.has(usage)) errors.push(duplicate(path, usage));
    seen.add(usage);
  });
  errors.push(...validateSignerName(stringAt(spec, 'signerName')));
  const seconds = numberAt(spec, 'expirationSeconds');
  if (seconds !== undefined && seconds < expirationSecondsMin) {
    const detail = `may not specify a duration less than ${expirationSecondsMin} seconds (10 minutes)`;
    errors.push(invalid('spec.expirationSeconds', seconds, detail));
  }
  return errors;
}

function validateSignerName(name: string): readonly FieldError[] {
  const path = 'spec.signerName';
  if (name === '') return [required(path)];
  if (name === signerNames.legacyUnknown) {
    return [invalid(path, name, 'the legacy signerName is not allowed via this API version')];
  }
  if (name.length > signerNameBytesMax) return [tooLong(path, signerNameBytesMax)];
  const slash = name.indexOf('/');
  const [domain, signer] = [name.slice(0, slash), name.slice(slash + 1)];
  if (slash === -1 || signer.includes('/') || !domain.includes('.')) {
    const detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    return [invalid(path, name, detail)];
  }
  return [...dnsSubdomainProblems(domain), ...dnsSubdomainProblems(signer)].map((problem) =>
    invalid(path, name, problem),
  );
}

function validateStatus(status: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const conditions = objectsAt(status, 'conditions');
  const types = new Set<string>();
  conditions.forEach((condition, at) => {
    const path = index('status.conditions', at);
    const type = stringAt(condition, 'type');
    const value = stringAt(condition, 'status');
    if (type === '') errors.push(required(child(path, 'type')));
    const values = decisions.includes(type) ? ['True'] : ['True', 'False', 'Unknown'];
    if (value === '') errors.push(required(child(path, 'status')));
    else if (!values.includes(value)) errors.push(notSupported(child(path, 'status'), value, values));
    if (types.has(type)) errors.push(duplicate(child(path, 'type'), type));
    types.add(type);
  });
  if (types.has('Approved') && types.has('Denied')) {
    const detail = 'Approved and Denied conditions are mutually exclusive';
    errors.push(invalid('status.conditions', 'Denied', detail));
  }
  const certificate = stringAt(status, 'certificate');
  const problem = certificate === '' ? undefined : certificateProblem(certificate);
  if (problem !== undefined) errors.push(invalid('status.certificate', '<certificate data>', problem));
  return errors;
}

const pemBlock = /-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/g;

function certificateProblem(base64: string): string | undefined {
  const blocks = [...Buffer.from(base64, 'base64').toString('latin1').matchAll(pemBlock)];
  if (blocks.length === 0) return 'must contain at least one CERTIFICATE PEM block';
  for (const [, type, body = ''] of blocks) {
    if (type !== 'CERTIFICATE')
      return `only CERTIFICATE PEM blocks are allowed, found ${JSON.stringify(type)}`;
    if (body.includes(':')) return 'no PEM block headers are permitted';
    try {
      const certificates = readElements(Buffer.from(body, 'base64'));
      if (certificates.length === 0) return 'found CERTIFICATE PEM block containing 0 certificates';
      if (certificates.some(({ tag }) => tag !== 0x30)) return 'x509: malformed certificate';
    } catch {
      return 'x509: malformed certificate';
    }
  }
  return undefined;
}

/** The rules of a status and of its change: a decision and a certificate stay. `may`: the decisions that this path makes. */
function validateChange(
  object: JsonObject,
  old: JsonObject,
  may: { readonly decide: readonly string[]; readonly issue: boolean },
): readonly FieldError[] {
  const errors: FieldError[] = [...validateStatus(objectAt(object, 'status') ?? {})];
  for (const type of decisions) {
    const [now, before] = [conditionOf(object, type), conditionOf(old, type)];
    const what = (verb: string): FieldError =>
      forbidden('status.conditions', `updates may not ${verb} a condition of type ${JSON.stringify(type)}`);
    if (before !== undefined && now === undefined) errors.push(what('remove'));
    if (before === undefined && now !== undefined && !may.decide.includes(type)) errors.push(what('add'));
    if (before !== undefined && now !== undefined && !jsonEqual(now, before) && !may.decide.includes(type)) {
      errors.push(what('modify'));
    }
  }
  const [certificate, issued] = [
    stringAt(object, 'status', 'certificate'),
    stringAt(old, 'status', 'certificate'),
  ];
  if (certificate !== issued) {
    const field = 'status.certificate';
    if (!may.issue) errors.push(forbidden(field, 'updates may not set certificate content'));
    else if (issued !== '')
      errors.push(forbidden(field, 'updates may not modify existing certificate content'));
  }
  return errors;
}

/** certificatesigningrequests/approval: conditions, Approved and Denied among them, and nothing else. */
const approvalPart: Part = {
  of: 'status',
  take(wanted, old) {
    const status: JsonObject = { ...objectAt(old, 'status') };
    const conditions = objectsAt(wanted, 'status', 'conditions');
    if (conditions.length > 0) status['conditions'] = [...conditions];
    else delete status['conditions'];
    return { ...old, status };
  },
  validate: (object, old) => validateChange(object, old, { decide: ['Approved', 'Denied'], issue: false }),
};

/** As kubectl shows it: Denied, Approved or Pending, then what came of it. */
export function certificateRequestState(object: JsonObject): string {
  const decided = ['Denied', 'Approved'].find((type) => conditionOf(object, type) !== undefined) ?? 'Pending';
  const failed = conditionOf(object, 'Failed') === undefined ? '' : ',Failed';
  return `${decided}${failed}${stringAt(object, 'status', 'certificate') === '' ? '' : ',Issued'}`;
}

function requestedDuration(object: JsonObject): string {
  const seconds = numberAt(object, 'spec', 'expirationSeconds');
  return seconds === undefined ? noneText : humanDuration(seconds * 1000);
}

export const certificateSigningRequestKind: Kind = defineKind({
  group: 'certificates.k8s.io',
  version: 'v1',
  kind: 'CertificateSigningRequest',
  plural: 'certificatesigningrequests',
  namespaced: false,
  schema: 'certificates/v1.CertificateSigningRequest',
  shortNames: ['csr'],
  subresources: ['approval', 'status'],
  parts: { approval: approvalPart },
  nameRule: 'pathSegment',
  columns: [
    nameColumn,
    ageColumn,
    column('SignerName', 'Who is to sign.', (object) => stringAt(object, 'spec', 'signerName')),
    column('Requestor', 'Who asked.', (object) => stringAt(object, 'spec', 'username')),
    column('RequestedDuration', 'For how long the certificate is to be valid.', requestedDuration),
    column('Condition', 'What has become of it.', certificateRequestState),
  ],
  selectableFields: (object) => ({ 'spec.signerName': stringAt(object, 'spec', 'signerName') }),
  prepareForUpdate(object, old) {
    object['spec'] = structuredClone(ensureObject(old, 'spec')); // what was approved is what is signed
  },
  validate: (object) => validateSpec(objectAt(object, 'spec') ?? {}),
  validateStatus: (object, old) => validateChange(object, old, { decide: ['Failed'], issue: true }),
});
