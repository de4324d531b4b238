import type { ConfigMap } from '../../api/gen/core-v1.ts';
import { contentLabel, type StaticResponse } from '../../api/fairlead-kinds.ts';
import { type ObjectKey, objectKey } from '../../api/object.ts';
import { fieldsOf } from './annotations/fields.ts';

/** An answer that needs no backend. */
export type StaticAnswer = {
  readonly status: number;
  /** Lines with CRLF. */
  readonly fields: string;
  readonly body: Buffer;
};

/** What a StaticResponse gives; `problem`: why it cannot be served. */
export type CompiledAnswer =
  | { readonly ok: true; readonly answer: StaticAnswer }
  | { readonly ok: false; readonly problem: string };

/** Bytes of a body. Larger ones are refused. */
export const staticBodyBytesMax = 1_048_576;

/** The ConfigMap that it takes its body from. */
export function configMapOf(response: StaticResponse | undefined): ObjectKey | undefined {
  const name = response?.spec?.bodyFrom?.configMapKeyRef?.name;
  return name === undefined ? undefined : objectKey(response?.metadata?.namespace, name);
}

/** The schema has been checked by the API server, unless that is one which does not check. */
export function staticAnswer(response: StaticResponse, configMap: ConfigMap | undefined): CompiledAnswer {
  const { status = 200, headers = [], body, bodyFrom } = response.spec ?? {};
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    return { ok: false, problem: `spec.status: ${status} is no status, 200 to 599` };
  }
  const given = headers.map(({ name, value }) => `${name}: ${value}`).join('\n');
  const fields = given === '' ? [] : fieldsOf(given);
  if (fields === undefined) {
    return { ok: false, problem: 'spec.headers: a field is none, or one that belongs to the connection' };
  }
  const content = bodyFrom === undefined ? Buffer.from(body ?? '') : contentOf(bodyFrom, configMap);
  if (typeof content === 'string') return { ok: false, problem: content };
  if (content.length > staticBodyBytesMax) {
    return { ok: false, problem: `the body is longer than ${staticBodyBytesMax} bytes` };
  }
  const typed = fields.some(({ name }) => name.toLowerCase() === 'content-type');
  const lines = fields.map(({ name, value }) => `${name}: ${value}\r\n`);
  if (!typed && content.length > 0) lines.push('Content-Type: text/plain; charset=utf-8\r\n');
  const bodiless = status === 204 || status === 304;
  return { ok: true, answer: { status, fields: lines.join(''), body: bodiless ? Buffer.alloc(0) : content } };
}

type BodyFrom = NonNullable<NonNullable<StaticResponse['spec']>['bodyFrom']>;

/** Text: why there is none. */
function contentOf({ configMapKeyRef }: BodyFrom, configMap: ConfigMap | undefined): Buffer | string {
  const { name = '', key = '' } = configMapKeyRef ?? {};
  if (configMap === undefined) {
    return `spec.bodyFrom: there is no ConfigMap ${name} with the label ${contentLabel}=true`;
  }
  const data = configMap.data?.[key];
  if (data !== undefined) return Buffer.from(data);
  const binary = configMap.binaryData?.[key];
  return binary === undefined
    ? `spec.bodyFrom: ConfigMap ${name} has no key ${key}`
    : Buffer.from(binary, 'base64');
}
