import { stringAt } from '../api/fields.ts';
import type { Kind, Subresource } from '../api/kind.ts';
import { bindingKind } from '../api/kinds/binding.ts';
import { componentStatusKind } from '../api/kinds/componentstatus.ts';
import { findKind } from '../api/registry.ts';
import { badRequest, deleted, forbidden, methodNotAllowed, pathNotFound } from '../api/status.ts';
import type { RemoteApi } from './aggregation/registry.ts';
import { applyObject, isApply } from './apply.ts';
import { getComponent, listComponents } from './component-statuses.ts';
import type { ApiContext, Target } from './context.ts';
import { deleteCollection, deleteObject } from './delete.ts';
import { type ApiRequest, jsonReply, type Reply } from './exchange.ts';
import { catchUp } from './freshness.ts';
import { formOf, renderObject, renderUnstored } from './forms.ts';
import { impersonate } from './impersonate.ts';
import { getObject, listObjects } from './list.ts';
import { answerPath } from './meta-paths.ts';
import { acceptsJson, mentionsProtobuf, parseAccept } from './negotiate.ts';
import { parseEntry } from './objects.ts';
import { patchedObject, readPatch } from './patch.ts';
import { streamLog } from './pod-streams.ts';
import { proxyRequest } from './proxy.ts';
import { attributesOf, refusalText } from './rbac.ts';
import { parseRequest, type RequestInfo, selectedName, type Verb } from './request-info.ts';
import { answerReview } from './reviews.ts';
import {
  bindNamedPod,
  bindPod,
  evictPod,
  getScale,
  patchScale,
  putScale,
  requestToken,
} from './subresources.ts';
import { getUsage, listUsage } from './usage/serve.ts';
import { watchObjects } from './watch.ts';
import { isDryRun } from './dry-run.ts';
import { changeObject, createObject, decodeRequest, type WritablePart, type Written } from './write.ts';

type Handler = (context: ApiContext, target: Target) => Reply | Promise<Reply>;
type Routes = Partial<Readonly<Record<Verb, Handler>>>;

/** What can be done with a stored kind. */
const objectRoutes: Routes = {
  get: getObject,
  list: listObjects,
  watch: watchObjects,
  create: postObject,
  update: (context, target) => putObject(context, target, 'main'),
  patch: (context, target) => patchObject(context, target, 'main'),
  delete: deleteObject,
  deletecollection: deleteCollection,
};

const reviewRoutes: Routes = { create: answerReview };
const bindingRoutes: Routes = { create: bindNamedPod };
const usageRoutes: Routes = { get: getUsage, list: listUsage };
const componentRoutes: Routes = { get: getComponent, list: listComponents };

/** Subresources that show the whole object and write a part of it. */
function partRoutes(part: WritablePart): Routes {
  return {
    get: getObject,
    update: (context, target) => putObject(context, target, part),
    patch: (context, target) => patchObject(context, target, part),
  };
}

const subresourceRoutes: Readonly<Record<Subresource, Routes>> = {
  status: partRoutes('status'),
  ephemeralcontainers: partRoutes('ephemeralcontainers'),
  resize: partRoutes('resize'),
  approval: partRoutes('approval'),
  finalize: { update: (context, target) => putObject(context, target, 'finalize') },
  scale: { get: getScale, update: putScale, patch: patchScale },
  log: { get: streamLog },
  binding: { create: bindPod },
  eviction: { create: evictPod },
  token: { create: requestToken },
  // These come as upgraded connections, see upgrade.ts; a plain request is a mistake of the client.
  exec: { get: needsUpgrade, create: needsUpgrade },
  attach: { get: needsUpgrade, create: needsUpgrade },
  portforward: { get: needsUpgrade, create: needsUpgrade },
  proxy: {
    get: proxyRequest,
    create: proxyRequest,
    update: proxyRequest,
    patch: proxyRequest,
    delete: proxyRequest,
    unknown: proxyRequest, // OPTIONS and the like are the back end's to answer
  },
};

/** Answers one request. Throws StatusError. */
export async function route(context: ApiContext, request: ApiRequest, info: RequestInfo): Promise<Reply> {
  if (info.kind === 'path') {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      throw methodNotAllowed({ group: '', plural: '' }, info.verb);
    const [, root, group = '', version = '', ...more] = request.path.replace(/\/$/, '').split('/');
    const remote =
      root === 'apis' && more.length === 0 ? context.aggregation.find(group, version) : undefined;
    return remote === undefined ? answerPath(context, request) : relay(context, remote, request);
  }
  await catchUp(context, request);
  const remote = context.aggregation.find(info.group, info.version);
  if (remote !== undefined) return relay(context, remote, request);
  const { kind, target } = resolveTarget(context, request, info);
  const routes = routesOf(kind, target);
  const handler = routes[info.verb];
  const namedPost = info.verb === 'create' && target.name !== '' && target.subresource === '';
  if (handler === undefined || namedPost) throw methodNotAllowed(kind, info.verb);
  if (kind.deprecated !== undefined) request.warnings.push(kind.deprecated);
  return handler(context, await withEncoder(target));
}

async function relay(context: ApiContext, api: RemoteApi, request: ApiRequest): Promise<Reply> {
  const { relayToApi } = await import('./aggregation/relay.ts');
  return relayToApi(context, api, request);
}

/** Loads the protobuf encoder for the clients that want it. */
async function withEncoder(target: Target): Promise<Target> {
  const { audit, headers } = target.request;
  if (!mentionsProtobuf(headers.accept)) return target;
  // The audit log keeps JSON, which clients that speak protobuf offer beside it.
  if (audit?.keepsAnswer === true && parseAccept(headers.accept).some(({ type }) => acceptsJson(type)))
    return target;
  return { ...target, protobuf: await import('./protobuf-encode.ts') };
}

/** Takes the path apart. Throws StatusError 400 for a path that no client may send. */
export function parseInfo(request: ApiRequest): RequestInfo {
  const info = parseRequest(request.method, request.path, request.query);
  if (info === undefined) throw badRequest('the path of the request is malformed');
  return info;
}

/** The request as the user that it may act as. Throws StatusError 403. */
export function authorize(context: ApiContext, request: ApiRequest, info: RequestInfo): ApiRequest {
  const user = impersonate(context.authorizer, request);
  const asOther = user === request.user ? request : { ...request, user };
  if (asOther !== request) request.audit?.actsAs(user);
  requireAllowed(context, asOther, info);
  return asOther;
}

function requireAllowed(context: ApiContext, { user, audit, query }: ApiRequest, info: RequestInfo): void {
  const asked = attributesOf(info, selectedName(info, query));
  if (context.authorizer.allows(user, asked)) {
    audit?.decided('allow', '');
    return;
  }
  const detail = refusalText(user, asked);
  audit?.decided('forbid', detail);
  if (asked.kind === 'path') throw forbidden({ group: '', plural: '' }, '', detail);
  throw forbidden(asked, asked.name, detail);
}

export function resolveTarget(
  context: ApiContext,
  request: ApiRequest,
  info: RequestInfo & { kind: 'resource' },
): { readonly kind: Kind; readonly target: Target } {
  const { group, version, plural, namespace, name, subresource, rest } = info;
  const kind = findKind(group, version, plural) ?? context.customs.find(group, version, plural);
  if (kind === undefined) throw pathNotFound();
  const needsNamespace = kind.namespaced && (name !== '' || info.verb === 'create');
  if (needsNamespace && namespace === '') {
    throw badRequest('an empty namespace may not be set when a resource name is provided or on creation');
  }
  if (!kind.namespaced && namespace !== '' && plural !== 'namespaces') throw pathNotFound();
  return { kind, target: { kind, namespace, name, subresource, rest, request } };
}

function routesOf(kind: Kind, target: Target): Routes {
  if (kind.ephemeral === true) return kind === bindingKind ? bindingRoutes : reviewRoutes;
  if (kind.readOnly === true) {
    if (target.subresource !== '') return {};
    return kind === componentStatusKind ? componentRoutes : usageRoutes;
  }
  if (target.subresource === '') return objectRoutes;
  const known = kind.subresources.find((subresource) => subresource === target.subresource);
  if (known === undefined || (target.rest.length > 0 && known !== 'proxy')) throw pathNotFound();
  return subresourceRoutes[known];
}

async function postObject(context: ApiContext, target: Target): Promise<Reply> {
  const form = formOf(target);
  const { object, warnings } = await decodeRequest(target);
  const written = await createObject(context, target, object, { dryRun: isDryRun(target) });
  return written.kind === 'dry-run'
    ? renderUnstored(context, target, form, written.object, 201, warnings)
    : renderObject(context, target, form, written.entry, 201, warnings);
}

async function putObject(
  context: ApiContext,
  target: Target,
  part: WritablePart | 'finalize',
): Promise<Reply> {
  const { object, warnings } = await decodeRequest(target);
  const written = await changeObject(context, target, {
    part,
    dryRun: isDryRun(target),
    change: () => structuredClone(object),
  });
  return writtenReply(context, target, written, warnings);
}

async function patchObject(context: ApiContext, target: Target, part: WritablePart): Promise<Reply> {
  if (isApply(target)) {
    const { written, warnings } = await applyObject(context, target, part);
    return writtenReply(context, target, written, warnings);
  }
  if (target.request.query.has('force')) {
    throw badRequest(
      'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
    );
  }
  const patch = await readPatch(target, target.kind.schema);
  let warnings: readonly string[] = [];
  const written = await changeObject(context, target, {
    part,
    dryRun: isDryRun(target),
    change(old) {
      // Without the client's own resourceVersion there is no precondition, so the old one must not become it.
      const { resourceVersion } = old.metadata;
      const patched = patchedObject(target, patch, old, (texts) => {
        warnings = texts;
      });
      const metadata = patched['metadata'];
      if (
        typeof metadata === 'object' &&
        metadata !== null &&
        !Array.isArray(metadata) &&
        metadata['resourceVersion'] === resourceVersion
      ) {
        delete metadata['resourceVersion'];
      }
      return patched;
    },
  });
  return writtenReply(context, target, written, warnings);
}

function writtenReply(
  context: ApiContext,
  target: Target,
  written: Written,
  warnings: readonly string[],
): Reply {
  const form = formOf(target);
  switch (written.kind) {
    case 'dry-run':
      return renderUnstored(context, target, form, written.object, written.created ? 201 : 200, warnings);
    case 'stored':
      return renderObject(context, target, form, written.entry, written.created ? 201 : 200, warnings);
    case 'removed': {
      const uid = stringAt(parseEntry(written.entry), 'metadata', 'uid');
      return form.as === 'object'
        ? renderObject(context, target, form, written.entry, 200, warnings)
        : jsonReply(deleted(target.kind, target.name, uid));
    }
  }
}

function needsUpgrade(): never {
  throw badRequest('Upgrade request required');
}
