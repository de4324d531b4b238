import { allowFromNamespaces } from '../../api/fairlead-kinds.ts';
import type { Translator } from './translation.ts';

/** Who gets in, and how often. */
export function translateAccess(to: Translator): void {
  const allowed =
    to.get('allowlist-source-range') === undefined ? 'whitelist-source-range' : 'allowlist-source-range';
  to.tell('whitelist-source-range', 'idle', 'allowlist-source-range goes before it');
  to.rename(allowed, 'allow-source-range');
  to.rename('denylist-source-range', 'deny-source-range');
  to.rename('satisfy');
  translatePassword(to);
  translateRates(to);
  translateClientCertificates(to);
}

const clientCertificateNames: readonly (readonly [theirs: string, ours: string])[] = [
  ['auth-tls-verify-depth', 'client-certificate-depth'],
  ['auth-tls-error-page', 'client-certificate-error-page'],
  ['auth-tls-pass-certificate-to-upstream', 'client-certificate-pass'],
  ['auth-tls-match-cn', 'client-certificate-subject'],
];
const certificateModes: Readonly<Record<string, string>> = {
  on: 'on',
  optional: 'optional',
  optional_no_ca: 'optional-any',
};

function translateClientCertificates(to: Translator): void {
  const secret = to.get('auth-tls-secret');
  const mode = to.get('auth-tls-verify-client') ?? 'on';
  if (secret === undefined || mode === 'off') {
    const why = secret === undefined ? 'there is no auth-tls-secret' : 'auth-tls-verify-client is off';
    for (const [name] of clientCertificateNames) to.tell(name, 'idle', why);
    to.tell('auth-tls-secret', 'idle', why);
    to.tell(
      'auth-tls-verify-client',
      secret === undefined ? 'idle' : 'same',
      secret === undefined ? why : '',
    );
    return;
  }
  const ours = certificateModes[mode];
  if (ours === undefined) return to.close('auth-tls-verify-client', `${mode} is not known`);
  const { named, consent } = secretOf(secret, to.facts.namespace, 'nobody is let in');
  to.set('client-certificate-secret', named, 'auth-tls-secret');
  const plain = 'over plain HTTP, where no certificate can be shown, nobody is let in';
  to.tell('auth-tls-secret', 'differs', consent === undefined ? plain : `${consent}; ${plain}`);
  to.set('client-certificate-verify', ours, 'auth-tls-verify-client');
  to.tell('auth-tls-verify-client', 'same');
  for (const [theirs, own] of clientCertificateNames) to.rename(theirs, own);
}

function translatePassword(to: Translator): void {
  const type = to.get('auth-type');
  const secret = to.get('auth-secret') ?? '';
  if (type === undefined) {
    for (const unused of ['auth-secret', 'auth-realm', 'auth-secret-type']) {
      to.tell(unused, 'idle', 'there is no auth-type');
    }
    return;
  }
  if (type !== 'basic') return to.close('auth-type', `${type} is not known, only basic`);
  to.tell('auth-type', 'same');
  if (to.is('auth-secret-type', 'auth-map')) {
    to.close(
      'auth-secret-type',
      'users as keys of a Secret are not known; put htpasswd lines under its key auth',
    );
  } else to.tell('auth-secret-type', 'same');
  const { named, consent } = secretOf(secret, to.facts.namespace, 'nobody is let in');
  to.set('basic-auth-secret', named, 'auth-secret');
  const hashes = 'hashes of crypt(3) and bcrypt are not known; allowed are $apr1$, {SHA256} and {SHA}';
  to.tell('auth-secret', 'differs', consent === undefined ? hashes : `${consent}; ${hashes}`);
  to.rename('auth-realm', 'basic-auth-realm');
}

/** How our annotations name the Secret, and what its owner has to do first if it is another namespace's; `until` then something holds. */
export function secretOf(
  given: string,
  own: string,
  until: string,
): { readonly named: string; readonly consent: string | undefined } {
  const [namespace, name] = splitName(given, own);
  if (namespace === own) return { named: name, consent: undefined };
  const command = `kubectl annotate -n ${namespace} secret ${name} ${allowFromNamespaces}=${own}`;
  const consent = `the Secret's own annotation must allow it (${command}), until then ${until}`;
  return { named: `${namespace}/${name}`, consent };
}

/** "namespace/name", or a name in the Ingress's own namespace. */
export function splitName(text: string, namespace: string): readonly [namespace: string, name: string] {
  const slash = text.indexOf('/');
  return slash === -1 ? [namespace, text] : [text.slice(0, slash), text.slice(slash + 1)];
}

/** What limit-burst-multiplier is without one. */
const burstMultiplierDefault = 5;

function translateRates(to: Translator): void {
  const multiplier = Number(to.get('limit-burst-multiplier') ?? burstMultiplierDefault);
  const [name, unit] = to.get('limit-rps') === undefined ? ['limit-rpm', '/m'] : ['limit-rps', ''];
  const rate = Number(to.get(name) ?? 0);
  const refusal = 'beyond it the answer is 429, not 503';
  if (rate > 0) {
    to.set('rate-limit', `${rate}${unit}`, name);
    to.set('rate-limit-burst', String(Math.max(1, Math.round(rate * multiplier))), name);
  }
  to.tell('limit-rpm', 'none', 'beside limit-rps it is not counted');
  to.tell(name, rate > 0 ? 'differs' : 'idle', rate > 0 ? refusal : '');
  to.tell('limit-burst-multiplier', rate > 0 ? 'same' : 'idle');
  if (Number(to.get('limit-connections') ?? 0) > 0) {
    to.rename('limit-connections', 'connection-limit');
    to.tell('limit-connections', 'differs', `requests under way are counted; ${refusal}`);
  } else to.tell('limit-connections', 'idle');
  to.rename('limit-whitelist', 'rate-limit-exempt-range');
}
