import type { ApiClient } from '../client/client.ts';

/** A client with the rights of a kubeconfig's current context. */
export async function connectAdmin(kubeconfig: string): Promise<ApiClient> {
  const [{ createApiClient }, { loadKubeconfig }] = await Promise.all([
    import('../client/http.ts'),
    import('../client/kubeconfig.ts'),
  ]);
  return createApiClient(await loadKubeconfig(kubeconfig), { userAgent: 'fairlead-cli' });
}
