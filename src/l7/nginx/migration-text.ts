import { stringify } from 'yaml';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { unifiedDiff } from '../../base/unified-diff.ts';
import type { IngressMigration, Migration, MigrationFinding } from './migration.ts';
import type { Verdict } from './translation.ts';

/** How text is set off. */
export type Style = Readonly<Record<'good' | 'warn' | 'bad' | 'dim' | 'strong', (text: string) => string>>;

const sgr =
  (code: number) =>
  (text: string): string =>
    `\u001b[${code}m${text}\u001b[0m`;
const asIs = (text: string): string => text;

export const plainStyle: Style = { good: asIs, warn: asIs, bad: asIs, dim: asIs, strong: asIs };
export const colourStyle: Style = { good: sgr(32), warn: sgr(33), bad: sgr(31), dim: sgr(2), strong: sgr(1) };

type Section = {
  readonly verdict: Verdict;
  readonly title: string;
  readonly mark: string;
  readonly style: keyof Style;
};

const sections: readonly Section[] = [
  { verdict: 'none', title: 'has no equal', mark: '✗', style: 'bad' },
  { verdict: 'differs', title: 'behaves differently', mark: '≠', style: 'warn' },
  { verdict: 'same', title: 'is honoured as it is', mark: '✓', style: 'good' },
  { verdict: 'idle', title: 'is not needed', mark: '·', style: 'dim' },
];

/** For people at a terminal. @param width columns; longer texts go on in the next line */
export function renderMigration(migration: Migration, style: Style, width: number): string {
  const { ingresses, general } = migration;
  const parts = ingresses.map((ingress) => renderIngress(ingress, style, width));
  if (ingresses.length > 0) {
    const notes = general.map((note) => wrap(note, width, '  • ', '    '));
    parts.push(`${style.strong('For all of them')}\n${notes.join('\n')}\n`);
  }
  return `${parts.join('\n')}${parts.length > 0 ? '\n' : ''}${renderSummary(migration, style)}`;
}

function renderIngress(migration: IngressMigration, style: Style, width: number): string {
  const { ingress, hosts, findings, verdict } = migration;
  const section = sections.find((item) => item.verdict === verdict);
  const mark = style[section?.style ?? 'good'](section?.mark ?? '✓');
  const named = hosts.map((host) => (host === '' ? 'any host' : host)).join(', ');
  const lines = [
    `${mark} ${style.strong(`Ingress ${ingress}`)}${named === '' ? '' : style.dim(`  ${named}`)}`,
  ];
  const subjectWidth = Math.min(40, Math.max(0, ...findings.map(({ subject }) => subject.length)));
  for (const { verdict: wanted, title, mark: sign, style: name } of sections) {
    const group = findings.filter((finding) => finding.verdict === wanted);
    if (group.length === 0) continue;
    lines.push(`  ${style[name](`${sign} ${title}`)}`);
    for (const finding of group) lines.push(renderFinding(finding, subjectWidth, width));
  }
  const diff = unifiedDiff(
    manifestText(migration.before),
    manifestText(migration.after),
    `${ingress} for ingress-nginx`,
    `${ingress} for Fairlead`,
  );
  return `${lines.join('\n')}\n\n${colourDiff(diff, style)}`;
}

function renderFinding({ subject, text }: MigrationFinding, subjectWidth: number, width: number): string {
  const first = `      ${subject.padEnd(subjectWidth)}  `;
  if (text === '') return first.trimEnd();
  return wrap(text, width, first, ' '.repeat(Math.min(first.length, subjectWidth + 8)));
}

/** Words are never cut; a line without room for any word is longer than `width`. */
function wrap(text: string, width: number, first: string, rest: string): string {
  const lines: string[] = [];
  let line = first;
  let empty = true;
  for (const word of text.split(' ')) {
    if (!empty && line.length + 1 + word.length > width) {
      lines.push(line);
      line = rest;
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  return [...lines, line].join('\n');
}

function colourDiff(diff: string, style: Style): string {
  const coloured = diff.split('\n').map((line) => {
    if (line === '') return line;
    if (/^(---|\+\+\+|@@) /.test(line)) return `  ${style.dim(line)}`;
    const set = line.startsWith('+') ? style.good : line.startsWith('-') ? style.bad : asIs;
    return `  ${set(line)}`;
  });
  return coloured.join('\n');
}

function renderSummary({ ingresses, others, otherClasses }: Migration, style: Style): string {
  const count = (verdict: IngressMigration['verdict']): number =>
    ingresses.filter((ingress) => ingress.verdict === verdict).length;
  const hints = otherClasses.map((name) => `--from-class ${name}`).join(' or ');
  const hint = hints === '' ? '' : `; there are annotations of ingress-nginx among them: try ${hints}`;
  const left =
    others === 0 ? '' : ` ${counted(others, 'Ingress', 'Ingresses')} of other classes left alone${hint}.`;
  if (ingresses.length === 0) return `No Ingress of ingress-nginx was found.${left}\n`;
  const shares = [
    style.good(`${count('same')} as it is`),
    style.warn(`${count('differs')} with differences`),
    style.bad(`${count('none')} with something that has no equal`),
  ];
  return `${counted(ingresses.length, 'Ingress', 'Ingresses')}: ${shares.join(', ')}.${left}\n`;
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** The replacements as one YAML stream, for `kubectl apply -f -`. */
export function renderManifests({ ingresses }: Migration): string {
  return ingresses.map(({ after }) => `---\n${manifestText(after)}`).join('');
}

/** For programs. */
export function renderMigrationJson({ ingresses, others, general }: Migration): string {
  const items = ingresses.map(({ ingress, hosts, verdict, findings, after }) => {
    const [namespace, name] = ingress.split('/');
    return { namespace, name, hosts, verdict, findings, manifest: after };
  });
  return `${JSON.stringify({ ingresses: items, othersLeftAlone: others, general }, undefined, 2)}\n`;
}

function manifestText(ingress: Ingress): string {
  return stringify(ingress, { version: '1.1', lineWidth: 0 });
}
