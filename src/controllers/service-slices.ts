import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import { type ObjectKey, objectKey } from '../api/object.ts';
import { endpointSlices } from '../api/resource.ts';
import type { Informers } from '../control/informers.ts';

const serviceNameLabel = 'kubernetes.io/service-name';
const indexName = 'named-service';

function serviceOf({ metadata }: EndpointSlice): readonly ObjectKey[] {
  const name = metadata?.labels?.[serviceNameLabel] ?? '';
  return name === '' ? [] : [objectKey(metadata?.namespace, name)];
}

/** Index of all EndpointSlices, whoever manages them, by their Service; `onChange` gets the Services whose slices changed. */
export function slicesByService(informers: Informers, onChange: (key: ObjectKey) => void): void {
  const informer = informers.of(endpointSlices);
  informer.addIndex(indexName, serviceOf);
  informer.onChange((_key, now, old) => {
    const keys = new Set([now, old].flatMap((slice) => (slice === undefined ? [] : serviceOf(slice))));
    for (const key of keys) onChange(key);
  });
}

export function slicesOfService(informers: Informers, key: ObjectKey): Iterable<EndpointSlice> {
  return informers.of(endpointSlices).byIndex(indexName, key);
}
