import { randomBytes } from 'node:crypto';
import { policyWarnings } from '../api/admission/policy-types.ts';
import { ensureObject, jsonEqual, numberAt, objectAt, objectsAt, stringAt } from '../api/fields.ts';
import { metricsGroup } from '../api/kinds/metrics.ts';
import type { JsonObject } from '../api/object.ts';
import { groupVersions, kinds } from '../api/registry.ts';
import { failure, forbidden, notFound } from '../api/status.ts';
import type { ApiContext, Target } from './context.ts';
import { admitCertificateChange, admitCertificateRequest } from './certificate-admission.ts';
import { admitDefinition } from './custom-resources/admission.ts';
import { preventEscalation } from './escalation.ts';
import { applyLimitDefaults, limitProblems } from './limit-range.ts';
import { restrictNode } from './node-restriction.ts';
import { isBeingDeleted, parseEntry, prefixOf, randomSuffix } from './objects.ts';
import { admitServiceAccount, serviceAccountNameOf } from './pod-admission.ts';
import { admitPriorityClass, admitRuntimeClass } from './pod-classes.ts';

/**
 * What is done to an object between decoding and validation, by kind. Service addresses and ports are not here: they
 * must be given back when the write fails, see service-allocator.ts.
 */
export function admitCreate(context: ApiContext, target: Target, object: JsonObject): void {
  const { kind } = target;
  requireNamespace(context, target);
  restrict(target, 'create', object);
  preventGrant(context, target, object);
  requireLivingDefinition(context, target);
  switch (`${kind.group}/${kind.plural}`) {
    case '/pods':
      admitPod(context, target, object);
      admitLimits(context, target, 'pods', object);
      return;
    case '/persistentvolumeclaims':
      admitClaim(context, object);
      admitLimits(context, target, 'persistentvolumeclaims', object);
      return;
    case 'apiextensions.k8s.io/customresourcedefinitions':
      admitDefinition(context, object);
      return;
    case 'certificates.k8s.io/certificatesigningrequests':
      admitCertificateRequest(target, object);
      return;
    case 'admissionregistration.k8s.io/validatingadmissionpolicies':
      observePolicy(context, object, undefined);
      return;
    case 'apiregistration.k8s.io/apiservices':
      keepLocal(context, target, object);
      return;
    case 'networking.k8s.io/ingresses':
      admitIngress(context, target, object);
      return;
  }
}

export function admitUpdate(context: ApiContext, target: Target, object: JsonObject, old: JsonObject): void {
  restrict(target, 'update', old);
  preventGrant(context, target, object);
  const { group, plural } = target.kind;
  if (group === '' && plural === 'pods' && target.subresource === 'resize') {
    checkLimits(context, target, object);
  }
  if (group === 'certificates.k8s.io') admitCertificateChange(context, target, object, old);
  if (target.subresource !== '') return;
  if (group === 'apiextensions.k8s.io' && plural === 'customresourcedefinitions') {
    admitDefinition(context, object);
  }
  if (group === 'apiregistration.k8s.io' && plural === 'apiservices') keepLocal(context, target, object);
  if (group === 'admissionregistration.k8s.io' && plural === 'validatingadmissionpolicies') {
    observePolicy(context, object, old);
  }
}

/** What the server itself says of a policy, which it follows from the write on: seen, and where its expressions cannot work. */
function observePolicy({ customs }: ApiContext, policy: JsonObject, old: JsonObject | undefined): void {
  const status = ensureObject(policy, 'status');
  const generation = numberAt(policy, 'metadata', 'generation');
  if (generation !== undefined) status['observedGeneration'] = generation;
  if (old !== undefined && jsonEqual(policy['spec'], old['spec'])) return;
  const expressionWarnings = policyWarnings(policy, [...kinds, ...customs.all()]).map((each) => ({
    ...each,
  }));
  status['typeChecking'] = expressionWarnings.length === 0 ? {} : { expressionWarnings };
}

/** What this server serves itself cannot be given to another one: the cluster would lose its own objects. */
function keepLocal({ customs }: ApiContext, target: Target, service: JsonObject): void {
  const spec = objectAt(service, 'spec');
  if (objectAt(spec, 'service') === undefined) return;
  const isLocal = groupVersions(customs.all()).some(
    ({ group, version }) =>
      group !== metricsGroup && group === stringAt(spec, 'group') && version === stringAt(spec, 'version'),
  );
  if (!isLocal) return;
  const name = stringAt(service, 'metadata', 'name');
  throw forbidden(target.kind, name, 'this server serves the group version itself');
}

function preventGrant(context: ApiContext, target: Target, object: JsonObject): void {
  const { kind, namespace, request } = target;
  const name = target.name || stringAt(object, 'metadata', 'name');
  preventEscalation(context.authorizer, request.user, kind, namespace, name, object);
}

const immortalNamespaces: ReadonlySet<string> = new Set(['default', 'kube-system', 'kube-public']);

export function admitDelete(target: Target, object: JsonObject): void {
  const { kind, name } = target;
  if (kind.group === '' && kind.plural === 'namespaces' && immortalNamespaces.has(name)) {
    throw forbidden(kind, name, 'this namespace may not be deleted');
  }
  restrict(target, 'delete', object);
}

function restrict(target: Target, verb: 'create' | 'update' | 'delete', object: JsonObject): void {
  const { kind, subresource, request } = target;
  const name = target.name || stringAt(object, 'metadata', 'name');
  const { group, plural } = kind;
  const reason = restrictNode(request.user, { verb, group, plural, subresource, name, object });
  if (reason !== undefined) throw forbidden(kind, name, reason);
}

/** No object is made of a kind whose definition is going. */
function requireLivingDefinition({ customs }: ApiContext, { kind }: Target): void {
  if (kind.custom !== true || !customs.isTerminating(kind)) return;
  throw failure(
    405,
    'MethodNotAllowed',
    'create not allowed while custom resource definition is terminating',
  );
}

/** Nothing is made in a namespace that does not exist or is going away. */
export function requireNamespace(context: ApiContext, target: Target): void {
  const { kind, namespace } = target;
  if (!kind.namespaced) return;
  const entry = context.store.get(`/namespaces/${namespace}`);
  if (entry === undefined) throw notFound({ group: '', plural: 'namespaces' }, namespace);
  if (isBeingDeleted(parseEntry(entry))) {
    throw forbidden(
      kind,
      target.name,
      `unable to create new content in namespace ${namespace} because it is being terminated`,
    );
  }
}

/** All objects of a kind that has no namespaces. */
function objectsOf(context: ApiContext, group: string, plural: string): readonly JsonObject[] {
  return context.store.list(prefixOf({ group, plural })).entries.map((entry) => parseEntry(entry));
}

function admitPod(context: ApiContext, target: Target, pod: JsonObject): void {
  const refusal =
    admitPriorityClass(pod, objectsOf(context, 'scheduling.k8s.io', 'priorityclasses')) ??
    admitRuntimeClass(pod, objectsOf(context, 'node.k8s.io', 'runtimeclasses'));
  if (refusal !== undefined) throw forbidden(target.kind, stringAt(pod, 'metadata', 'name'), refusal);
  const name = serviceAccountNameOf(pod);
  if (name === '') return; // a mirror Pod
  const entry = context.store.get(`/serviceaccounts/${target.namespace}/${name}`);
  if (entry === undefined) {
    throw forbidden(
      target.kind,
      stringAt(pod, 'metadata', 'name'),
      `error looking up service account ${target.namespace}/${name}: serviceaccount ${JSON.stringify(name)} not found`,
    );
  }
  const account = parseEntry(entry);
  const automount = account['automountServiceAccountToken'];
  admitServiceAccount(
    pod,
    name,
    {
      automount: typeof automount === 'boolean' ? automount : undefined,
      imagePullSecrets: objectsAt(account, 'imagePullSecrets'),
    },
    randomSuffix(5, randomBytes(5)),
  );
}

/** Applies the LimitRanges of the namespace. */
function admitLimits(
  context: ApiContext,
  target: Target,
  plural: 'pods' | 'persistentvolumeclaims',
  object: JsonObject,
): void {
  if (plural === 'pods') applyLimitDefaults(object, rangesOf(context, target));
  checkLimits(context, target, object);
}

function rangesOf(context: ApiContext, target: Target): readonly JsonObject[] {
  return context.store.list(`/limitranges/${target.namespace}/`).entries.map((entry) => parseEntry(entry));
}

function checkLimits(context: ApiContext, target: Target, object: JsonObject): void {
  const ranges = rangesOf(context, target);
  if (ranges.length === 0) return;
  const plural = target.kind.plural === 'pods' ? 'pods' : 'persistentvolumeclaims';
  const problems = limitProblems(plural, object, ranges);
  if (problems.length === 0) return;
  const name = stringAt(object, 'metadata', 'name');
  const detail = problems.length === 1 ? (problems[0] ?? '') : `[${problems.join(', ')}]`;
  throw forbidden(target.kind, name, detail);
}

const defaultStorageAnnotation = 'storageclass.kubernetes.io/is-default-class';

/** Fills in the default class of storage: of several the newest, as in Kubernetes. An empty name asks for none. */
function admitClaim(context: ApiContext, claim: JsonObject): void {
  const spec = ensureObject(claim, 'spec');
  if (spec['storageClassName'] !== undefined) return;
  const madeAt = (item: JsonObject) => stringAt(item, 'metadata', 'creationTimestamp');
  const [found] = objectsOf(context, 'storage.k8s.io', 'storageclasses')
    .filter((item) => objectAt(item, 'metadata', 'annotations')?.[defaultStorageAnnotation] === 'true')
    .toSorted((a, b) => (madeAt(a) < madeAt(b) ? 1 : -1));
  if (found !== undefined) spec['storageClassName'] = stringAt(found, 'metadata', 'name');
}

const defaultClassAnnotation = 'ingressclass.kubernetes.io/is-default-class';

/** Fills in the default class; refuses when there is more than one, as Kubernetes does. */
function admitIngress(context: ApiContext, target: Target, ingress: JsonObject): void {
  const spec = objectAt(ingress, 'spec');
  if (spec === undefined || spec['ingressClassName'] !== undefined) return;
  if (objectAt(ingress, 'metadata', 'annotations')?.['kubernetes.io/ingress.class'] !== undefined) return;
  const defaults = objectsOf(context, 'networking.k8s.io', 'ingressclasses').filter(
    (candidate) => objectAt(candidate, 'metadata', 'annotations')?.[defaultClassAnnotation] === 'true',
  );
  const [first, second] = defaults;
  if (second !== undefined) {
    throw forbidden(
      target.kind,
      stringAt(ingress, 'metadata', 'name'),
      `${defaults.length} default IngressClasses were found, only 1 allowed`,
    );
  }
  if (first !== undefined) spec['ingressClassName'] = stringAt(first, 'metadata', 'name');
}
