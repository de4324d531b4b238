import { compileRegex, type Regex } from '../../../base/regex/regex.ts';
import type { ClientCertificateRule } from '../client-certificate.ts';
import { type Template, templateOf, templateVariables } from '../request-variables.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn, namedObjectOf, secretAllowed } from './values.ts';

const modes = ['on', 'optional', 'optional-any'] as const;

/** undefined: clients are not asked for certificates. A bad value keeps people out rather than letting them in. */
export function readClientCertificate(reader: AnnotationReader): ClientCertificateRule | undefined {
  const secret = 'client-certificate-secret';
  const named = reader.read(secret, secretAllowed, namedObjectOf);
  const mode = reader.read('client-certificate-verify', `one of ${modes.join(', ')}`, (value) =>
    modes.find((known) => known === value),
  );
  const depth = reader.read('client-certificate-depth', 'authorities in between, 0 to 10', integerIn(0, 10));
  const match = 'client-certificate-subject';
  const subject = reader.read(match, 'a regular expression, such as CN=.*[.]example', subjectOf);
  const errorPage = reader.read(
    'client-certificate-error-page',
    `an http(s) URL or a path; ${templateVariables} stand for those of the request`,
    pageOf,
  );
  const passes = reader.flag('client-certificate-pass');
  if (!reader.has(secret)) return undefined;
  const unclear = subject === undefined && reader.has(match);
  return {
    secret: unclear ? undefined : named,
    mode: mode ?? 'on',
    depth: depth ?? 1,
    subject,
    errorPage,
    passes,
  };
}

/** Found anywhere in the subject, which is written as CN=…,O=…; `^` and `$` tie it to its ends. */
function subjectOf(value: string): Regex | undefined {
  const compiled = compileRegex(value, { ignoreCase: false, fromStart: false });
  return compiled.ok ? compiled.regex : undefined;
}

function pageOf(value: string): Template | undefined {
  const fits = value.length <= 2048 && /^(https?:\/\/|\$scheme:\/\/|\/(?!\/))[\x21-\x7e]*$/.test(value);
  return fits ? templateOf(value) : undefined;
}
