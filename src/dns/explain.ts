import { formatIp, ipFromBytes } from '../base/ip.ts';
import { type AnswerOptions, answer } from './answer.ts';
import { type ForwardRoutes, upstreamsFor } from './forward.ts';
import { reasonOf } from './reason.ts';
import type { DnsView } from './table.ts';
import { classIn, type RecordData, rcodes, rrTypes } from './wire.ts';

/** How a Pod, or whoever, looks names up: what its resolv.conf says. */
export type Lookup = {
  /** Shown as who asks. */
  readonly asker: string;
  readonly searches: readonly string[];
  /** A name with fewer dots is searched before it is asked as it is. */
  readonly ndots: number;
};

/**
 * What comes of a name: every question that a stub resolver asks for it, in order, until one is answered, with the objects
 * behind the answer. Text of one line a question; asked for type A.
 */
export function explainDns(
  name: string,
  lookup: Lookup,
  view: DnsView,
  options: AnswerOptions,
  routes: ForwardRoutes,
): string {
  const isWhole = name.endsWith('.');
  const given = name.toLowerCase().replace(/\.$/, '');
  const searched = lookup.searches.map((search) => `${given}.${search}`);
  const dots = given.split('.').length - 1;
  const names = isWhole ? [given] : dots >= lookup.ndots ? [given, ...searched] : [...searched, given];
  const lines = [`${lookup.asker} looks up ${name}`];
  if (!isWhole) {
    const why = `${dots} ${dots === 1 ? 'dot' : 'dots'}, ndots ${lookup.ndots}`;
    lines.push(`  search ${lookup.searches.join(' ') || '(none)'}; ${why}`);
  }
  for (const [index, each] of names.entries()) {
    const { text, isFound } = explainQuestion(each, view, options, routes);
    lines.push(`${index + 1}. ${each}. A`, ...text.map((line) => `     ${line}`));
    if (isFound) return `${lines.join('\n')}\n`;
  }
  lines.push('no question was answered: the name does not exist for this asker');
  return `${lines.join('\n')}\n`;
}

function explainQuestion(
  name: string,
  view: DnsView,
  options: AnswerOptions,
  routes: ForwardRoutes,
): { readonly text: readonly string[]; readonly isFound: boolean } {
  const told = answer({ name, type: rrTypes.A, class: classIn }, view, options);
  if (told.kind === 'forward') {
    const servers = upstreamsFor(routes, told.name).map(({ host, port }) => `${host}:${port}`);
    const aliases = told.aliases.map(({ name: from, data }) => `${from}. ${renderData(data)}`);
    const known = servers.length === 0 ? 'the upstreams of the DNS server' : servers.join(', ');
    return { text: [...aliases, `asked of ${known}: ${told.name}.`], isFound: true };
  }
  const code = Object.entries(rcodes).find(([, value]) => value === told.rcode)?.[0] ?? String(told.rcode);
  const records = told.answers.map((record) => `${record.name}. ${renderData(record.data)}`);
  const why = reasonOf(name, view, options);
  return {
    text: [`${code}: ${why}`, ...records],
    isFound: told.rcode === rcodes.NOERROR,
  };
}

function renderData(data: RecordData): string {
  switch (data.type) {
    case 'A':
    case 'AAAA':
      return `${data.type} ${formatIp(ipFromBytes(data.address))}`;
    case 'CNAME':
      return `CNAME ${data.target}.`;
    default:
      return data.type;
  }
}
