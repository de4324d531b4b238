import type { Answer, AnswerOptions } from './answer.ts';
import type { ForwardAnswer } from './question.ts';
import { addressRecordBytes } from './passing.ts';
import { reasonOf } from './reason.ts';
import type { Note, Response } from './render.ts';
import type { DnsView } from './table.ts';
import {
  classIn,
  type Edns,
  extendedErrors,
  flags,
  type Query,
  type ResourceRecord,
  rcodes,
  rrTypes,
  wireLimits,
} from './wire.ts';

/** What the last search found, under the name of the first. */
export function searchedResponse(missing: Response, told: ForwardAnswer | undefined, name: string): Response {
  if (told?.rcode !== rcodes.NOERROR) return missing;
  if (told.answers.length === 0) return { ...missing, rcode: rcodes.NOERROR, note: undefined };
  const answers = renamed(told.answers, name, missing.questionName);
  return { ...missing, rcode: rcodes.NOERROR, answers, authorities: [], note: undefined };
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

/** Why there is no record, in the words of `explain`; undefined: there is one, or the client cannot hear it. */
export function noteOf(
  { edns, question }: Query,
  { answers, rcode }: Extract<Answer, { kind: 'local' }>,
  view: DnsView,
  options: AnswerOptions,
): Note | undefined {
  if (edns === undefined || answers.length > 0 || question.class !== classIn) return undefined;
  switch (rcode) {
    case rcodes.NOERROR:
    case rcodes.NXDOMAIN:
      return { code: extendedErrors.other, text: reasonOf(question.name, view, options) };
    case rcodes.SERVFAIL:
      return view.synced
        ? { code: extendedErrors.other, text: 'aliases lead round in a circle' }
        : { code: extendedErrors.notReady, text: 'the names of the cluster are not known yet' };
    default:
      return {
        code: extendedErrors.notAuthoritative,
        text: `only questions for single names of ${options.zone} are answered here`,
      };
  }
}

export const staleNote: Note = {
  code: extendedErrors.staleAnswer,
  text: 'no server gave a new answer in time',
};

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
    note: told.isStale === true ? staleNote : undefined,
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
