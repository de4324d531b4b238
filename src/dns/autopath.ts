/** A name as the first search of a Pod makes it: "www.example.com.default.svc.cluster.local". */
export type FirstSearch = {
  /** Of the Pods that search so. */
  readonly namespace: string;
  /** The names that such a Pod would ask for next, the last of them the name as it was given. */
  readonly next: readonly string[];
};

/**
 * Undefined: no search of a Pod begins with this name. The search list is that of dnsPolicy ClusterFirst without
 * additions: NAMESPACE.svc.ZONE, svc.ZONE, ZONE.
 */
export function firstSearchOf(name: string, zone: string): FirstSearch | undefined {
  const end = name.length - zone.length - '.svc.'.length;
  if (end <= 0 || !name.endsWith(`.svc.${zone}`)) return undefined;
  const dot = name.lastIndexOf('.', end - 1);
  if (dot <= 0) return undefined;
  const given = name.slice(0, dot);
  return { namespace: name.slice(dot + 1, end), next: [`${given}.svc.${zone}`, `${given}.${zone}`, given] };
}
