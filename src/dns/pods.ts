import type { Pod } from '../api/gen/core-v1.ts';
import type { ObjectKey } from '../api/object.ts';
import { ipToBytes, parseIp } from '../base/ip.ts';
import { clientOfBytes } from './client-number.ts';
import { addressKey } from './records.ts';

/** Search lists that differ in what dnsConfig adds; Pods with one more are not answered ahead. */
export const searchListsMax = 255;
const noList = -1;

type PodNames = {
  readonly namespace: string;
  readonly addresses: readonly string[];
  /** The whole search list; undefined: it does not begin as the cluster's does, or the address is its node's. */
  readonly searches: readonly string[] | undefined;
};

/** Who a client is, as far as its search list tells. */
export type Searcher = {
  /** Of its namespace. Not 0. */
  readonly scope: number;
  /** Of its search list, below `searchListsMax`. */
  readonly list: number;
};

/** The Pods' addresses: whose a query is, and whether a Pod's name is that of one. */
export class PodTable {
  readonly #zone: string;
  readonly #pods = new Map<ObjectKey, PodNames>();
  /** By address, newest last: for a moment an address may be that of a Pod that went and of the next. */
  readonly #byAddress = new Map<string, readonly { readonly key: ObjectKey; readonly pod: PodNames }[]>();
  readonly #searchers = new Map<number, Searcher>();
  readonly #scopes = new Map<string, number>();
  /** What comes behind NAMESPACE.svc.ZONE, by number and back. */
  readonly #lists = new Map<string, number>();
  readonly #searchesOfList: (readonly string[])[] = [];
  /** Grows with every change. */
  version = 0;

  constructor(zone: string) {
    this.#zone = zone;
  }

  get size(): number {
    return this.#pods.size;
  }

  /** `undefined`: the Pod is gone. One that has ended has no name. */
  set(key: ObjectKey, pod: Pod | undefined): void {
    const next = pod && namesOf(pod, this.#zone);
    const old = this.#pods.get(key);
    if (JSON.stringify(next) === JSON.stringify(old)) return;
    this.version += 1;
    for (const address of old?.addresses ?? []) {
      const rest = (this.#byAddress.get(address) ?? []).filter((each) => each.key !== key);
      if (rest.length === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, rest);
      this.#updateSearcher(address);
    }
    if (next === undefined) {
      this.#pods.delete(key);
      return;
    }
    this.#pods.set(key, next);
    for (const address of next.addresses) {
      this.#byAddress.set(address, [...(this.#byAddress.get(address) ?? []), { key, pod: next }]);
      this.#updateSearcher(address);
    }
  }

  /** Whether a Pod of the namespace has this address. */
  has(namespace: string, address: Uint8Array): boolean {
    return (this.#byAddress.get(addressKey(address)) ?? []).some(({ pod }) => pod.namespace === namespace);
  }

  /** The Pod behind a client's number, see `clientOf`; undefined: none with an address of its own that searches as Pods do. */
  searcher(peer: number): Searcher | undefined {
    return this.#searchers.get(peer);
  }

  /** A number for a namespace. Bounded by the namespaces that have ever had a Pod or been asked for and exist. */
  scopeOf(namespace: string): number {
    let scope = this.#scopes.get(namespace);
    if (scope === undefined) this.#scopes.set(namespace, (scope = this.#scopes.size + 1));
    return scope;
  }

  /** The whole search list of Pods of a namespace that have the list of this number. */
  searches(namespace: string, list: number): readonly string[] {
    return [`${namespace}.svc.${this.#zone}`, ...(this.#searchesOfList[list] ?? [])];
  }

  #listOf(searches: readonly string[]): number {
    const rest = searches.slice(1);
    const key = rest.join(' ');
    const known = this.#lists.get(key);
    if (known !== undefined) return known;
    const list = this.#searchesOfList.length;
    if (list === searchListsMax) return noList;
    this.#searchesOfList.push(rest);
    this.#lists.set(key, list);
    return list;
  }

  #updateSearcher(address: string): void {
    const { peer } = clientOfBytes(Buffer.from(address, 'latin1'));
    const pods = this.#byAddress.get(address) ?? [];
    const searches = pods.findLast(({ pod }) => pod.searches !== undefined);
    const list = searches === undefined ? noList : this.#listOf(searches.pod.searches ?? []);
    if (searches === undefined || list === noList) this.#searchers.delete(peer);
    else this.#searchers.set(peer, { scope: this.scopeOf(searches.pod.namespace), list });
  }
}

/** The search list that the Pod's resolv.conf has by dnsPolicy and dnsConfig, as far as the Pod tells: nodes may add their own. */
export function searchesOfPod(pod: Pod, zone: string): readonly string[] {
  const namespace = pod.metadata?.namespace ?? 'default';
  const own = asksCluster(pod) ? [`${namespace}.svc.${zone}`, `svc.${zone}`, zone] : [];
  const added = pod.spec?.dnsConfig?.searches ?? [];
  return [...new Set([...own, ...added.map((search) => search.toLowerCase().replace(/\.$/, ''))])];
}

/** Whether the Pod's dnsPolicy leads to the cluster's DNS. */
export function asksCluster({ spec }: Pod): boolean {
  const { dnsPolicy = 'ClusterFirst', hostNetwork } = spec ?? {};
  return dnsPolicy === 'ClusterFirstWithHostNet' || (dnsPolicy === 'ClusterFirst' && hostNetwork !== true);
}

function namesOf(pod: Pod, zone: string): PodNames | undefined {
  const { phase, podIPs, podIP } = pod.status ?? {};
  if (phase === 'Succeeded' || phase === 'Failed') return undefined;
  const texts = podIPs?.map(({ ip }) => ip) ?? [podIP];
  const addresses = texts.flatMap((text) => {
    const ip = parseIp(text ?? '');
    return ip === undefined ? [] : [addressKey(ipToBytes(ip))];
  });
  if (addresses.length === 0) return undefined;
  const namespace = pod.metadata?.namespace ?? '';
  const searches = searchesOfPod(pod, zone);
  const isOwn = pod.spec?.hostNetwork !== true && searches[0] === `${namespace}.svc.${zone}`;
  return { namespace, addresses, searches: isOwn ? searches : undefined };
}
