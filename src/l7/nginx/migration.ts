import type { HTTPIngressPath, Ingress } from '../../api/gen/networking-v1.ts';
import { keyOf, type ObjectKey } from '../../api/object.ts';
import { annotationPrefix } from '../policy/annotations/reader.ts';
import { parseAnnotations } from '../policy/annotations.ts';
import { legacyClassAnnotation } from '../controller/class.ts';
import { type Finding, nginxPrefix, type Translation, type Verdict } from './translation.ts';
import { translateIngress } from './translations.ts';

export type MigrationOptions = {
  /** Ingresses of this class, and all with annotations of ingress-nginx, are looked at. */
  readonly fromClass: string;
  /** The class that replacements get. */
  readonly toClass: string;
};

/** What becomes of one thing that an Ingress says. */
export type MigrationFinding = {
  /** An annotation without its prefix, or "path HOST/PATH". */
  readonly subject: string;
  readonly verdict: Verdict;
  readonly text: string;
};

export type IngressMigration = {
  readonly ingress: ObjectKey;
  readonly hosts: readonly string[];
  /** The worst verdict of its findings; `same` if there is none. */
  readonly verdict: 'same' | 'differs' | 'none';
  readonly findings: readonly MigrationFinding[];
  /** As it is, without what a server adds. */
  readonly before: Ingress;
  readonly after: Ingress;
};

export type Migration = {
  /** By namespace and name. */
  readonly ingresses: readonly IngressMigration[];
  /** Ingresses that are none of ingress-nginx's. */
  readonly others: number;
  /** The classes of those of them that have annotations of ingress-nginx all the same. */
  readonly otherClasses: readonly string[];
  /** What is different for all. */
  readonly general: readonly string[];
};

/** What a move from ingress-nginx means for each Ingress. Pure: nothing is changed anywhere. */
export function planMigration(ingresses: readonly Ingress[], options: MigrationOptions): Migration {
  const theirs = ingresses.filter((ingress) => isTheirs(ingress, options.fromClass));
  const translations = new Map(theirs.map((ingress) => [ingress, translateIngress(ingress)]));
  const regexUsers = regexUsersOf(translations);
  return {
    ingresses: theirs
      .map((ingress) => migrate(ingress, translations.get(ingress), regexUsers, options))
      .toSorted((a, b) => (a.ingress < b.ingress ? -1 : 1)),
    others: ingresses.length - theirs.length,
    otherClasses: otherClasses(ingresses.filter((ingress) => !isTheirs(ingress, options.fromClass))),
    general: generalDifferences,
  };
}

const generalDifferences: readonly string[] = [
  'Paths are matched and passed on as the client wrote them. ingress-nginx first resolves "//", "/./", "/../" and %-escapes: /a/../b is its /b. Here a path that some server may read as one of another rule is refused with 400.',
  'A host whose rules end in "/" gets no redirect to the missing slash: Prefix /app/ serves /app at once, Exact /app/ does not.',
  'Bodies have no limit unless body-size sets one. ingress-nginx answers 413 beyond 1 MiB by default.',
  'Strict-Transport-Security is not added to answers over TLS; where clients need it, set it with response-headers.',
  'The ConfigMap of ingress-nginx is not read: what it sets for all has to be said by options or annotations.',
];

function isTheirs(ingress: Ingress, fromClass: string): boolean {
  const className = classOf(ingress);
  return className === undefined ? hasTheirWords(ingress) : className === fromClass;
}

function classOf({ spec, metadata }: Ingress): string | undefined {
  return spec?.ingressClassName ?? metadata?.annotations?.[legacyClassAnnotation];
}

function hasTheirWords({ metadata }: Ingress): boolean {
  return Object.keys(metadata?.annotations ?? {}).some((name) => name.startsWith(nginxPrefix));
}

function otherClasses(others: readonly Ingress[]): readonly string[] {
  return [...new Set(others.filter(hasTheirWords).map((ingress) => classOf(ingress) ?? ''))].toSorted();
}

/** Hosts whose paths ingress-nginx all reads as regular expressions, and whose Ingresses make it do so. */
function regexUsersOf(
  translations: ReadonlyMap<Ingress, Translation | undefined>,
): ReadonlyMap<string, readonly Ingress[]> {
  const users = new Map<string, Ingress[]>();
  for (const [ingress, translation] of translations) {
    if (translation?.readsRegex !== true || translation.annotations['canary'] === 'true') continue;
    for (const host of hostsOf(ingress)) users.set(host, [...(users.get(host) ?? []), ingress]);
  }
  return users;
}

function hostsOf(ingress: Ingress): readonly string[] {
  return [...new Set((ingress.spec?.rules ?? []).map(({ host }) => (host ?? '').toLowerCase()))];
}

function migrate(
  ingress: Ingress,
  translation: Translation | undefined,
  regexUsers: ReadonlyMap<string, readonly Ingress[]>,
  options: MigrationOptions,
): IngressMigration {
  const findings = [
    ...(translation?.findings ?? []).map(({ annotation, verdict, text }) => ({
      subject: annotation,
      verdict,
      text: `${text}${snippetHint(ingress.metadata?.annotations?.[`${nginxPrefix}${annotation}`] ?? '', annotation)}`,
    })),
    ...refusedValues(ingress, translation),
    ...unsaidDefaults(translation),
    ...pathFindings(ingress, translation, regexUsers),
  ];
  const worst = (['none', 'differs'] as const).find((wanted) =>
    findings.some(({ verdict }) => verdict === wanted),
  );
  const before = withoutServerFields(ingress);
  return {
    ingress: keyOf(ingress),
    hosts: hostsOf(ingress),
    verdict: worst ?? 'same',
    findings,
    before,
    after: replacement(before, translation, options.toClass),
  };
}

/** What of nginx's configuration has an equal among annotations. */
const snippetEquals: readonly (readonly [directive: RegExp, name: string, ours: string])[] = [
  [
    /\b(more_set_headers|add_header|more_clear_headers|proxy_hide_header)\b/,
    'headers of answers',
    'response-headers',
  ],
  [/\b(proxy_set_header|more_set_input_headers)\b/, 'headers to backends', 'request-headers'],
  [/\breturn\s+30\d\b/, 'redirects', 'permanent-redirect or temporary-redirect, on an Ingress of their own'],
  [/\brewrite\b/, 'rewriting', 'path-regex with rewrite-path, on an Ingress of its own'],
  [/\b(allow|deny)\s/, 'who gets in', 'allow-source-range and deny-source-range'],
  [/\breturn\s+[245]\d\d\b/, 'answers of its own', 'a rule for the path whose resource is a StaticResponse'],
  [/\bclient_max_body_size\b/, 'sizes of bodies', 'body-size'],
  [/\bproxy_(connect|read|send)_timeout\b/, 'times', 'connect-timeout, read-timeout and send-timeout'],
  [/\b(gzip|brotli)\b/, 'compression', 'compression'],
];

function snippetHint(value: string, annotation: string): string {
  if (!annotation.endsWith('-snippet')) return '';
  const hints = snippetEquals.filter(([directive]) => directive.test(value));
  return hints.map(([, name, ours]) => `; for ${name} use ${ours}`).join('');
}

/** Values that ingress-nginx may take and we do not. */
function refusedValues(ingress: Ingress, translation: Translation | undefined): readonly MigrationFinding[] {
  if (translation === undefined) return [];
  const long = Object.entries(translation.annotations).map(([name, value]) => [
    `${annotationPrefix}${name}`,
    value,
  ]);
  const { problems } = parseAnnotations(keyOf(ingress), Object.fromEntries(long), translation.origins);
  return problems.map((problem) => {
    const subject = /^metadata\.annotations\[(?:[^\]]*\/)?([^\]/]+)\]: (.*)$/s.exec(problem);
    return {
      subject: subject?.[1] ?? 'annotations',
      verdict: 'none' as const,
      text: subject?.[2] ?? problem,
    };
  });
}

/** ingress-nginx does it without being told, so the replacement has to say it. */
function unsaidDefaults(translation: Translation | undefined): readonly MigrationFinding[] {
  const redirects = translation?.annotations['ssl-redirect'] === 'tls-hosts';
  const said =
    translation?.findings.some(({ annotation }: Finding) => annotation === 'ssl-redirect') === true;
  if (!redirects || said) return [];
  const text = 'hosts with a certificate are sent to HTTPS by default there; the replacement says so';
  return [{ subject: 'ssl-redirect', verdict: 'same', text }];
}

function pathFindings(
  ingress: Ingress,
  translation: Translation | undefined,
  regexUsers: ReadonlyMap<string, readonly Ingress[]>,
): readonly MigrationFinding[] {
  const findings: MigrationFinding[] = [];
  for (const { host: written, http } of ingress.spec?.rules ?? []) {
    const host = (written ?? '').toLowerCase();
    const users = regexUsers.get(host);
    for (const path of http?.paths ?? []) {
      const finding =
        users === undefined
          ? missingSlash(path)
          : translation?.readsRegex === true
            ? undefined
            : readAsRegex(path, users.map((user) => keyOf(user)).join(', '));
      if (finding !== undefined) {
        findings.push({ subject: `path ${host === '' ? '*' : host}${path.path ?? '/'}`, ...finding });
      }
    }
  }
  return findings;
}

type PathFinding = Pick<MigrationFinding, 'verdict' | 'text'>;

function missingSlash({ path = '/', pathType }: HTTPIngressPath): PathFinding | undefined {
  if (!path.endsWith('/') || path === '/') return undefined;
  const bare = path.slice(0, -1);
  return pathType === 'Exact'
    ? { verdict: 'differs', text: `${bare} is sent to ${path} by 301 there; here it does not match` }
    : { verdict: 'differs', text: `${bare} is sent to ${path} by 301 there; here it is served at once` };
}

function readAsRegex({ path = '/', pathType }: HTTPIngressPath, users: string): PathFinding {
  const upper = path.toUpperCase() === path ? '' : ` and ${path.toUpperCase()}`;
  const text = `Ingress ${users} makes ingress-nginx read it as a regular expression: today it matches ${path}xyz${upper}, too; here it is ${pathType} again`;
  return { verdict: 'differs', text };
}

const serverFields: ReadonlySet<string> = new Set([
  'creationTimestamp',
  'generation',
  'managedFields',
  'resourceVersion',
  'selfLink',
  'uid',
]);
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';

function withoutServerFields({ apiVersion, kind, metadata, spec }: Ingress): Ingress {
  const entries = Object.entries(metadata ?? {}).filter(([name]) => !serverFields.has(name));
  const annotations = Object.fromEntries(
    Object.entries(metadata?.annotations ?? {}).filter(([name]) => name !== lastApplied),
  );
  const kept = Object.fromEntries(entries.filter(([name]) => name !== 'annotations'));
  return {
    apiVersion: apiVersion ?? 'networking.k8s.io/v1',
    kind: kind ?? 'Ingress',
    metadata: { ...kept, ...(Object.keys(annotations).length === 0 ? {} : { annotations }) },
    ...(spec === undefined ? {} : { spec }),
  };
}

function replacement(before: Ingress, translation: Translation | undefined, toClass: string): Ingress {
  const given = Object.entries(before.metadata?.annotations ?? {});
  const kept = given.filter(([name]) => !name.startsWith(nginxPrefix) && name !== legacyClassAnnotation);
  const ours = Object.entries(translation?.annotations ?? {}).map(([name, value]) => [
    `${annotationPrefix}${name}`,
    value,
  ]);
  const annotations = Object.fromEntries([...ours, ...kept]); // ours that are there already count
  const { annotations: _, ...metadata } = before.metadata ?? {};
  const { ingressClassName: __, ...spec } = before.spec ?? {};
  const regex = translation?.readsRegex === true;
  return {
    ...before,
    metadata: { ...metadata, ...(Object.keys(annotations).length === 0 ? {} : { annotations }) },
    spec: {
      ingressClassName: toClass,
      ...spec,
      ...(regex && spec.rules !== undefined ? { rules: spec.rules.map(withRegexPaths) } : {}),
    },
  };
}

type Rule = NonNullable<NonNullable<Ingress['spec']>['rules']>[number];

function withRegexPaths(rule: Rule): Rule {
  if (rule.http?.paths === undefined) return rule;
  const paths = rule.http.paths.map((path) => ({ ...path, pathType: 'ImplementationSpecific' }));
  return { ...rule, http: { ...rule.http, paths } };
}
