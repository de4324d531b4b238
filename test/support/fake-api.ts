import { stringAt } from '../../src/api/fields.ts';
import {
  isJsonObject,
  type Json,
  type JsonObject,
  type KubeObject,
  objectKey,
} from '../../src/api/object.ts';
import { applyStrategicPatch } from '../../src/api/patch/strategic.ts';
import { apiVersionOf, namespaces, type Resource, resourcePath } from '../../src/api/resource.ts';
import { type Clock, rfc3339 } from '../../src/base/clock.ts';
import {
  type ApiClient,
  ApiError,
  type ApiErrorCode,
  type ListOptions,
  type WatchEvent,
} from '../../src/client/client.ts';
import { FakeClock } from './fake-clock.ts';
import { discoveryDocuments } from './fake-discovery.ts';
import { selected } from './fake-selectors.ts';

type Stored = { readonly resource: Resource; readonly object: JsonObject };
type LogEntry = {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly stored: Stored;
};

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'replace' | 'patch' | 'delete';

/** One write that reached the server, as `create pods default/web` or `patch pods/status default/web`. */
export type Write = string;

/**
 * An API server in memory behind the ApiClient interface: versions, conflicts, watches, finalizers, graceful Pod
 * deletion, generations, status and binding subresources. No defaults, no validation; of admission only that
 * nothing is made in a namespace that goes.
 * Every object given out is frozen, so a test fails where code changes a shared one.
 */
export class FakeApi implements ApiClient {
  readonly writes: Write[] = [];
  readonly #objects = new Map<string, Stored>();
  readonly #log: LogEntry[] = [];
  readonly #wakeups = new Set<() => void>();
  readonly #failures: { readonly verb: Verb; readonly plural: string; readonly error: ApiError }[] = [];
  readonly #clock: Clock;
  readonly #raw = new Map<string, string>();
  #version = 100;
  #oldest = 0;
  #down = false;
  #generation = 0; // of watch connections; a change ends them all

  constructor(options: { readonly clock?: Clock; readonly resources?: readonly Resource[] } = {}) {
    this.#clock = options.clock ?? new FakeClock();
    for (const [path, body] of discoveryDocuments(options.resources ?? [])) this.#raw.set(path, body);
  }

  // === for tests ===

  /** Puts an object there as it is, past all rules. Its uid and creationTimestamp are made up if missing. */
  seed<T extends KubeObject>(resource: Resource<T>, ...objects: readonly T[]): void {
    for (const object of objects) {
      const copy = structuredClone(object) as unknown as JsonObject;
      this.#commit('ADDED', resource, this.#named(resource, copy));
    }
  }

  /** All objects of a resource, in order of their keys. */
  objects<T extends KubeObject>(resource: Resource<T>, namespace?: string): T[] {
    const prefix = `${resourcePath(resource, undefined)} `;
    return [...this.#objects]
      .filter(([path]) => path.startsWith(prefix))
      .filter(([, { object }]) => namespace === undefined || metadataOf(object)['namespace'] === namespace)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { object }]) => object as unknown as T);
  }

  /** The object of this key, undefined if there is none. */
  find<T extends KubeObject>(resource: Resource<T>, key: string): T | undefined {
    return this.#objects.get(`${resourcePath(resource, undefined)} ${key}`)?.object as unknown as
      | T
      | undefined;
  }

  /** Merges `patch` into an object as another client would, status included. */
  update<T extends KubeObject>(resource: Resource<T>, key: string, patch: Json): void {
    const old = this.find(resource, key) as unknown as JsonObject | undefined;
    if (old === undefined) throw new Error(`no ${resource.plural} ${key}`);
    this.#commitOrFinish(resource, merged(old, patch) as JsonObject, old);
  }

  /** Removes an object at once, finalizers or not. */
  remove(resource: Resource, key: string): void {
    const stored = this.#objects.get(`${resourcePath(resource, undefined)} ${key}`);
    if (stored !== undefined) this.#commit('DELETED', resource, structuredClone(stored.object));
  }

  /** The next call of this verb on this resource fails so. */
  failNext(verb: Verb, resource: Resource, code: ApiErrorCode, message = `injected ${code}`): void {
    this.#failures.push({ verb, plural: resource.plural, error: new ApiError(code, message) });
  }

  /** Ends all watches; while `down`, every call fails with Unavailable. */
  disconnect(options: { readonly down: boolean } = { down: false }): void {
    this.#down = options.down;
    this.#generation++;
    this.#wake();
  }

  reconnect(): void {
    this.#down = false;
  }

  /** Forgets history: watches from any version before now get Expired. */
  compact(): void {
    this.#oldest = this.#version;
    this.#log.length = 0;
    this.#wake();
  }

  /** What `raw(path)` answers. */
  setRaw(path: string, body: string): void {
    this.#raw.set(path, body);
  }

  // === impl ApiClient ===

  async get<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
  ): Promise<T> {
    await this.#enter('get', resource);
    return this.#require(resource, namespace, name) as unknown as T;
  }

  async list<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}) {
    await this.#enter('list', resource);
    options.signal?.throwIfAborted();
    const items = this.objects(resource, options.namespace).filter((object) => selected(object, options));
    return { items, resourceVersion: String(this.#version) };
  }

  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    resourceVersion: string,
    options: ListOptions = {},
  ): AsyncGenerator<WatchEvent<T>> {
    await this.#enter('watch', resource);
    const { signal } = options;
    signal?.throwIfAborted();
    const generation = this.#generation;
    const path = resourcePath(resource, undefined);
    let version = Number(resourceVersion);
    const seen = new Set<string>();
    for (const [key, { object }] of this.#objects) {
      if (key.startsWith(`${path} `) && versionOf(object) <= version && selected(object, options))
        seen.add(key);
    }
    while (generation === this.#generation) {
      if (version < this.#oldest)
        throw new ApiError('Expired', 'too old resource version', { httpStatus: 410 });
      for (const { version: at, type, stored } of this.#log.filter((entry) => entry.version > version)) {
        version = at;
        if (resourcePath(stored.resource, undefined) !== path) continue;
        const event = selectedEvent(
          type,
          stored.object,
          options,
          seen,
          `${path} ${keyOfJson(stored.object)}`,
        );
        if (event !== undefined) yield event as unknown as WatchEvent<T>;
      }
      // What came while the events above were taken has woken nobody.
      if ((this.#log.at(-1)?.version ?? 0) <= version) await this.#changed(signal);
      signal?.throwIfAborted();
    }
  }

  async create<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: { readonly subresource?: string | undefined } = {},
  ): Promise<T> {
    await this.#enter('create', resource);
    const copy = this.#named(resource, structuredClone(object) as unknown as JsonObject);
    const metadata = metadataOf(copy);
    if (options.subresource === 'binding') return this.#bind(resource, copy) as unknown as T;
    if (metadata['name'] === undefined && typeof metadata['generateName'] === 'string') {
      metadata['name'] = `${metadata['generateName']}${(++this.#version).toString(36).padStart(5, '0')}`;
    }
    const key = keyOfJson(copy);
    this.writes.push(`create ${resource.plural} ${key}`);
    if (this.find(resource, key) !== undefined) {
      throw new ApiError('AlreadyExists', `${resource.plural} "${key}" already exists`, {
        httpStatus: 409,
      });
    }
    const namespace = this.find(namespaces, stringAt(metadata, 'namespace'));
    if (namespace?.metadata?.deletionTimestamp !== undefined) {
      throw new ApiError(
        'Forbidden',
        `unable to create new content in namespace ${namespace.metadata.name}`,
        {
          httpStatus: 403,
        },
      );
    }
    return this.#commit('ADDED', resource, copy) as unknown as T;
  }

  async replace<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: { readonly subresource?: string | undefined } = {},
  ): Promise<T> {
    await this.#enter('replace', resource);
    const copy = this.#named(resource, structuredClone(object) as unknown as JsonObject);
    const key = keyOfJson(copy);
    this.writes.push(`replace ${resource.plural}${slashed(options.subresource)} ${key}`);
    const old = this.#require(resource, object.metadata?.namespace, object.metadata?.name ?? '');
    const wanted = metadataOf(copy)['resourceVersion'];
    if (wanted !== undefined && wanted !== metadataOf(old)['resourceVersion']) throw conflict(resource, key);
    return this.#write(resource, copy, old, options.subresource) as unknown as T;
  }

  async patch<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
    kind: 'merge' | 'strategic' | 'json',
    body: unknown,
    options: { readonly subresource?: string | undefined } = {},
  ): Promise<T> {
    await this.#enter('patch', resource);
    if (kind === 'json') throw new Error('the fake has no JSON patch');
    const key = objectKey(namespace, name);
    this.writes.push(`patch ${resource.plural}${slashed(options.subresource)} ${key}`);
    const old = this.#require(resource, namespace, name);
    const patch = JSON.parse(JSON.stringify(body)) as Json;
    const uid = metadataOf(patch)['uid'];
    if (uid !== undefined && uid !== metadataOf(old)['uid']) throw conflict(resource, key);
    const version = metadataOf(patch)['resourceVersion'];
    if (version !== undefined && version !== metadataOf(old)['resourceVersion'])
      throw conflict(resource, key);
    const next =
      kind === 'strategic'
        ? applyStrategicPatch(schemaOf(resource), old, patch)
        : (merged(old, patch) as JsonObject);
    return this.#write(resource, next, old, options.subresource) as unknown as T;
  }

  async delete(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    options: {
      readonly uid?: string | undefined;
      readonly gracePeriodSeconds?: number | undefined;
      readonly propagationPolicy?: string | undefined;
    } = {},
  ): Promise<void> {
    await this.#enter('delete', resource);
    const key = objectKey(namespace, name);
    this.writes.push(`delete ${resource.plural} ${key}`);
    const object = structuredClone(this.#require(resource, namespace, name));
    const metadata = metadataOf(object);
    if (options.uid !== undefined && options.uid !== metadata['uid']) throw conflict(resource, key);
    const finalizers = new Set(Array.isArray(metadata['finalizers']) ? metadata['finalizers'] : []);
    if (options.propagationPolicy === 'Foreground') finalizers.add('foregroundDeletion');
    if (options.propagationPolicy === 'Orphan') finalizers.add('orphan');
    metadata['finalizers'] = [...finalizers];
    const spec = isJsonObject(object['spec']) ? object['spec'] : {};
    const graceful =
      resource.plural === 'pods' && spec['nodeName'] !== undefined && options.gracePeriodSeconds !== 0;
    const held =
      finalizers.size > 0 || (resource.plural === 'namespaces' && spec['finalizers'] !== undefined);
    if (!graceful && !held) {
      this.#commit('DELETED', resource, object);
      return;
    }
    if (metadata['deletionTimestamp'] !== undefined && !(graceful && !held)) return;
    metadata['deletionTimestamp'] = rfc3339(this.#clock.nowMs());
    if (graceful) metadata['deletionGracePeriodSeconds'] = options.gracePeriodSeconds ?? 30;
    if (resource.plural === 'namespaces') object['status'] = { phase: 'Terminating' };
    this.#commit('MODIFIED', resource, object);
  }

  async raw(path: string): Promise<string> {
    await Promise.resolve();
    const body = this.#raw.get(path);
    if (body === undefined) throw new ApiError('NotFound', `no ${path}`, { httpStatus: 404 });
    return body;
  }

  close(): void {
    this.disconnect();
  }

  async #enter(verb: Verb, resource: Resource): Promise<void> {
    await Promise.resolve(); // as a real client: never in the caller's own turn
    if (this.#down) throw new ApiError('Unavailable', 'the fake server is down');
    const at = this.#failures.findIndex(
      (failure) => failure.verb === verb && failure.plural === resource.plural,
    );
    const [failure] = at === -1 ? [] : this.#failures.splice(at, 1);
    if (failure !== undefined) throw failure.error;
  }

  #require(resource: Resource, namespace: string | undefined, name: string): JsonObject {
    const object = this.find(resource, objectKey(namespace, name)) as unknown as JsonObject | undefined;
    if (object === undefined) {
      throw new ApiError('NotFound', `${resource.plural} "${name}" not found`, { httpStatus: 404 });
    }
    return object;
  }

  #named(resource: Resource, object: JsonObject): JsonObject {
    return { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
  }

  #bind(resource: Resource, binding: JsonObject): JsonObject {
    const { namespace, name } = metadataOf(binding) as { namespace?: string; name?: string };
    this.writes.push(`create ${resource.plural}/binding ${objectKey(namespace, name ?? '')}`);
    const pod = structuredClone(this.#require(resource, namespace, name ?? ''));
    const target = isJsonObject(binding['target']) ? binding['target'] : {};
    const spec = isJsonObject(pod['spec']) ? pod['spec'] : {};
    if (spec['nodeName'] !== undefined) throw conflict(resource, keyOfJson(pod));
    pod['spec'] = { ...spec, nodeName: target['name'] ?? null };
    const status = isJsonObject(pod['status']) ? pod['status'] : {};
    pod['status'] = { ...status, conditions: [{ type: 'PodScheduled', status: 'True' }] };
    this.#commit('MODIFIED', resource, pod);
    return { kind: 'Status', status: 'Success' };
  }

  #write(resource: Resource, next: JsonObject, old: JsonObject, subresource: string | undefined): JsonObject {
    const object = structuredClone(next);
    if (subresource === 'status') {
      const kept = structuredClone(old);
      if (object['status'] === undefined) delete kept['status'];
      else kept['status'] = object['status'];
      return this.#commitOrFinish(resource, kept, old);
    }
    if (subresource === undefined && old['status'] !== undefined && hasStatusSubresource(resource)) {
      object['status'] = structuredClone(old['status']);
    }
    const metadata = metadataOf(object);
    for (const field of ['uid', 'creationTimestamp', 'deletionTimestamp', 'generation'] as const) {
      const value = metadataOf(old)[field];
      if (value === undefined) delete metadata[field];
      else metadata[field] = value;
    }
    if (JSON.stringify(object['spec']) !== JSON.stringify(old['spec'])) {
      metadata['generation'] = Number(metadata['generation'] ?? 1) + 1;
    }
    return this.#commitOrFinish(resource, object, old);
  }

  /** An object that waits for its deletion goes when its last finalizer does. */
  #commitOrFinish(resource: Resource, object: JsonObject, old: JsonObject): JsonObject {
    const { deletionTimestamp, finalizers, deletionGracePeriodSeconds } = metadataOf(object);
    const spec = isJsonObject(object['spec']) ? object['spec'] : {};
    const namespaceHeld =
      resource.plural === 'namespaces' && Array.isArray(spec['finalizers']) && spec['finalizers'].length > 0;
    const held = namespaceHeld || (Array.isArray(finalizers) && finalizers.length > 0);
    const graceful = Number(deletionGracePeriodSeconds ?? 0) > 0;
    if (deletionTimestamp !== undefined && !held && !graceful)
      return this.#commit('DELETED', resource, object);
    if (JSON.stringify(object) === JSON.stringify(old)) return old; // a write without change makes no version
    return this.#commit('MODIFIED', resource, object);
  }

  #commit(type: LogEntry['type'], resource: Resource, object: JsonObject): JsonObject {
    const version = ++this.#version;
    const metadata = metadataOf(object);
    metadata['resourceVersion'] = String(version);
    metadata['uid'] ??= `uid-${version}`;
    metadata['creationTimestamp'] ??= rfc3339(this.#clock.nowMs());
    metadata['generation'] ??= 1;
    object['metadata'] = metadata;
    const stored = { resource, object: frozen(object) };
    const path = `${resourcePath(resource, undefined)} ${keyOfJson(object)}`;
    if (type === 'DELETED') this.#objects.delete(path);
    else this.#objects.set(path, stored);
    this.#log.push({ version, type, stored });
    this.#wake();
    return object;
  }

  #wake(): void {
    const wakeups = [...this.#wakeups];
    this.#wakeups.clear();
    for (const wakeup of wakeups) wakeup();
  }

  #changed(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wakeup = (): void => {
        signal?.removeEventListener('abort', wakeup);
        this.#wakeups.delete(wakeup);
        resolve();
      };
      this.#wakeups.add(wakeup);
      signal?.addEventListener('abort', wakeup, { once: true });
    });
  }
}

function conflict(resource: Resource, key: string): ApiError {
  return new ApiError('Conflict', `${resource.plural} "${key}": the object has been modified`, {
    httpStatus: 409,
  });
}

function slashed(subresource: string | undefined): string {
  return subresource === undefined ? '' : `/${subresource}`;
}

function hasStatusSubresource(resource: Resource): boolean {
  return !['events', 'endpoints', 'endpointslices', 'configmaps', 'secrets', 'leases'].includes(
    resource.plural,
  );
}

function metadataOf(object: Json): JsonObject {
  const metadata = isJsonObject(object) ? object['metadata'] : undefined;
  return isJsonObject(metadata) ? metadata : {};
}

function keyOfJson(object: JsonObject): string {
  const { namespace, name } = metadataOf(object) as { namespace?: string; name?: string };
  return objectKey(namespace, name ?? '');
}

function versionOf(object: JsonObject): number {
  return Number(metadataOf(object)['resourceVersion'] ?? 0);
}

/** JSON merge patch, RFC 7396. */
/** The name of the type that lists are merged by. */
function schemaOf({ group, version, kind }: Resource): string {
  return `${group === '' ? 'core' : group.replace(/\..*$/, '')}/${version}.${kind}`;
}

function merged(target: Json, patch: Json): Json {
  if (!isJsonObject(patch)) return structuredClone(patch);
  const result: JsonObject = isJsonObject(target) ? { ...structuredClone(target) } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key] ?? null, value);
  }
  return result;
}

function frozen(object: JsonObject): JsonObject {
  for (const value of Object.values(object)) {
    if (typeof value === 'object' && value !== null) frozen(value as JsonObject);
  }
  return Object.freeze(object);
}

function selectedEvent(
  type: LogEntry['type'],
  object: JsonObject,
  options: ListOptions,
  seen: Set<string>,
  key: string,
): { readonly type: LogEntry['type']; readonly object: JsonObject } | undefined {
  const inside = type !== 'DELETED' && selected(object, options);
  const was = seen.has(key);
  if (inside) seen.add(key);
  else seen.delete(key);
  if (inside) return { type: was ? 'MODIFIED' : 'ADDED', object };
  // A watch from an old version has not seen what was there before: better one DELETED too many.
  return was || (type === 'DELETED' && selected(object, options)) ? { type: 'DELETED', object } : undefined;
}
