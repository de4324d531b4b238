import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import { endpointSlices } from '../../api/resource.ts';
import { type ApiClient, isApiError } from '../../client/client.ts';
import type { SliceWrite } from './fill.ts';

/** Returns the slice as it is now; undefined: deleted. */
export async function writeSlice(
  client: ApiClient,
  { kind, slice }: SliceWrite,
  signal: AbortSignal,
): Promise<EndpointSlice | undefined> {
  if (kind === 'create') return client.create(endpointSlices, slice, { signal });
  if (kind === 'replace') return client.replace(endpointSlices, slice, { signal });
  const { namespace, name = '' } = slice.metadata ?? {};
  try {
    await client.delete(endpointSlices, namespace, name, { signal });
  } catch (error) {
    if (!isApiError(error, 'NotFound')) throw error;
  }
  return undefined;
}
