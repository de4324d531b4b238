import { randomInt, randomUUID } from 'node:crypto';
import { objectsAt, stringAt, stringMapAt } from '../../api/fields.ts';
import { apiServiceKind, localCondition } from '../../api/kinds/apiservice.ts';
import type { Json, JsonObject } from '../../api/object.ts';
import { groupVersions } from '../../api/registry.ts';
import { StatusError } from '../../api/status.ts';
import { rfc3339 } from '../../base/clock.ts';
import { aborted } from '../../base/lifetime.ts';
import { isStoreError } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { definitionsPrefix } from '../custom-resources/registry.ts';
import { remoteVersion } from '../discovery.ts';
import { parseEntry, templateOf, templateOfEntry } from '../objects.ts';
import type { Backend } from '../proxy-location.ts';
import { resolveService } from '../service-endpoints.ts';
import { getFromApi } from './ask.ts';
import { readDocuments } from './documents.ts';
import { apiServicesPrefix, type RemoteApi } from './registry.ts';

/** Keeps the list of APIServices: those of this server's own group versions, and whether the others answer. */

/** An APIService that answers is asked again so often, ms; also how old its part of discovery gets. */
const recheckMs = 30_000;
/** One that does not answer, ms. */
const retryMs = 1_000;
const checkTimeoutMs = 5_000;
/** Largest list of resources of another server, bytes. */
const discoveryBytesMax = 4 * 1024 * 1024;

const automanaged = 'kube-aggregator.kubernetes.io/automanaged';

export async function runAggregation(context: ApiContext, signal: AbortSignal): Promise<void> {
  const { store, clock } = context;
  let wake = Promise.withResolvers<void>();
  const onEvents = (): void => wake.resolve();
  const watches = [definitionsPrefix, apiServicesPrefix].map((prefix) =>
    store.watch(prefix, store.revision, onEvents),
  );
  const end = aborted(signal);
  try {
    while (!signal.aborted) {
      wake = Promise.withResolvers();
      await ensureLocal(context);
      const answers = await Promise.all(context.aggregation.all().map((api) => check(context, api, signal)));
      const cancel = clock.after(answers.includes(false) ? retryMs : recheckMs, onEvents);
      await Promise.race([wake.promise, end]);
      cancel();
    }
  } finally {
    for (const watching of watches) watching.stop();
  }
}

/** Makes the APIServices of what this server serves, and removes those of definitions that are gone. */
export async function ensureLocal(context: ApiContext): Promise<void> {
  const { store, clock } = context;
  const custom = context.customs.all();
  const builtIn = groupVersions().length;
  const wanted = new Map(
    groupVersions(custom).map(({ group, version }, at): [string, JsonObject] => [
      `${apiServicesPrefix}${version}.${group}`,
      localObject(group, version, at < builtIn ? 'onstart' : 'true', rfc3339(clock.nowMs())),
    ]),
  );
  const writes: Promise<unknown>[] = [];
  for (const entry of store.list(apiServicesPrefix).entries) {
    const isKept = wanted.delete(entry.key);
    if (isKept || stringMapAt(parseEntry(entry), 'metadata', 'labels')[automanaged] !== 'true') continue;
    writes.push(store.delete(entry.key, templateOfEntry(entry), entry.revision));
  }
  for (const [key, object] of wanted) writes.push(store.put(key, templateOf(apiServiceKind, object), 0));
  for (const outcome of await Promise.allSettled(writes)) {
    // Another server over the same store was first.
    if (outcome.status === 'rejected' && !isRace(outcome.reason)) throw outcome.reason;
  }
}

function isRace(error: unknown): boolean {
  return isStoreError(error, 'Exists') || isStoreError(error, 'Conflict') || isStoreError(error, 'Missing');
}

function localObject(group: string, version: string, managed: string, now: string): JsonObject {
  return {
    metadata: {
      name: `${version}.${group}`,
      uid: randomUUID(),
      creationTimestamp: now,
      labels: { [automanaged]: managed },
    },
    spec: {
      ...(group === '' ? {} : { group }),
      groupPriorityMinimum: group === '' ? 18_000 : group.includes('.') && managed === 'true' ? 1000 : 17_000,
      version,
      versionPriority: /^v\d+$/.test(version) ? 100 : 15,
    },
    status: { conditions: [{ ...localCondition, lastTransitionTime: now }] },
  };
}

type Finding = { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string };

/** Asks the server for its resources, and writes down whether it answered. True: it did. */
async function check(context: ApiContext, api: RemoteApi, signal: AbortSignal): Promise<boolean> {
  const finding = await ask(context, api, signal);
  if (signal.aborted) return true;
  if (finding.status === 'False') {
    const { current } = api.discovery;
    api.discovery.current = { ...current, isCurrent: false };
  }
  await record(context, api, finding);
  return finding.status === 'True';
}

async function ask(context: ApiContext, api: RemoteApi, signal: AbortSignal): Promise<Finding> {
  const { namespace, name } = api.service;
  const where = `https://${api.serverName}:${api.service.port}/apis/${api.group}/${api.version}`;
  try {
    const backend = resolveService(context.store, api.service, (below) => randomInt(below));
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(checkTimeoutMs)]);
    const list = await getResources(api, backend, inTime);
    api.discovery.current = remoteVersion(api.group, api.version, list);
    await describe(context, api, backend, inTime);
    return { status: 'True', reason: 'Passed', message: 'all checks passed' };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (!(error instanceof StatusError)) {
      const message = `failing or missing response from ${where}: ${text}`;
      return { status: 'False', reason: 'FailedDiscoveryCheck', message };
    }
    return error.status.code === 404
      ? {
          status: 'False',
          reason: 'ServiceNotFound',
          message: `service/${name} in "${namespace}" is not present`,
        }
      : { status: 'False', reason: 'MissingEndpoints', message: text };
  }
}

/** Its OpenAPI is a convenience: a server that cannot tell is available all the same. */
async function describe(
  context: ApiContext,
  api: RemoteApi,
  backend: Backend,
  signal: AbortSignal,
): Promise<void> {
  const { documents } = api;
  try {
    documents.current = await readDocuments(api, backend, documents.current, signal);
  } catch (error) {
    context.log.debug('an aggregated API server does not tell its OpenAPI', { api: api.key, error });
  }
}

/** The list of resources. Rejects when there is none. */
async function getResources(api: RemoteApi, backend: Backend, signal: AbortSignal): Promise<Json> {
  const path = `/apis/${api.group}/${api.version}`;
  const { status, body } = await getFromApi(api, backend, path, signal, {
    bytesMax: discoveryBytesMax,
    etag: '',
  });
  if (status !== 200) throw new Error(`bad status ${status}`);
  try {
    return JSON.parse(body.toString()) as Json;
  } catch (cause) {
    throw new Error('the answer is no JSON', { cause });
  }
}

async function record(context: ApiContext, api: RemoteApi, finding: Finding): Promise<void> {
  const entry = context.store.get(api.key);
  if (entry === undefined) return;
  const object = parseEntry(entry);
  const conditions = objectsAt(object, 'status', 'conditions');
  const before = conditions.find(({ type }) => type === 'Available');
  const same = (field: keyof Finding): boolean => stringAt(before, field) === finding[field];
  if (same('status') && same('reason') && same('message')) return;
  const now = rfc3339(context.clock.nowMs());
  const lastTransitionTime = same('status') ? stringAt(before, 'lastTransitionTime') : now;
  const others = conditions.filter(({ type }) => type !== 'Available');
  const status = { conditions: [...others, { type: 'Available', ...finding, lastTransitionTime }] };
  try {
    await context.store.put(entry.key, templateOf(apiServiceKind, { ...object, status }), entry.revision);
  } catch (error) {
    if (!isRace(error)) throw error; // it was changed meanwhile, and is looked at again for that
  }
}
