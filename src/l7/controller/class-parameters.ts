import { fairleadGroup, type IngressParameters } from '../../api/fairlead-kinds.ts';
import type { Ingress, IngressClass } from '../../api/gen/networking-v1.ts';
import { type ObjectKey, objectKey } from '../../api/object.ts';
import { annotationPrefix } from '../policy/annotations/reader.ts';
import { parseAnnotations } from '../policy/annotations.ts';
import { defaultClassAnnotation, legacyClassAnnotation } from './class.ts';
import type { Problem } from './problem.ts';

/** What holds for the Ingresses of each of our classes. */
export type ClassDefaults = {
  /** By class: annotations with their prefix. */
  readonly byClass: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** The class of Ingresses that name none. */
  readonly defaultClass: string | undefined;
  /** The objects that were looked for: the same ones give the same defaults. */
  readonly objects: readonly (IngressParameters | undefined)[];
  readonly problems: readonly Problem[];
};

export const noClassDefaults: ClassDefaults = {
  byClass: new Map(),
  defaultClass: undefined,
  objects: [],
  problems: [],
};

/** Those of one Ingress alone: as defaults they would mean nothing, or the same for all. */
const notForClasses = /^(canary|host-aliases|www-redirect|app-root|permanent-redirect|temporary-redirect)/;

/** @param parameters by key; a name alone for those of the cluster */
export function classDefaults(
  classes: readonly IngressClass[],
  names: ReadonlySet<string>,
  parameters: (key: ObjectKey) => IngressParameters | undefined,
): ClassDefaults {
  const byClass = new Map<string, Readonly<Record<string, string>>>();
  const objects: (IngressParameters | undefined)[] = [];
  const problems: Problem[] = [];
  let defaultClass: string | undefined;
  for (const ingressClass of classes) {
    const name = ingressClass.metadata?.name ?? '';
    if (!names.has(name)) continue;
    if (ingressClass.metadata?.annotations?.[defaultClassAnnotation] === 'true') defaultClass ??= name;
    const reference = ingressClass.spec?.parameters;
    if (reference === undefined) continue;
    const problem = (message: string): void => {
      problems.push({
        ingress: ingressClass,
        reason: 'InvalidParameters',
        message: `spec.parameters: ${message}`,
      });
    };
    const key = keyOfReference(reference);
    if (key === undefined) {
      const known = 'IngressParameters with scope Namespace or ClusterIngressParameters with scope Cluster';
      problem(
        `${reference.kind} of group ${reference.apiGroup ?? '""'} is not known; allowed: ${known}, of group ${fairleadGroup}`,
      );
      continue;
    }
    const found = parameters(key);
    objects.push(found);
    if (found === undefined) problem(`there is no ${reference.kind} ${key}`);
    else byClass.set(name, annotationsOf(found, key, problem));
  }
  return { byClass, defaultClass, objects, problems };
}

type Reference = NonNullable<NonNullable<IngressClass['spec']>['parameters']>;

/** undefined: of a kind that is not ours, or of the wrong scope. */
function keyOfReference({ apiGroup, kind, name, namespace, scope }: Reference): ObjectKey | undefined {
  if (apiGroup !== fairleadGroup) return undefined;
  if (kind === 'IngressParameters' && scope === 'Namespace') return objectKey(namespace, name);
  return kind === 'ClusterIngressParameters' && scope !== 'Namespace'
    ? objectKey(undefined, name)
    : undefined;
}

/** Bad ones are told once, at the class, and left out: its Ingresses are not to blame. */
function annotationsOf(
  parameters: IngressParameters,
  key: ObjectKey,
  problem: (message: string) => void,
): Readonly<Record<string, string>> {
  const good: [string, string][] = [];
  for (const [name, value] of Object.entries(parameters.spec?.annotations ?? {})) {
    const long = `${annotationPrefix}${name}`;
    if (notForClasses.test(name)) {
      problem(`${key}: ${name} is for single Ingresses only`);
      continue;
    }
    const { problems } = parseAnnotations(key, { [long]: value });
    for (const message of problems)
      problem(`${key}: ${message.replace('metadata.annotations', 'spec.annotations')}`);
    if (problems.length === 0) good.push([long, value]);
  }
  return Object.fromEntries(good);
}

/** The defaults for one Ingress; undefined: none. */
export function defaultsFor(
  ingress: Ingress,
  defaults: ClassDefaults,
): Readonly<Record<string, string>> | undefined {
  const name =
    ingress.spec?.ingressClassName ??
    ingress.metadata?.annotations?.[legacyClassAnnotation] ??
    defaults.defaultClass;
  return name === undefined ? undefined : defaults.byClass.get(name);
}
