import type { AdmissionAttributes, Operation } from '../api/admission/attributes.ts';
import type { Form } from '../api/admission/match.ts';
import { labelsOf, requestFacts } from '../api/admission/review.ts';
import { type RootType, rootTypeOf } from '../api/apply/typed-value.ts';
import { type AccessCheck, CelAuthorizer } from '../api/cel/authorizer.ts';
import { type Budget, budgetFor } from '../api/cel/bounded.ts';
import { celJson } from '../api/cel/json-value.ts';
import { decodeAs, decodeObject } from '../api/decode.ts';
import { stringAt } from '../api/fields.ts';
import type { Kind } from '../api/kind.ts';
import type { Json, JsonObject } from '../api/object.ts';
import { internalError, notFound, StatusError } from '../api/status.ts';
import type { ApiContext, Target } from './context.ts';
import type { User } from './exchange.ts';
import { convertBetween, equivalentsOf } from './equivalent-kinds.ts';
import { isDryRun } from './dry-run.ts';

import { parseEntry } from './objects.ts';

/** One request on its way through admission, with all that webhooks and policies may ask about it. */
export type AdmissionRequest = {
  readonly attributes: AdmissionAttributes;
  /** Collects texts for Warning headers. */
  readonly warnings: string[];
  /** Adds to what the audit log says of the request. */
  annotate(key: string, value: string): void;
  readonly signal: AbortSignal;
  /** Other groups and versions under which the resource is served. */
  readonly otherForms: () => readonly Form[];
  /** Of the object's Namespace. Throws StatusError 404 when there is none. */
  readonly namespaceLabels: () => Readonly<Record<string, string>>;
  readonly namespaceObject: () => JsonObject | undefined;
  /** What expressions call `authorizer`: the rights of who asks. */
  readonly authorizer: () => CelAuthorizer;
  /** The object in a form that `otherForms` told. */
  show(object: JsonObject | undefined, form: Form): Promise<JsonObject | undefined>;
  /** What the object is made of in that form, for merging. */
  readonly rootType: (form: Form) => RootType;
  /** What a webhook made of a shown object, in the request's own form. Throws StatusError 500 when it is none. */
  read(value: Json, form: Form, maker: 'webhook' | 'policy'): Promise<JsonObject>;
  /** Does to an object that was changed what had been done to the client's: defaults, admission, what clients cannot set. */
  settle(object: JsonObject): JsonObject;
};

/** The type of a subresource's body where that is not the resource's own. */
export type BodyKind = Pick<Kind, 'group' | 'version' | 'kind'> & { readonly schema: string };

export type Subject = {
  readonly operation: Operation;
  readonly object: JsonObject | undefined;
  readonly oldObject: JsonObject | undefined;
  /** Default: the resource's own kind. */
  readonly body?: BodyKind;
  readonly dryRun: boolean;
  readonly options?: JsonObject;
  /** @default the object as it is */
  readonly settle?: (object: JsonObject) => JsonObject;
};

export function admissionRequest(context: ApiContext, target: Target, subject: Subject): AdmissionRequest {
  const { kind, request } = target;
  const { operation, object, oldObject, body, dryRun } = subject;
  const name = target.name || stringAt(object, 'metadata', 'name');
  const isNamespace = kind.group === '' && kind.plural === 'namespaces';
  const namespaceName =
    isNamespace && target.name !== '' ? target.name : kind.namespaced ? target.namespace : '';
  const { group, version, plural } = kind;
  const identity = body ?? kind;
  const attributes: AdmissionAttributes = {
    operation,
    kind: { group: identity.group, version: identity.version, kind: identity.kind },
    resource: { group, version, plural },
    subresource: target.subresource,
    namespace: namespaceName,
    name,
    user: request.user,
    object,
    oldObject,
    options: subject.options,
    dryRun,
  };
  const namespaceObject = (): JsonObject | undefined => {
    if (namespaceName === '') return undefined;
    const entry = context.store.get(`/namespaces/${namespaceName}`);
    return entry === undefined ? undefined : parseEntry(entry);
  };
  let equivalents: readonly Kind[] | undefined;
  const others = (): readonly Kind[] => (equivalents ??= equivalentsOf(kind, context.customs));
  const kindOf = (form: Form): Kind =>
    others().find(
      ({ group: g, version: v, plural: p }) =>
        g === form.resource.group && v === form.resource.version && p === form.resource.plural,
    ) ?? kind;
  return {
    attributes,
    warnings: request.warnings,
    annotate: (key, value) => request.audit?.annotate(key, value),
    signal: request.signal,
    otherForms: () => others().map((other) => formOf(other, body)),
    namespaceObject,
    authorizer: () =>
      new CelAuthorizer(accessOf(context, request.user), {
        group,
        plural,
        subresource: target.subresource,
        namespace: namespaceName,
        name,
      }),
    namespaceLabels: () => {
      const namespace = namespaceObject();
      if (namespace === undefined) throw notFound({ group: '', plural: 'namespaces' }, namespaceName);
      return labelsOf(namespace);
    },
    async show(shown, form) {
      if (shown === undefined || body !== undefined) return shown;
      return convertBetween(context, shown, kind, kindOf(form), request.signal);
    },
    rootType: (form) => body?.schema ?? rootTypeOf(kindOf(form)),
    async read(value, form, maker) {
      const shownKind = kindOf(form);
      const answer = decodeAnswer(value, body, shownKind, maker);
      return body === undefined ? convertBetween(context, answer, shownKind, kind, request.signal) : answer;
    },
    settle: subject.settle ?? ((settled) => settled),
  };
}

/** The rights of a user, and of any service account. */
function accessOf(context: ApiContext, user: User): AccessCheck {
  return {
    allows: (question) => context.authorizer.allows(user, question),
    ofServiceAccount: (namespace, name) => accessOf(context, serviceAccountUser(namespace, name)),
  };
}

function serviceAccountUser(namespace: string, name: string): User {
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
  return { name: `system:serviceaccount:${namespace}:${name}`, uid: '', groups, extra: {} };
}

function formOf(kind: Kind, body: BodyKind | undefined): Form {
  const { group, version, plural } = kind;
  const identity = body ?? kind;
  return {
    kind: { group: identity.group, version: identity.version, kind: identity.kind },
    resource: { group, version, plural },
  };
}

function decodeAnswer(
  value: Json,
  body: BodyKind | undefined,
  kind: Kind,
  maker: 'webhook' | 'policy',
): JsonObject {
  // As in Kubernetes: what a webhook adds and nobody knows is left out, what a policy adds is its mistake.
  const fieldValidation = maker === 'policy' ? 'Strict' : 'Ignore';
  try {
    return body === undefined
      ? decodeObject(kind, value, fieldValidation).object
      : decodeAs(body, body.schema, value, fieldValidation).object;
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    throw internalError(`a ${maker} made an object that cannot be read: ${error.message}`);
  }
}

export type ExpressionData = {
  readonly variables: Readonly<Record<string, unknown>>;
  readonly budget: Budget;
};

const dataOf = new WeakMap<AdmissionAttributes, Map<string, ExpressionData>>();

/**
 * What expressions see of the request, in the form that a rule names. Made once for each state of the object; the budget
 * is shared by all expressions over it. `params` only counts for the budget.
 */
export async function expressionData(
  request: AdmissionRequest,
  form: Form,
  params?: JsonObject,
  attributes: AdmissionAttributes = request.attributes,
): Promise<ExpressionData> {
  const { group, version } = form.resource;
  const key = `${group}/${version}`;
  const byForm = dataOf.get(attributes) ?? new Map<string, ExpressionData>();
  dataOf.set(attributes, byForm);
  const known = byForm.get(key);
  if (known !== undefined && params === undefined) return known;
  const object = await request.show(attributes.object, form);
  const oldObject = await request.show(attributes.oldObject, form);
  const variables = known?.variables ?? {
    object: celJson(object ?? null),
    oldObject: celJson(oldObject ?? null),
    request: celJson(requestFacts(attributes, form, '')),
    namespaceObject: celJson(request.namespaceObject() ?? null),
    authorizer: request.authorizer(),
  };
  const data = { variables, budget: budgetFor(object, oldObject, params) };
  if (params === undefined) byForm.set(key, data);
  return data;
}

/** The options of a write as a review shows them. */
export function writeOptions(target: Target, kind: 'CreateOptions' | 'UpdateOptions'): JsonObject {
  const { query } = target.request;
  const fieldManager = query.get('fieldManager') ?? '';
  const fieldValidation = query.get('fieldValidation') ?? '';
  return {
    kind,
    apiVersion: 'meta.k8s.io/v1',
    ...(isDryRun(target) ? { dryRun: ['All'] } : {}),
    ...(fieldManager === '' ? {} : { fieldManager }),
    ...(fieldValidation === '' ? {} : { fieldValidation }),
  };
}
