import type { ObjectMeta } from '../api/gen/meta-v1.ts';
import type { KubeObject } from '../api/object.ts';
import { type Resource, resourcePath } from '../api/resource.ts';
import { assert } from '../base/assert.ts';
import { type Logger, silentLogger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import type { Timing } from './backoff.ts';
import { createInformer } from './create-informer.ts';
import type { Informer } from './informer.ts';

/** One informer a resource for all controllers of a process. */
export type Informers = {
  /** The shared informer of all objects of the resource. New ones may be asked for only before `run`. */
  of<T extends KubeObject>(resource: Resource<T>): Informer<T>;
  /** Those that have been asked for. */
  all(): readonly { readonly resource: Resource; readonly informer: Informer<KubeObject> }[];
  whenSynced(signal: AbortSignal): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
};

export function createInformers(
  client: ApiClient,
  options: { readonly log?: Logger; readonly timing?: Timing } = {},
): Informers {
  // The one cast of this file: each entry's type is that of the resource under whose path it stands.
  const informers = new Map<
    string,
    { readonly resource: Resource; readonly informer: Informer<KubeObject> }
  >();
  let running = false;
  return {
    of<T extends KubeObject>(resource: Resource<T>): Informer<T> {
      const path = resourcePath(resource, undefined);
      const known = informers.get(path);
      if (known !== undefined) return known.informer as unknown as Informer<T>;
      assert(!running, `informer of ${path} asked for after run`);
      const informer = createInformer(client, resource, {
        transform: withoutManagedFields,
        log: options.log ?? silentLogger,
        timing: options.timing,
      });
      informers.set(path, { resource, informer: informer as unknown as Informer<KubeObject> });
      return informer;
    },
    all: () => [...informers.values()],
    async whenSynced(signal) {
      for (const { informer } of informers.values()) await informer.whenSynced(signal);
    },
    async run(signal) {
      running = true;
      await Promise.all([...informers.values()].map(({ informer }) => informer.run(signal)));
    },
  };
}

/** managedFields are often half of an object and no controller reads them; a PUT without them leaves them as they are. */
export function withoutManagedFields<T extends KubeObject>(object: T): T {
  const metadata = object.metadata as { managedFields?: ObjectMeta['managedFields'] } | undefined;
  if (metadata?.managedFields !== undefined) delete metadata.managedFields;
  return object;
}
