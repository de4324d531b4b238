import { decodeAs } from '../api/decode.ts';
import { invalid as invalidField } from '../api/field-errors.ts';
import {
  ensureObject,
  numberAt,
  objectAt,
  objectsAt,
  stringAt,
  stringMapAt,
  stringsAt,
} from '../api/fields.ts';
import type { Column, Kind } from '../api/kind.ts';
import { ageColumn, column, nameColumn } from '../api/kinds/columns.ts';
import { podKind } from '../api/kinds/pod.ts';
import { isJsonObject, type Json, type JsonObject } from '../api/object.ts';
import { scaleOf, withScale } from '../api/scale.ts';
import { badRequest, conflict, forbidden, invalid, notFound } from '../api/status.ts';
import { rfc3339 } from '../base/clock.ts';
import { applyChange, decodeConfiguration, isApply } from './apply.ts';
import type { BodyKind } from './admission-request.ts';
import type { ApiContext, Target } from './context.ts';
import { removeObject } from './delete.ts';
import { admitBody } from './dynamic-admission.ts';
import { markDisrupted, takeDisruption } from './disruption.ts';
import { jsonReply, type Reply } from './exchange.ts';
import { formOf, renderUnstored } from './forms.ts';
import { prepare, requireEntry } from './list.ts';
import { restrictNode } from './node-restriction.ts';
import { parseEntry } from './objects.ts';
import { patchedAs, readPatch } from './patch.ts';
import { isDryRun } from './dry-run.ts';
import { changeObject, fieldValidationOf, readBody, type ShownBody, type Written } from './write.ts';

/** Subresources that answer with something else than their object: scale, binding, eviction, token. */

const scaleIdentity: BodyKind = {
  group: 'autoscaling',
  version: 'v1',
  kind: 'Scale',
  schema: 'autoscaling/v1.Scale',
};
const bindingIdentity: BodyKind = { group: '', version: 'v1', kind: 'Binding', schema: 'core/v1.Binding' };
const evictionIdentity: BodyKind = {
  group: 'policy',
  version: 'v1',
  kind: 'Eviction',
  schema: 'policy/v1.Eviction',
};
const tokenRequestIdentity: BodyKind = {
  group: 'authentication.k8s.io',
  version: 'v1',
  kind: 'TokenRequest',
  schema: 'authentication/v1.TokenRequest',
};

/** Admission is shown the Scale, not what it scales. */
function shownAsScale({ scale: paths }: Kind): ShownBody {
  return {
    kind: scaleIdentity,
    show: (object) => scaleOf(object, paths),
    accept: (object, scale) => withScale(object, scale, paths),
  };
}

const success: JsonObject = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' };

async function decodeIdentity(target: Target, identity: BodyKind): Promise<JsonObject> {
  const { schema } = identity;
  const body = await readBody(target, schema);
  return decodeAs(identity, schema, renamed(body, identity), fieldValidationOf(target)).object;
}

/** kubectl up to 1.21 evicts by policy/v1beta1, which has the same fields; Kubernetes takes it, too. */
function renamed(body: Json, { group, version }: BodyKind): Json {
  if (!isJsonObject(body) || group !== 'policy' || body['apiVersion'] !== 'policy/v1beta1') return body;
  return { ...body, apiVersion: `${group}/${version}` };
}

export async function getScale(context: ApiContext, target: Target): Promise<Reply> {
  const entry = requireEntry(context, target);
  if (target.kind.conversion !== undefined) await prepare(context, target, [entry]);
  return renderScale(context, target, scaleOf(parseEntry(entry, target.kind), target.kind.scale));
}

/** What kubectl shows of a Scale. */
const scaleColumns: readonly Column[] = [
  nameColumn,
  column('Desired', 'How many are wanted.', (scale) => numberAt(scale, 'spec', 'replicas') ?? 0, 'integer'),
  column(
    'Available',
    'How many there are.',
    (scale) => numberAt(scale, 'status', 'replicas') ?? 0,
    'integer',
  ),
  ageColumn,
];

function renderScale(context: ApiContext, target: Target, scale: JsonObject): Reply {
  const shown: Target = { ...target, kind: { ...target.kind, ...scaleIdentity, columns: scaleColumns } };
  return renderUnstored(context, shown, formOf(target), scale, 200);
}

export async function putScale(context: ApiContext, target: Target): Promise<Reply> {
  const scale = await decodeIdentity(target, scaleIdentity);
  return changeScale(context, target, () => scale);
}

export async function patchScale(context: ApiContext, target: Target): Promise<Reply> {
  if (isApply(target)) return applyScale(context, target);
  const { schema } = scaleIdentity;
  const patch = await readPatch(target, schema);
  return changeScale(context, target, (old) => patchedAs(target, scaleIdentity, schema, patch, old));
}

/** An applied Scale owns spec.replicas of its object. */
async function applyScale(context: ApiContext, target: Target): Promise<Reply> {
  const body = await decodeConfiguration(await target.request.body());
  const scale = decodeAs(scaleIdentity, scaleIdentity.schema, body, fieldValidationOf(target)).object;
  const replicas = numberAt(scale, 'spec', 'replicas');
  if (replicas !== undefined && replicas < 0) throw negativeReplicas(target, replicas);
  const { scale: paths } = target.kind;
  const named: JsonObject = { metadata: { name: target.name } };
  const written = await applyChange(
    context,
    target,
    replicas === undefined ? named : withScale(named, scale, paths),
    shownAsScale(target.kind),
  );
  return jsonReply(scaleOf(objectOf(target, written), paths));
}

function negativeReplicas({ name }: Target, replicas: number): Error {
  return invalid(scaleIdentity, name, [
    invalidField('spec.replicas', replicas, 'must be greater than or equal to 0'),
  ]);
}

async function changeScale(
  context: ApiContext,
  target: Target,
  change: (scale: JsonObject) => JsonObject,
): Promise<Reply> {
  const written = await changeObject(context, target, {
    part: 'main',
    dryRun: isDryRun(target),
    shownAs: shownAsScale(target.kind),
    change(old) {
      const scale = change(scaleOf(old, target.kind.scale));
      const replicas = numberAt(scale, 'spec', 'replicas') ?? 0;
      if (replicas < 0) throw negativeReplicas(target, replicas);
      return withScale(old, scale, target.kind.scale);
    },
  });
  return jsonReply(scaleOf(objectOf(target, written), target.kind.scale));
}

function objectOf(target: Target, written: Written): JsonObject {
  return written.kind === 'dry-run' ? written.object : parseEntry(written.entry, target.kind);
}

/** What the scheduler does: gives an unbound Pod its node. */
export async function bindPod(context: ApiContext, target: Target): Promise<Reply> {
  const asked = await decodeIdentity(target, bindingIdentity);
  const binding = await admitBody(context, target, 'CREATE', bindingIdentity, asked, isDryRun(target));
  return bind(context, target, binding);
}

/** The same by a Binding that is posted to its namespace, where its own name is the Pod's. */
export async function bindNamedPod(context: ApiContext, target: Target): Promise<Reply> {
  const asked = await decodeIdentity(target, bindingIdentity);
  const binding = await admitBody(context, target, 'CREATE', bindingIdentity, asked, isDryRun(target));
  const name = stringAt(binding, 'metadata', 'name');
  const errors = target.kind.validate?.(binding) ?? [];
  if (errors.length > 0) throw invalid(target.kind, name, errors);
  const namespace = stringAt(binding, 'metadata', 'namespace');
  if (namespace !== '' && namespace !== target.namespace)
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  return bind(context, { ...target, kind: podKind, name, subresource: 'binding' }, binding);
}

async function bind(context: ApiContext, target: Target, binding: JsonObject): Promise<Reply> {
  const dryRun = isDryRun(target);
  const nodeName = stringAt(binding, 'target', 'name');
  const kind = stringAt(binding, 'target', 'kind');
  if (nodeName === '' || (kind !== '' && kind !== 'Node')) {
    throw badRequest('Binding "" is invalid: target: a Node must be named');
  }
  await changeObject(context, target, {
    part: 'binding',
    dryRun,
    change(pod) {
      const problem = bindingProblem(pod, target.name, nodeName);
      if (problem !== undefined) {
        throw conflict({ group: '', plural: 'pods/binding' }, target.name, problem);
      }
      ensureObject(pod, 'spec')['nodeName'] = nodeName;
      const annotations = stringMapAt(binding, 'metadata', 'annotations');
      if (Object.keys(annotations).length > 0) {
        Object.assign(ensureObject(pod.metadata, 'annotations'), annotations);
      }
      setScheduled(pod, context.clock.nowMs());
      return pod;
    },
  });
  return jsonReply({ ...success, code: 201 }, 201);
}

function bindingProblem(pod: JsonObject, name: string, nodeName: string): string | undefined {
  const boundTo = stringAt(pod, 'spec', 'nodeName');
  if (stringAt(pod, 'metadata', 'deletionTimestamp') !== '') {
    return `pod ${name} is being deleted, cannot be assigned to a host`;
  }
  if (objectsAt(pod, 'spec', 'schedulingGates').length > 0) {
    return `pod ${name} has non-empty .spec.schedulingGates`;
  }
  if (boundTo === '') return undefined;
  return `pod ${name} is already assigned to node ${JSON.stringify(boundTo || nodeName)}`;
}

function setScheduled(pod: JsonObject, nowMs: number): void {
  const status = ensureObject(pod, 'status');
  delete status['nominatedNodeName']; // where it was to be, as long as it was nowhere
  const others = objectsAt(status, 'conditions').filter((condition) => condition['type'] !== 'PodScheduled');
  status['conditions'] = [
    ...others,
    { type: 'PodScheduled', status: 'True', lastProbeTime: null, lastTransitionTime: rfc3339(nowMs) },
  ];
}

export async function evictPod(context: ApiContext, target: Target): Promise<Reply> {
  const asked = await decodeIdentity(target, evictionIdentity);
  const dryRun = isDryRun(target) || stringsAt(asked, 'deleteOptions', 'dryRun').includes('All');
  const eviction = await admitBody(context, target, 'CREATE', evictionIdentity, asked, dryRun);
  const options = objectAt(eviction, 'deleteOptions');
  const uid = stringAt(options, 'preconditions', 'uid');
  const isMeant = (pod: JsonObject) => uid === '' || stringAt(pod, 'metadata', 'uid') === uid;
  if (!dryRun) {
    await takeDisruption(context, target, parseEntry(requireEntry(context, target)));
    await changeObject(context, target, {
      part: 'status',
      dryRun,
      change: (pod) => (isMeant(pod) ? markDisrupted(pod, context.clock.nowMs()) : pod),
    });
  }
  await removeObject(context, target, {
    graceSeconds: numberAt(options, 'gracePeriodSeconds'),
    propagation: undefined,
    uid,
    resourceVersion: stringAt(options, 'preconditions', 'resourceVersion'),
    dryRun,
    admitted: true,
  });
  return jsonReply({ ...success, code: 201 }, 201);
}

const tokenSecondsMin = 600;
/** As kube-apiserver with `--service-account-max-token-expiration=8760h`: a token for longer is shortened, with a warning. */
const tokenSecondsMax = 24 * 60 * 60 * 365;
/** What may be asked for at all. */
const askedSecondsMax = 2 ** 32;
const tokenSecondsDefault = 3600;

/** TokenRequest: a token for a ServiceAccount, tied to a Pod where the request names one. */
export async function requestToken(context: ApiContext, target: Target): Promise<Reply> {
  const asked = await decodeIdentity(target, tokenRequestIdentity);
  const request = await admitBody(context, target, 'CREATE', tokenRequestIdentity, asked, isDryRun(target));
  const account = parseEntry(requireEntry(context, target));
  const spec = ensureObject(request, 'spec');
  const wantedSeconds = numberAt(spec, 'expirationSeconds') ?? tokenSecondsDefault;
  const seconds = lifetimeOf(wantedSeconds);
  const warnings =
    seconds < wantedSeconds
      ? [`requested expiration of ${wantedSeconds} seconds shortened to ${seconds} seconds`]
      : [];
  const pod = boundPod(context, target, objectAt(spec, 'boundObjectRef'));
  requireOwnPod(target, pod);
  const { token, expiresAtMs } = await context.tokens.issue(
    {
      namespace: target.namespace,
      serviceAccount: { name: target.name, uid: stringAt(account, 'metadata', 'uid') },
      pod: pod === undefined ? undefined : identityOf(pod),
      node: pod === undefined ? undefined : nodeOf(context, pod),
    },
    stringsAt(spec, 'audiences'),
    seconds,
  );
  const audiences = stringsAt(spec, 'audiences');
  return jsonReply(
    {
      ...request,
      metadata: {
        name: target.name,
        namespace: target.namespace,
        creationTimestamp: rfc3339(context.clock.nowMs()),
      },
      spec: {
        ...spec,
        expirationSeconds: seconds,
        audiences: audiences.length === 0 ? [context.tokens.issuer] : audiences,
      },
      status: { token, expirationTimestamp: rfc3339(expiresAtMs) },
    },
    201,
    { warnings },
  );
}

/** For how long a token is made, seconds. Throws StatusError 422. */
function lifetimeOf(seconds: number): number {
  const refuse = (detail: string): Error =>
    invalid(tokenRequestIdentity, '', [invalidField('spec.expirationSeconds', seconds, detail)]);
  if (seconds < tokenSecondsMin) throw refuse('may not specify a duration less than 10 minutes');
  if (seconds > askedSecondsMax) throw refuse('may not specify a duration larger than 2^32 seconds');
  return Math.min(seconds, tokenSecondsMax);
}

function identityOf(object: JsonObject): { readonly name: string; readonly uid: string } {
  return { name: stringAt(object, 'metadata', 'name'), uid: stringAt(object, 'metadata', 'uid') };
}

/** The node that the Pod is bound to, as far as it is known. */
function nodeOf(context: ApiContext, pod: JsonObject): ReturnType<typeof identityOf> | undefined {
  const entry = context.store.get(`/nodes/${stringAt(pod, 'spec', 'nodeName')}`);
  return entry === undefined ? undefined : identityOf(parseEntry(entry));
}

function boundPod(
  context: ApiContext,
  target: Target,
  reference: JsonObject | undefined,
): JsonObject | undefined {
  if (reference === undefined) return undefined;
  const name = stringAt(reference, 'name');
  const uid = stringAt(reference, 'uid');
  if (stringAt(reference, 'kind') !== 'Pod') {
    throw badRequest('spec.boundObjectRef.kind: Unsupported value: only Pod is supported');
  }
  const entry = context.store.get(`/pods/${target.namespace}/${name}`);
  if (entry === undefined) throw notFound({ group: '', plural: 'pods' }, name);
  const pod = parseEntry(entry);
  const podUid = stringAt(pod, 'metadata', 'uid');
  if (uid !== '' && uid !== podUid) {
    throw conflict(
      { group: '', plural: 'pods' },
      name,
      `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  }
  if (stringAt(pod, 'spec', 'serviceAccountName') !== target.name) {
    throw badRequest(
      `cannot bind token for serviceaccount ${JSON.stringify(target.name)} to pod running with different serviceaccount name.`,
    );
  }
  return pod;
}

/** A node agent gets tokens only for the Pods that run on it. */
function requireOwnPod(target: Target, pod: JsonObject | undefined): void {
  const { user } = target.request;
  if (!user.groups.includes('system:nodes')) return;
  const reason =
    pod === undefined
      ? 'node requested token not bound to a pod'
      : restrictNode(user, {
          verb: 'delete', // the rule that only looks at where the Pod runs
          group: '',
          plural: 'pods',
          subresource: '',
          name: stringAt(pod, 'metadata', 'name'),
          object: pod,
        });
  if (reason !== undefined) throw forbidden(target.kind, target.name, reason);
}
