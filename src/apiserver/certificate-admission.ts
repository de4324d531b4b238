import { parseCertificateRequest } from '../api/certificate-request.ts';
import { signerNames } from '../api/certificate-signers.ts';
import { ensureObject, jsonEqual, objectsAt, stringAt } from '../api/fields.ts';
import type { JsonObject } from '../api/object.ts';
import { forbidden } from '../api/status.ts';
import { rfc3339 } from '../base/clock.ts';
import type { ApiContext, Target } from './context.ts';

/**
 * What the server says of CertificateSigningRequests: who asks, and the admission controllers CertificateApproval,
 * CertificateSigning and CertificateSubjectRestriction.
 */

/** Notes who asks, whatever the client says of that. Throws StatusError 403. */
export function admitCertificateRequest(target: Target, object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  const { name, uid, groups, extra } = target.request.user;
  spec['username'] = name;
  for (const [field, value] of Object.entries({
    uid: uid === '' ? undefined : uid,
    groups: groups.length === 0 ? undefined : [...groups],
    extra: Object.keys(extra).length === 0 ? undefined : structuredClone(extra),
  })) {
    if (value === undefined) delete spec[field];
    else spec[field] = value as string | string[] | JsonObject;
  }
  if (stringAt(spec, 'signerName') !== signerNames.apiServerClient) return;
  const request = parseCertificateRequest(stringAt(spec, 'request'));
  if (typeof request === 'string') return; // validation tells what is wrong with it
  if (!request.organizations.includes('system:masters')) return;
  throw forbidden(
    target.kind,
    stringAt(object, 'metadata', 'name'),
    `use of ${signerNames.apiServerClient} signer with system:masters group is not allowed`,
  );
}

/** Of the subresources: who may decide and sign, and when it was. Throws StatusError 403. */
export function admitCertificateChange(
  context: ApiContext,
  target: Target,
  object: JsonObject,
  old: JsonObject,
): void {
  if (target.subresource === 'approval') requireSigner(context, target, old, 'approve');
  if (target.subresource === 'status') {
    keepDecision(object, old);
    const isSigned =
      stringAt(object, 'status', 'certificate') !== stringAt(old, 'status', 'certificate') ||
      !jsonEqual([...objectsAt(object, 'status', 'conditions')], [...objectsAt(old, 'status', 'conditions')]);
    if (isSigned) requireSigner(context, target, old, 'sign');
  }
  if (target.subresource !== '') stampConditions(object, old, rfc3339(context.clock.nowMs()));
}

function requireSigner(
  { authorizer }: ApiContext,
  target: Target,
  old: JsonObject,
  verb: 'approve' | 'sign',
): void {
  const signer = stringAt(old, 'spec', 'signerName');
  const mayFor = (name: string): boolean =>
    authorizer.allows(target.request.user, {
      kind: 'resource',
      verb,
      group: target.kind.group,
      plural: 'signers',
      subresource: '',
      namespace: '',
      name,
    });
  if (mayFor(signer) || mayFor(`${signer.slice(0, signer.indexOf('/'))}/*`)) return;
  const detail = `user not permitted to ${verb} requests with signerName ${JSON.stringify(signer)}`;
  throw forbidden(target.kind, target.name, detail);
}

/** Approval and denial have a subresource of their own: a status says nothing of them. */
function keepDecision(object: JsonObject, old: JsonObject): void {
  const isDecision = (condition: JsonObject): boolean =>
    ['Approved', 'Denied'].includes(stringAt(condition, 'type'));
  const conditions = [
    ...objectsAt(old, 'status', 'conditions').filter(isDecision),
    ...objectsAt(object, 'status', 'conditions').filter((condition) => !isDecision(condition)),
  ];
  const status = { ...ensureObject(object, 'status') };
  if (conditions.length > 0) status['conditions'] = conditions;
  else delete status['conditions'];
  object['status'] = status;
}

/** A condition without times is one of now; its transition is that of the same type before. */
function stampConditions(object: JsonObject, old: JsonObject, now: string): void {
  const before = objectsAt(old, 'status', 'conditions');
  const conditions = objectsAt(object, 'status', 'conditions').map((condition): JsonObject => {
    const same = before.find((candidate) => stringAt(candidate, 'type') === stringAt(condition, 'type'));
    const changed = same === undefined || stringAt(same, 'status') !== stringAt(condition, 'status');
    return {
      ...condition,
      lastUpdateTime: stringAt(condition, 'lastUpdateTime') || now,
      lastTransitionTime:
        stringAt(condition, 'lastTransitionTime') ||
        (changed ? '' : stringAt(same, 'lastTransitionTime')) ||
        now,
    };
  });
  if (conditions.length > 0) object['status'] = { ...ensureObject(object, 'status'), conditions };
}
