import type { ForwardAuthPolicy, TemplateField } from '../policy.ts';
import type { AnnotationReader } from './reader.ts';
import { fieldsAllowed, fieldsOf } from './fields.ts';
import { integerIn, listOf, tokenOf } from './values.ts';
import { type Template, templateOf, templateVariables } from '../request-variables.ts';
import { type QuestionTarget, questionTargetAllowed, questionTargetOf } from './url-target.ts';

/** A target that is undefined was bad: nobody gets in. */
export type ForwardAuthRule = Omit<ForwardAuthPolicy, 'backend' | 'authority' | 'path'> & {
  readonly target: QuestionTarget | undefined;
};

export function readForwardAuth(reader: AnnotationReader): ForwardAuthRule | undefined {
  const target = reader.read('auth-url', questionTargetAllowed, questionTargetOf);
  const method = reader.read('auth-method', 'GET, HEAD or POST', (value) =>
    ['GET', 'HEAD', 'POST'].find((allowed) => allowed === value.toUpperCase()),
  );
  const fields = reader.read('auth-response-headers', 'header names separated by commas', (value) =>
    listOf(value, fieldOf),
  );
  const signin = reader.read('auth-signin', signinAllowed, signinOf);
  const parameter = reader.read('auth-signin-redirect-param', 'the name of a query parameter', tokenOf);
  const redirect = reader.read(
    'auth-request-redirect',
    `text of one line, in which ${templateVariables} stand for those of the request`,
    (value) => (/^[\x21-\x7e]{1,1024}$/.test(value) ? templateOf(value) : undefined),
  );
  const requestFields = reader.read(
    'auth-request-headers',
    `${fieldsAllowed}; with ${templateVariables}`,
    templatesOf,
  );
  const seconds = reader.read('auth-cache-duration', 'seconds, 1 to 86400', integerIn(1, 86_400));
  const keys = reader.read('auth-cache-headers', 'header names separated by commas', (value) =>
    listOf(value, tokenOf),
  );
  if (!reader.has('auth-url')) return undefined;
  return {
    target,
    method: method ?? 'GET',
    answerFields: (fields ?? []).map((name) => name.toLowerCase()),
    signin,
    signinParameter: parameter ?? 'rd',
    requestRedirect: redirect,
    requestFields: requestFields ?? [],
    cacheMs: (seconds ?? 0) * 1000,
    cacheFields: (keys ?? ['authorization', 'cookie']).map((name) => name.toLowerCase()),
  };
}

/** Fields that say who sits where are ours alone. */
const untouchable =
  /^(host|connection|content-length|transfer-encoding|upgrade|te|trailer|x-forwarded-(for|host|port|proto)|x-real-ip)$/i;

function fieldOf(value: string): string | undefined {
  return tokenOf(value) === undefined || untouchable.test(value) ? undefined : value;
}

const signinAllowed = `an http(s) URL or a path; ${templateVariables} stand for those of the request`;

function signinOf(value: string): Template | undefined {
  const begins = /^(https?:\/\/|\$(scheme|pass_access_scheme):\/\/|\/(?!\/))[\x21-\x7e]*$/.test(value);
  return begins && value.length <= 2048 ? templateOf(value) : undefined;
}

/** Fields whose values are templates. */
export function templatesOf(text: string): readonly TemplateField[] | undefined {
  const fields = fieldsOf(text)?.map(({ name, value }) => ({ name, value: templateOf(value) }));
  return fields?.every((field): field is TemplateField => field.value !== undefined) === true
    ? fields
    : undefined;
}
