import type { Answer } from './answer.ts';
import type { ForwardAnswer } from './question.ts';
import { addressRecordBytes } from './passing.ts';
import type { Response } from './render.ts';
import { type Edns, flags, type Query, type ResourceRecord, rcodes, rrTypes, wireLimits } from './wire.ts';

/** What the last search found, under the name of the first. */
export function searchedResponse(missing: Response, told: ForwardAnswer | undefined, name: string): Response {
  if (told?.rcode !== rcodes.NOERROR) return missing;
  if (told.answers.length === 0) return { ...missing, rcode: rcodes.NOERROR };
  const answers = renamed(told.answers, name, missing.questionName);
  return { ...missing, rcode: rcodes.NOERROR, answers, authorities: [] };
}

/** The records of one name under another. */
export function renamed(
  records: readonly ResourceRecord[],
  from: string,
  to: string,
): readonly ResourceRecord[] {
  return records.map((record) => (record.name.toLowerCase() === from ? { ...record, name: to } : record));
}

/** The size of each record where all are addresses of the asked name, which can be shuffled as bytes; else 0. */
export function shuffledBytes(query: Query, answers: readonly ResourceRecord[]): number {
  const { name, type } = query.question;
  const bytes = addressRecordBytes(type);
  const code = type === rrTypes.A ? 'A' : 'AAAA';
  return bytes > 0 && answers.every((record) => record.name === name && record.data.type === code)
    ? bytes
    : 0;
}

/** What is known here; `head` is an answer with nothing in it. */
export function localResponse(head: Response, answered: Extract<Answer, { kind: 'local' }>): Response {
  const sure = answered.rcode === rcodes.NOERROR || answered.rcode === rcodes.NXDOMAIN;
  return {
    ...head,
    flags: head.flags | (sure ? flags.authoritative : 0),
    rcode: answered.rcode,
    answers: answered.answers,
    authorities: answered.authorities,
    additionals: answered.additionals,
  };
}

/** What another server said, behind the aliases that led there. */
export function forwardedResponse(
  head: Response,
  told: ForwardAnswer,
  aliases: readonly ResourceRecord[],
): Response {
  // Codes above 15 need EDNS to be told (RFC 6891).
  const rcode = told.rcode > 15 && head.edns === undefined ? rcodes.SERVFAIL : told.rcode;
  return {
    ...head,
    flags: head.flags | (told.authenticData && aliases.length === 0 ? flags.authenticData : 0),
    rcode,
    answers: aliases.length === 0 ? told.answers : [...aliases, ...told.answers],
    authorities: told.authorities,
    additionals: told.additionals,
  };
}

/** To a query that could not be read. */
export function badResponse(id: number, word: number, rcode: number): Response {
  return {
    id,
    flags: word & flags.recursionDesired,
    rcode,
    questionBytes: new Uint8Array(0),
    questionName: '',
    answers: [],
    authorities: [],
    additionals: [],
    edns: undefined,
  };
}

/** How long an answer may be for this client. */
export function bytesMaxOf(edns: Edns | undefined, protocol: 'udp' | 'tcp'): number {
  if (protocol === 'tcp') return wireLimits.messageBytesMax;
  return Math.min(edns?.udpBytes ?? wireLimits.udpBytesDefault, wireLimits.udpBytesMax);
}
