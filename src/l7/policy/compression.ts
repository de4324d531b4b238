import type { ResponseHead } from '../http1/http1-parse.ts';
import { FIELD_CONTENT_LENGTH, FIELD_OTHER, type FieldLines } from '../http1/http1-fields.ts';
import { addLines, withoutField } from '../http1/head-edit.ts';

export type Coding = 'gzip' | 'br' | 'zstd';

export type CompressionPolicy = {
  /** Allowed codings, the preferred one first. */
  readonly codings: readonly Coding[];
  /** An answer that tells a shorter length goes as it is, bytes. */
  readonly bytesMin: number;
  /** Media types in lower case; `text/*` stands for all of a kind. */
  readonly types: readonly string[];
};

export const compressionDefaults: Omit<CompressionPolicy, 'codings'> = {
  bytesMin: 1_024,
  types: [
    'text/*',
    'application/json',
    'application/javascript',
    'application/xml',
    'application/xhtml+xml',
    'application/rss+xml',
    'application/manifest+json',
    'application/wasm',
    'application/yaml',
    'application/x-ndjson',
    'image/svg+xml',
  ],
};

/** What of an answer's head decides whether its body can be coded. */
type AnswerFacts = {
  contentType: string;
  contentLength: number; // -1: not told
  blocked: boolean;
};

/** Fields that speak of the bytes as they are: with one of them the body must stay. */
const speaksOfBytes = new Set(['content-range', 'content-md5', 'content-digest', 'digest', 'repr-digest']);

/** Whether the answer is one that is coded for clients that accept it. `lines` must be those of `head`. */
export function isCompressible(policy: CompressionPolicy, head: ResponseHead, lines: FieldLines): boolean {
  const { status } = head;
  if (status < 200 || status === 204 || status === 206 || status === 304 || head.body === 'none')
    return false;
  const facts = factsOf(head, lines);
  if (facts.blocked || (facts.contentLength !== -1 && facts.contentLength < policy.bytesMin)) return false;
  return policy.types.some((type) =>
    type.endsWith('/*') ? facts.contentType.startsWith(type.slice(0, -1)) : facts.contentType === type,
  );
}

function factsOf(head: ResponseHead, lines: FieldLines): AnswerFacts {
  const facts: AnswerFacts = { contentType: '', contentLength: -1, blocked: false };
  for (let i = 0; i < lines.count; i += 1) {
    const field = lines.fields[i]!;
    if (field === FIELD_CONTENT_LENGTH) facts.contentLength = head.contentLength;
    if (field !== FIELD_OTHER) continue;
    const name = head.text.slice(lines.lineStarts[i], lines.nameEnds[i]).toLowerCase();
    const value = head.text.slice(lines.valueStarts[i], lines.valueEnds[i]);
    if (name === 'content-type') facts.contentType = (value.split(';', 1)[0] ?? '').trim().toLowerCase();
    else if (name === 'content-encoding') facts.blocked ||= value.trim().toLowerCase() !== 'identity';
    else if (name === 'cache-control') facts.blocked ||= /(^|[,\s])no-transform($|[,\s])/i.test(value);
    else if (speaksOfBytes.has(name)) facts.blocked = true;
  }
  return facts;
}

/**
 * The coding for a client, by its Accept-Encoding (RFC 9110 §12.5.3): the one that it weighs highest, and among equals the one that we
 * prefer. undefined: none, the body goes as it is.
 */
export function chooseCoding(codings: readonly Coding[], accepted: string): Coding | undefined {
  const weights = new Map<string, number>();
  for (const item of accepted.toLowerCase().split(',')) {
    const [name = '', ...parameters] = item.split(';').map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith('q='));
    const number = weight === undefined ? 1 : Number(weight.slice(2));
    if (name !== '') weights.set(name === 'x-gzip' ? 'gzip' : name, number >= 0 && number <= 1 ? number : 0);
  }
  const weightOf = (name: string): number => weights.get(name) ?? weights.get('*') ?? 0;
  // What is not named is as good as everything else, but loses to a coding that is asked for (RFC 9110 §12.5.3).
  const plain = weights.get('identity') ?? 0;
  let best: Coding | undefined;
  for (const coding of codings) {
    const weight = weightOf(coding);
    if (weight > 0 && weight >= plain && (best === undefined || weight > weightOf(best))) best = coding;
  }
  return best;
}

/**
 * The head of an answer that could be coded, for whichever client: caches must tell them apart, and what is coded is the same only
 * in meaning, so a strong ETag becomes a weak one (RFC 9110 §8.8.1). `coding` undefined: this client gets it plain.
 */
export function renderCodedHead(text: string, coding: Coding | undefined, chunked: boolean): string {
  const varies = addVary(text);
  if (coding === undefined) return varies;
  let out = withoutField(
    withoutField(withoutField(varies, 'content-length'), 'transfer-encoding'),
    'accept-ranges',
  );
  out = out.replace(/\r\netag:[ \t]*"/i, (line) => `${line.slice(0, -1)}W/"`);
  return addLines(out, `Content-Encoding: ${coding}\r\n${chunked ? 'Transfer-Encoding: chunked\r\n' : ''}`);
}

function addVary(text: string): string {
  const told = [...text.matchAll(/\r\nvary:([^\r]*)/gi)].map(([, value = '']) => value.toLowerCase());
  const names = told.flatMap((value) => value.split(',').map((name) => name.trim()));
  return names.includes('*') || names.includes('accept-encoding')
    ? text
    : addLines(text, 'Vary: Accept-Encoding\r\n');
}
