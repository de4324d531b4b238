import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import type { Problem, ProblemReason } from '../controller/problem.ts';
import type { CertificateUse } from './route-certificate.ts';
import type { Certificate } from './table.ts';

/** Certificates read in one turn of the event loop: one takes a tenth of a millisecond, and there may be thousands. */
const readAtOnce = 16;
/** Longest time to the next look at dates, ms. */
const lookAgainMs = 86_400_000;

/** What a Secret's certificate says, or why it cannot be shown. */
export type CertificateFacts =
  | { readonly failure: string }
  | { readonly failure: undefined; readonly leaf: X509Certificate };

export function readCertificate({ certBase64, keyBase64 }: Certificate): CertificateFacts {
  const blocks = Buffer.from(certBase64, 'base64')
    .toString('latin1')
    .match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END [A-Z0-9 ]+-----/g);
  const chain: X509Certificate[] = [];
  for (const [index, block] of (blocks ?? []).entries()) {
    const certificate = read(() => new X509Certificate(block));
    if (typeof certificate === 'string') {
      return { failure: `certificate ${index + 1} under tls.crt cannot be read (${certificate})` };
    }
    chain.push(certificate);
  }
  const [leaf] = chain;
  if (leaf === undefined) return { failure: 'there is no certificate under tls.crt' };
  const key = read((): KeyObject => createPrivateKey(Buffer.from(keyBase64, 'base64')));
  if (typeof key === 'string') return { failure: `the key under tls.key cannot be read (${key})` };
  if (!leaf.checkPrivateKey(key)) {
    return { failure: 'the key under tls.key is not that of the first certificate under tls.crt' };
  }
  return { failure: undefined, leaf };
}

/** Or why not, in OpenSSL's words. */
function read<T extends object>(make: () => T): T | string {
  try {
    return make();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** What users of a certificate must be told about it now. */
export function certificateProblems(
  { ingress, field, hosts, certificate }: CertificateUse,
  facts: CertificateFacts,
  nowMs: number,
): readonly Problem[] {
  const problem = (reason: ProblemReason, text: string): Problem => ({
    ingress,
    reason,
    message: `${field}: Secret ${certificate.secret}: ${text}`,
  });
  if (facts.failure !== undefined) {
    return [problem('InvalidSecret', `${facts.failure}; another certificate is shown in its place`)];
  }
  const { leaf } = facts;
  const problems: Problem[] = [];
  if (leaf.validToDate.getTime() < nowMs) {
    problems.push(problem('CertificateExpired', `its certificate expired at ${day(leaf.validToDate)}`));
  } else if (leaf.validFromDate.getTime() > nowMs) {
    const from = day(leaf.validFromDate);
    problems.push(problem('CertificateNotYetValid', `its certificate is not valid before ${from}`));
  }
  const unnamed = hosts.filter((host) => host !== '' && !names(leaf, host));
  if (unnamed.length > 0) {
    const text = `its certificate does not name ${unnamed.join(', ')}`;
    problems.push(problem('CertificateHostMismatch', text));
  }
  return problems;
}

function day(date: Date): string {
  return date.toISOString();
}

/** A wildcard host needs a certificate that is good for any name under it. Clients do not look at the common name (RFC 9110 §4.3.4). */
function names(leaf: X509Certificate, host: string): boolean {
  return leaf.checkHost(host.replace(/^\*/, 'fairlead-any-name'), { subject: 'never' }) !== undefined;
}

/**
 * Reads the certificates that Ingresses use, soon after they have come and not at the first handshake, and each once.
 * Dates are looked at again when one is reached.
 */
export class CertificateChecks {
  readonly #clock: Clock;
  readonly #onChange: () => void;
  #uses: readonly CertificateUse[] = [];
  /** By Secret and version. */
  #facts = new Map<string, CertificateFacts>();
  #problems: readonly Problem[] = [];
  #cancel: (() => void) | undefined;

  /** @param onChange `problems` may be others now */
  constructor(clock: Clock, onChange: () => void) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  /** Those of the uses that were read to the end. */
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** The uses of the newest compile. */
  update(uses: readonly CertificateUse[]): void {
    if (uses === this.#uses) return;
    this.#uses = uses;
    const before = this.#facts;
    this.#facts = new Map();
    for (const { certificate } of uses) {
      const known = before.get(keyOf(certificate));
      if (known !== undefined) this.#facts.set(keyOf(certificate), known);
    }
    this.#after(0, () => this.#read(0));
  }

  stop(): void {
    this.#cancel?.();
  }

  #after(ms: number, callback: () => void): void {
    this.#cancel?.();
    this.#cancel = this.#clock.after(ms, callback);
  }

  #read(from: number): void {
    const uses = this.#uses;
    let at = from;
    for (let left = readAtOnce; at < uses.length && left > 0; at += 1) {
      const { certificate } = uses[at]!;
      const key = keyOf(certificate);
      if (this.#facts.has(key)) continue;
      this.#facts.set(key, readCertificate(certificate));
      left -= 1;
    }
    if (at < uses.length) this.#after(0, () => this.#read(at));
    else this.#tell();
  }

  #tell(): void {
    const nowMs = this.#clock.nowMs();
    let nextMs = nowMs + lookAgainMs;
    const problems: Problem[] = [];
    for (const use of this.#uses) {
      const facts = this.#facts.get(keyOf(use.certificate))!; // all have been read
      problems.push(...certificateProblems(use, facts, nowMs));
      if (facts.failure !== undefined) continue;
      for (const date of [facts.leaf.validFromDate, facts.leaf.validToDate]) {
        if (date.getTime() >= nowMs) nextMs = Math.min(nextMs, date.getTime() + 1);
      }
    }
    this.#problems = problems;
    this.#after(nextMs - nowMs, () => this.#tell());
    this.#onChange();
  }
}

function keyOf({ secret, version }: Certificate): string {
  return `${secret} ${version}`;
}
