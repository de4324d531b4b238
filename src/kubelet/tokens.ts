import type { TokenRequest } from '../api/gen/authentication-v1.ts';
import type { Pod } from '../api/gen/core-v1.ts';
import type { Resource } from '../api/resource.ts';
import type { Clock } from '../base/clock.ts';
import type { ApiClient } from '../client/client.ts';
import { type TokenSource, tokenKey, tokenSourcesOf } from './volume-files.ts';

/** POSTed below a ServiceAccount. */
const tokenRequests: Resource<TokenRequest> = {
  group: '',
  version: 'v1',
  plural: 'serviceaccounts',
  kind: 'TokenRequest',
  namespaced: true,
};

/** A token is renewed when this much of its life has passed, so that Pods never see an expired one. */
const renewAfterShare = 0.8;

type Issued = { readonly token: string; readonly renewAtMs: number };

/** Service account tokens of the Pods' projected volumes, bound to the Pod. */
export type PodTokens = {
  /** Asks for the tokens that the Pod needs and that are missing or old. Returns when to come again, ms; undefined: never. */
  renew(pod: Pod, signal: AbortSignal): Promise<number | undefined>;
  get(podUid: string, source: TokenSource): string | undefined;
  release(podUid: string): void;
};

export function createPodTokens(client: ApiClient, clock: Clock): PodTokens {
  const byPod = new Map<string, Map<string, Issued>>();
  return {
    async renew(pod, signal) {
      const uid = pod.metadata?.uid ?? '';
      const issued = byPod.get(uid) ?? new Map<string, Issued>();
      byPod.set(uid, issued);
      let next: number | undefined;
      for (const source of tokenSourcesOf(pod)) {
        const key = tokenKey(source);
        let entry = issued.get(key);
        if (entry === undefined || entry.renewAtMs <= clock.nowMs()) {
          entry = await issue(client, pod, source, clock.nowMs(), signal);
          issued.set(key, entry);
        }
        next = Math.min(next ?? entry.renewAtMs, entry.renewAtMs);
      }
      return next;
    },
    get: (podUid, source) => byPod.get(podUid)?.get(tokenKey(source))?.token,
    release: (podUid) => void byPod.delete(podUid),
  };
}

async function issue(
  client: ApiClient,
  pod: Pod,
  source: TokenSource,
  nowMs: number,
  signal: AbortSignal,
): Promise<Issued> {
  const { name, namespace, uid } = pod.metadata ?? {};
  const account = pod.spec?.serviceAccountName ?? pod.spec?.serviceAccount ?? 'default';
  const answer = await client.create<TokenRequest>(
    tokenRequests,
    {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: account, namespace },
      spec: {
        ...(source.audience === undefined || source.audience === '' ? {} : { audiences: [source.audience] }),
        expirationSeconds: source.expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
      },
    },
    { subresource: 'token', signal },
  );
  const expiresMs = Date.parse(answer.status?.expirationTimestamp ?? '');
  const lifeMs = Number.isNaN(expiresMs) ? source.expirationSeconds * 1000 : expiresMs - nowMs;
  return { token: answer.status?.token ?? '', renewAtMs: nowMs + lifeMs * renewAfterShare };
}
