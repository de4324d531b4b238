import type { Ingress, IngressClass } from '../../api/gen/networking-v1.ts';

/** What `spec.controller` of our IngressClasses says, unless a process has another name. */
export const controllerName = 'fairlead.dev/ingress';
/** What that of ingress-nginx's classes says. */
export const nginxControllerName = 'k8s.io/ingress-nginx';
export const defaultClassAnnotation = 'ingressclass.kubernetes.io/is-default-class';
/** Older than IngressClass, still to be honoured (networking/v1 IngressSpec.ingressClassName). */
export const legacyClassAnnotation = 'kubernetes.io/ingress.class';

/** Which classes are this controller's. */
export type OwnedClasses = {
  readonly names: ReadonlySet<string>;
  /** What the legacy annotation may say: these names, and configured ones without an IngressClass object. */
  readonly legacyNames: ReadonlySet<string>;
  /** One of them is the default: Ingresses of no class are ours too. */
  readonly ownsDefault: boolean;
};

/**
 * @param configuredNames names given to this process; an IngressClass of another controller takes such a name away
 * @param options takesNginx: classes of ingress-nginx are ours, too, if they have such a name
 */
export function ownedClasses(
  classes: Iterable<IngressClass>,
  configuredNames: readonly string[],
  options: { readonly controllerName?: string; readonly takesNginx?: boolean } = {},
): OwnedClasses {
  const { controllerName: own = controllerName, takesNginx = false } = options;
  const names = new Set<string>();
  const foreign = new Set<string>();
  let ownsDefault = false;
  for (const ingressClass of classes) {
    const name = ingressClass.metadata?.name ?? '';
    const controller = ingressClass.spec?.controller;
    const taken = takesNginx && controller === nginxControllerName && configuredNames.includes(name);
    if (controller !== own && !taken) {
      foreign.add(name);
      continue;
    }
    names.add(name);
    if (ingressClass.metadata?.annotations?.[defaultClassAnnotation] === 'true') ownsDefault = true;
  }
  const legacyNames = new Set([...names, ...configuredNames.filter((name) => !foreign.has(name))]);
  return { names, ownsDefault, legacyNames };
}

/** Whether this controller serves the Ingress: by spec, else by the legacy annotation, else by our default class. */
export function isOwned(ingress: Ingress, classes: OwnedClasses): boolean {
  const className = ingress.spec?.ingressClassName;
  if (className !== undefined) return classes.names.has(className);
  const legacy = ingress.metadata?.annotations?.[legacyClassAnnotation];
  if (legacy !== undefined) return classes.legacyNames.has(legacy);
  return classes.ownsDefault;
}

/** The objects that `--create-ingress-class` makes where absent: the first one is the default. */
export function ingressClassesToCreate(
  names: readonly string[],
  controller = controllerName,
): readonly IngressClass[] {
  return names.map((name, index) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: { name, ...(index === 0 ? { annotations: { [defaultClassAnnotation]: 'true' } } : {}) },
    spec: { controller },
  }));
}
