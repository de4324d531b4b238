import { certificateRequestBytes } from '../../api/certificate-request.ts';
import type { CertificateSigningRequest } from '../../api/gen/certificates-v1.ts';
import { certificateSigningRequests, subjectAccessReviews } from '../../api/resource.ts';
import { type Authority, type KeyPair, loadAuthority } from '../../base/certificates.ts';
import { rfc3339 } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import { isApiError } from '../../client/client.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';
import { type Approval, planCertificateRequest } from './plan.ts';

/** The authority that certificates are signed with, and for how long they are valid at most. */
export type SigningConfig = { readonly authority: KeyPair; readonly durationMsMax: number };

/**
 * Approves the requests of nodes for their client certificates, signs what was approved for the signers of
 * kubernetes.io, and removes requests that have served their time. Without an authority nothing is signed.
 */
export function certificatesController(context: ControllerContext, signing: SigningConfig | undefined): Task {
  const { informers, timing } = context;
  const requests = informers.of(certificateSigningRequests);
  const queue = new WorkQueue(timing.clock);
  requests.onChange((key) => queue.add(key));
  let loading: Promise<Authority> | undefined;
  const authority = (pair: KeyPair): Promise<Authority> => {
    loading ??= loadAuthority(pair);
    return loading;
  };

  async function reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const csr = requests.get(key);
    if (csr === undefined) return done;
    const plan = planCertificateRequest(csr, timing.clock.nowMs(), signing?.durationMsMax);
    switch (plan.kind) {
      case 'remove':
        await remove(context, csr, signal);
        return done;
      case 'fail':
        await fail(context, csr, plan.message, signal);
        return done;
      case 'sign':
        if (signing !== undefined) await sign(context, csr, await authority(signing.authority), plan, signal);
        return done;
      case 'review':
        return (await review(context, csr, plan.subresources, signal))
          ? done
          : requeueAfter(plan.recheckAfterMs);
      case 'wait':
        return requeueAfter(plan.recheckAfterMs);
    }
  }

  return reconcilerTask(context, 'certificates', queue, reconcile, 1);
}

async function sign(
  context: ControllerContext,
  csr: CertificateSigningRequest,
  authority: Authority,
  { notBefore, notAfter }: { readonly notBefore: Date; readonly notAfter: Date },
  signal: AbortSignal,
): Promise<void> {
  const der = certificateRequestBytes(csr.spec.request);
  let certificate: string;
  try {
    certificate = await authority.sign({ der, usages: csr.spec.usages ?? [], notBefore, notAfter });
  } catch (error) {
    // A key or a name that the library does not know: trying again would not help.
    await fail(context, csr, error instanceof Error ? error.message : String(error), signal);
    return;
  }
  const status = { certificate: Buffer.from(certificate).toString('base64') };
  await writeStatus(context, csr, status, 'status', signal);
}

/** Asks whether the requestor may have the certificate without anybody's approval, and approves it. False: he may not. */
async function review(
  context: ControllerContext,
  csr: CertificateSigningRequest,
  subresources: readonly Approval[],
  signal: AbortSignal,
): Promise<boolean> {
  const { username: user, uid, groups, extra } = csr.spec;
  const { group, plural } = certificateSigningRequests;
  for (const { subresource, message } of subresources) {
    const resourceAttributes = { group, resource: plural, verb: 'create', version: '*', subresource };
    const spec = { user, uid, groups, extra, resourceAttributes };
    const asked = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec };
    const answer = await context.client.create(subjectAccessReviews, asked, { signal });
    if (answer.status?.allowed !== true) continue;
    await addCondition(context, csr, { type: 'Approved', reason: 'AutoApproved', message }, signal);
    return true;
  }
  return false;
}

async function fail(
  context: ControllerContext,
  csr: CertificateSigningRequest,
  message: string,
  signal: AbortSignal,
): Promise<void> {
  await addCondition(context, csr, { type: 'Failed', reason: 'SignerValidationFailure', message }, signal);
}

async function addCondition(
  context: ControllerContext,
  csr: CertificateSigningRequest,
  condition: { readonly type: 'Approved' | 'Failed'; readonly reason: string; readonly message: string },
  signal: AbortSignal,
): Promise<void> {
  const lastUpdateTime = rfc3339(context.timing.clock.nowMs());
  const conditions = [...(csr.status?.conditions ?? []), { ...condition, status: 'True', lastUpdateTime }];
  const subresource = condition.type === 'Approved' ? 'approval' : 'status';
  await writeStatus(context, csr, { conditions }, subresource, signal);
}

async function writeStatus(
  { client }: ControllerContext,
  csr: CertificateSigningRequest,
  status: object,
  subresource: 'status' | 'approval',
  signal: AbortSignal,
): Promise<void> {
  const { name = '', resourceVersion } = csr.metadata ?? {};
  const body = { metadata: { resourceVersion }, status };
  await client.patch(certificateSigningRequests, undefined, name, 'merge', body, { subresource, signal });
}

async function remove(
  { client }: ControllerContext,
  csr: CertificateSigningRequest,
  signal: AbortSignal,
): Promise<void> {
  const { name = '', uid } = csr.metadata ?? {};
  try {
    await client.delete(certificateSigningRequests, undefined, name, { uid, signal });
  } catch (error) {
    if (!isApiError(error, 'NotFound')) throw error;
  }
}
