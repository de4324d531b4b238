import { createHash } from 'node:crypto';
import type { Secret } from '../../api/gen/core-v1.ts';
import type { ObjectKey } from '../../api/object.ts';
import type { Regex } from '../../base/regex/regex.ts';
import { editFields } from '../http1/head-edit.ts';
import type { ClientCertificate, ClientTls } from '../transport/transport.ts';
import type { NamedObject } from './annotations/values.ts';
import type { FieldEdit } from './policy.ts';
import type { Template } from './request-variables.ts';

/** `on`: nobody without a good certificate. `optional`: a bad one is refused. `optional-any`: the backend decides. */
export type ClientCertificateMode = 'on' | 'optional' | 'optional-any';

/** What annotations say of the certificates of a host's clients. */
export type ClientCertificateRule = {
  /** undefined: the name was bad, so nobody is believed. */
  readonly secret: NamedObject | undefined;
  readonly mode: ClientCertificateMode;
  /** Authorities that may stand between a client's certificate and one of the Secret. */
  readonly depth: number;
  /** What the subject must match; undefined: any does. */
  readonly subject: Regex | undefined;
  /** Where clients are sent that are refused; undefined: they get 400. */
  readonly errorPage: Template | undefined;
  /** The backend gets the certificate, too. */
  readonly passes: boolean;
};

/** The same for all routes of a host. */
export type ClientCertificatePolicy = Omit<ClientCertificateRule, 'secret'> & {
  readonly ingress: ObjectKey;
  readonly tls: ClientTls;
};

/** `secret` undefined, or without `ca.crt`: nobody is believed. */
export function clientCertificatePolicy(
  ingress: ObjectKey,
  rule: ClientCertificateRule,
  secret: Secret | undefined,
): { readonly policy: ClientCertificatePolicy; readonly problem: string | undefined } {
  const pem = (entry: string): string | undefined => {
    const text = Buffer.from(secret?.data?.[entry] ?? '', 'base64').toString('latin1');
    return text.includes('-----BEGIN') ? text : undefined;
  };
  const ca = pem('ca.crt');
  const content = { ca: ca ?? '', crl: pem('ca.crl'), depth: rule.depth };
  const id = createHash('sha256').update(JSON.stringify(content)).digest('base64url').slice(0, 22);
  const { secret: _, ...rest } = rule;
  return {
    policy: { ...rest, ingress, tls: { ...content, id } },
    problem:
      secret === undefined || ca !== undefined
        ? undefined
        : 'needs the PEM text of an authority under ca.crt; until then no client is believed',
  };
}

export type Refusal = { readonly status: number; readonly reason: string; readonly toErrorPage: boolean };

/**
 * Why a request may not pass; undefined: it may.
 * @param shown what the client has shown on the request's connection; undefined: that one is not of TLS, or was not asked by
 * this policy
 */
export function refusalOf(
  { tls, mode, subject }: ClientCertificatePolicy,
  scheme: 'http' | 'https',
  shown: ClientCertificate | undefined,
): Refusal | undefined {
  // A connection that was made for another name, or before the authorities changed, says nothing about this one.
  if (scheme === 'https' && shown?.policyId !== tls.id) {
    return { status: 421, reason: 'this host needs a TLS connection of its own', toErrorPage: false };
  }
  const verify = shown?.verify ?? 'NONE';
  if (mode === 'on' && verify === 'NONE') {
    return { status: 400, reason: 'a client certificate is needed', toErrorPage: true };
  }
  if (mode !== 'optional-any' && verify.startsWith('FAILED')) {
    return { status: 400, reason: 'the client certificate is not accepted', toErrorPage: true };
  }
  if (subject?.test(shown?.subject ?? '') === false) {
    return { status: 403, reason: 'the client certificate is for somebody else', toErrorPage: false };
  }
  return undefined;
}

/** The head with what the backend is told of the certificate, under the names of ingress-nginx; what clients say of that kind does not pass. */
export function tellCertificate(
  head: string,
  { passes }: Pick<ClientCertificatePolicy, 'passes'>,
  shown: ClientCertificate | undefined,
): string {
  const fields: readonly FieldEdit[] = [
    { name: 'ssl-client-verify', value: shown?.verify ?? 'NONE' },
    { name: 'ssl-client-subject-dn', value: shown?.subject ?? '' },
    { name: 'ssl-client-issuer-dn', value: shown?.issuer ?? '' },
    { name: 'ssl-client-cert', value: passes ? (shown?.escapedPem ?? '') : '' },
  ];
  return editFields(head, fields);
}
