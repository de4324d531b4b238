/** A name as the first search of a Pod makes it: "www.example.com.default.svc.cluster.local". */
export type FirstSearch = {
  /** Of the Pods that search so. */
  readonly namespace: string;
  /** The name as it was given. */
  readonly given: string;
};

/** Undefined: no search of a Pod begins with this name. */
export function firstSearchOf(name: string, zone: string): FirstSearch | undefined {
  const end = name.length - zone.length - '.svc.'.length;
  if (end <= 0 || !name.endsWith(`.svc.${zone}`)) return undefined;
  const dot = name.lastIndexOf('.', end - 1);
  return dot <= 0 ? undefined : { given: name.slice(0, dot), namespace: name.slice(dot + 1, end) };
}

/** The names that come behind the first, the last of them as it was given. `searches`: the Pod's whole list. */
export function laterSearches(given: string, searches: readonly string[]): readonly string[] {
  return [...searches.slice(1).map((search) => `${given}.${search}`), given];
}
