import type { Pod } from '../api/gen/core-v1.ts';
import type { ObjectKey } from '../api/object.ts';
import { ipToBytes, parseIp } from '../base/ip.ts';
import { addressKey } from './records.ts';

type PodNames = {
  readonly namespace: string;
  readonly addresses: readonly string[];
  readonly isOwn: boolean;
};

/** The Pods' addresses: whose a query is, and whether a Pod's name is that of one. */
export class PodTable {
  readonly #pods = new Map<ObjectKey, PodNames>();
  /** Namespaces by address, newest last: for a moment an address may be that of a Pod that went and of the next. */
  readonly #byAddress = new Map<string, readonly { readonly key: ObjectKey; readonly pod: PodNames }[]>();
  readonly #namespaceByClient = new Map<number, string>();
  readonly #scopes = new Map<string, number>();
  /** Grows with every change. */
  version = 0;

  get size(): number {
    return this.#pods.size;
  }

  /** `undefined`: the Pod is gone. One that has ended has no name. */
  set(key: ObjectKey, pod: Pod | undefined): void {
    const next = pod && namesOf(pod);
    const old = this.#pods.get(key);
    if (JSON.stringify(next) === JSON.stringify(old)) return;
    this.version += 1;
    for (const address of old?.addresses ?? []) {
      const rest = (this.#byAddress.get(address) ?? []).filter((each) => each.key !== key);
      if (rest.length === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, rest);
      this.#updateClient(address);
    }
    if (next === undefined) {
      this.#pods.delete(key);
      return;
    }
    this.#pods.set(key, next);
    for (const address of next.addresses) {
      this.#byAddress.set(address, [...(this.#byAddress.get(address) ?? []), { key, pod: next }]);
      this.#updateClient(address);
    }
  }

  /** Whether a Pod of the namespace has this address. */
  has(namespace: string, address: Uint8Array): boolean {
    return (this.#byAddress.get(addressKey(address)) ?? []).some(({ pod }) => pod.namespace === namespace);
  }

  /** A number for the namespace of a client, see `clientOf`; 0: no Pod with an IPv4 address of its own. */
  scopeOfClient(client: number): number {
    const namespace = this.#namespaceByClient.get(client);
    return namespace === undefined ? 0 : this.scopeOf(namespace);
  }

  /** The same number for a namespace. Bounded by the namespaces that have ever had a Pod or been asked for and exist. */
  scopeOf(namespace: string): number {
    let scope = this.#scopes.get(namespace);
    if (scope === undefined) this.#scopes.set(namespace, (scope = this.#scopes.size + 1));
    return scope;
  }

  #updateClient(address: string): void {
    if (address.length !== 4) return; // clients are told apart by their whole address in IPv4 only
    const client = Buffer.from(address, 'latin1').readInt32LE(0);
    const own = (this.#byAddress.get(address) ?? []).findLast(({ pod }) => pod.isOwn);
    if (own === undefined) this.#namespaceByClient.delete(client);
    else this.#namespaceByClient.set(client, own.pod.namespace);
  }
}

function namesOf(pod: Pod): PodNames | undefined {
  const { phase, podIPs, podIP } = pod.status ?? {};
  if (phase === 'Succeeded' || phase === 'Failed') return undefined;
  const texts = podIPs?.map(({ ip }) => ip) ?? [podIP];
  const addresses = texts.flatMap((text) => {
    const ip = parseIp(text ?? '');
    return ip === undefined ? [] : [addressKey(ipToBytes(ip))];
  });
  if (addresses.length === 0) return undefined;
  return { namespace: pod.metadata?.namespace ?? '', addresses, isOwn: pod.spec?.hostNetwork !== true };
}
