import { serviceUnavailable } from '../api/status.ts';
import { isStoreError } from '../store/store.ts';
import type { ApiContext } from './context.ts';
import type { ApiRequest } from './exchange.ts';

/**
 * Where several API servers share a store: waits until reads show what the client may expect. Without a resourceVersion
 * that is all that any server has acknowledged, with one at least that state, with "0" whatever we have. A store that
 * only we write to is always fresh. Throws StatusError 503 when the store cannot tell.
 */
export async function catchUp(context: ApiContext, request: Pick<ApiRequest, 'query'>): Promise<void> {
  const { store } = context;
  if (store.catchUp === undefined) return;
  const version = request.query.get('resourceVersion') ?? '';
  if (version === '0') return;
  const revision = /^\d{1,15}$/.test(version) ? Number(version) : undefined;
  try {
    await store.catchUp(revision);
  } catch (error) {
    if (!isStoreError(error, 'Failed')) throw error;
    // A version beyond what there is gets the answer that lists and watches have for it.
    if (revision === undefined) throw serviceUnavailable(`the store is not reachable: ${error.message}`);
  }
}
