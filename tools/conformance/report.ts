/** What ginkgo writes with --json-report, as far as it is read here. */
export type GinkgoReport = readonly { readonly SpecReports?: readonly GinkgoSpec[] | null }[];

export type GinkgoSpec = {
  readonly LeafNodeType: string;
  readonly ContainerHierarchyTexts: readonly string[] | null;
  readonly LeafNodeText: string;
  readonly State: string;
  readonly RunTime: number; // nanoseconds
  readonly Failure?: { readonly Message?: string };
};

/** One test of the suite. */
export type Outcome = {
  /** `sig-network`. */
  readonly group: string;
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  /** Why it failed, or was skipped while it ran; '' otherwise. */
  readonly reason: string;
  readonly seconds: number;
};

/** The tests that were chosen, by group and name. Those that the focus left out are not among them. */
export function outcomesOf(report: GinkgoReport): readonly Outcome[] {
  return report
    .flatMap(({ SpecReports }) => SpecReports ?? [])
    .filter((spec) => spec.LeafNodeType === 'It' && !(spec.State === 'skipped' && reasonOf(spec) === ''))
    .map(outcomeOf)
    .toSorted((a, b) => a.group.localeCompare(b.group) || a.name.localeCompare(b.name));
}

function outcomeOf(spec: GinkgoSpec): Outcome {
  const words = [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(' ');
  const [, group = 'other', name = words] = /^\[(sig-[a-z-]+)\] (.*)$/.exec(words) ?? [];
  const state = spec.State === 'passed' || spec.State === 'skipped' ? spec.State : 'failed';
  return {
    group,
    name: name.replaceAll(/ ?\[(Conformance|NodeConformance|Serial|Slow|Disruptive)\]/g, ''),
    state,
    reason: state === 'passed' ? '' : reasonOf(spec),
    seconds: spec.RunTime / 1e9,
  };
}

const reasonOf = (spec: GinkgoSpec): string => spec.Failure?.Message ?? '';

/** A table of the groups, and the tests that did not pass with the first line of why. */
export function renderOutcomes(outcomes: readonly Outcome[]): string {
  const groups = Map.groupBy(outcomes, ({ group }) => group);
  const count = (of: readonly Outcome[], state: Outcome['state']): number =>
    of.filter((outcome) => outcome.state === state).length;
  const row = (title: string, of: readonly Outcome[]): string =>
    `| ${title} | ${count(of, 'passed')} | ${count(of, 'failed')} | ${count(of, 'skipped')} |`;
  const lines = [
    '| group | passed | failed | skipped |',
    '|---|---|---|---|',
    ...[...groups].map(([group, of]) => row(group, of)),
    row('**together**', outcomes),
  ];
  const rest = outcomes.filter(({ state }) => state !== 'passed');
  if (rest.length === 0) return lines.join('\n');
  const details = rest.map(
    ({ group, name, state, reason }) => `| ${group} | ${name} | ${state}: ${cell(reason)} |`,
  );
  return [...lines, '', '| group | test | |', '|---|---|---|', ...details].join('\n');
}

/** docs/conformance.md. */
export function renderDocument(version: string, outcomes: readonly Outcome[]): string {
  return `# Conformance

What Kubernetes ${version}'s own conformance tests find on a cluster of ours: two nodes, made for the run, without a way
out. The tests are Kubernetes' programs as published, unchanged; the images that they run are stand-ins made from Debian
packages and the same programs (\`tools/conformance/images.ts\`). By hand, for it takes the better part of an hour:

    node tools/conformance/run.ts --write

${renderOutcomes(outcomes)}
`;
}

function cell(reason: string): string {
  const [first = ''] = reason.split('\n');
  return first.replaceAll('|', '\\|').slice(0, reasonCharactersMax);
}

const reasonCharactersMax = 200;
