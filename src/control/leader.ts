import type { Lease } from '../api/gen/coordination-v1.ts';
import { leases } from '../api/resource.ts';
import { rfc3339Micro } from '../base/clock.ts';
import { type Logger, silentLogger } from '../base/log.ts';
import { type ApiClient, ApiError, isApiError } from '../client/client.ts';
import type { Timing } from './backoff.ts';
import { systemTiming } from './reconciler.ts';

export type LeaderOptions = {
  readonly namespace: string;
  readonly name: string;
  /** Unique to this process. */
  readonly identity: string;
  /** Others may take over this long after the last renewal. @default 15000 */
  readonly leaseDurationMs?: number;
  /** The leader gives up when it could not renew for this long; less than leaseDurationMs. @default 10000 */
  readonly renewDeadlineMs?: number;
  /** Pause between tries. @default 2000 */
  readonly retryPeriodMs?: number;
  readonly log?: Logger;
  readonly timing?: Timing;
};

/** The Lease could not be renewed in time. */
export class LostLeaseError extends Error {
  override readonly name = 'LostLeaseError';
}

/**
 * Waits until this process holds the Lease, then runs `lead` and keeps renewing. Rejects with a LostLeaseError when leadership
 * is lost: `lead` has ended then, for another process may lead already. Gives the Lease back when `signal` aborts.
 */
export async function runAsLeader(
  client: ApiClient,
  options: LeaderOptions,
  signal: AbortSignal,
  lead: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { clock } = options.timing ?? systemTiming;
  const log = options.log ?? silentLogger;
  const retryPeriodMs = options.retryPeriodMs ?? 2000;
  const candidate = createCandidate(client, options);
  while (!(await candidate.tryHold(signal))) {
    try {
      await clock.sleep(retryPeriodMs, signal);
    } catch {
      return; // told to stop before leading
    }
  }
  log.info('leading', { lease: `${options.namespace}/${options.name}`, identity: options.identity });

  const scope = new AbortController();
  const leading = AbortSignal.any([signal, scope.signal]);
  const work = lead(leading).finally(() => scope.abort());
  work.catch(() => {}); // awaited below; a renewal may be under way when it fails
  let renewedAtMs = clock.monotonicMs();
  let lost = false;
  while (!leading.aborted) {
    try {
      await clock.sleep(retryPeriodMs, leading);
    } catch {
      break;
    }
    if (await candidate.tryHold(leading)) renewedAtMs = clock.monotonicMs();
    else if (clock.monotonicMs() - renewedAtMs > (options.renewDeadlineMs ?? 10_000)) {
      lost = !leading.aborted;
      scope.abort();
    }
  }
  await work;
  if (lost)
    throw new LostLeaseError(
      `lost the lease ${options.namespace}/${options.name}: another process may lead now`,
    );
  await candidate.release();
}

function createCandidate(client: ApiClient, options: LeaderOptions) {
  const { clock } = options.timing ?? systemTiming;
  const leaseDurationMs = options.leaseDurationMs ?? 15_000;
  // Renewals of others are timed by when *we* saw them: clocks of two machines may differ.
  let seen: { readonly version: string | undefined; readonly atMs: number } | undefined;
  let held: Lease | undefined;

  function leaseOf(previous: Lease | undefined): Lease {
    const now = rfc3339Micro(clock.nowMs());
    const mine = previous?.spec?.holderIdentity === options.identity;
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...previous?.metadata, namespace: options.namespace, name: options.name },
      spec: {
        holderIdentity: options.identity,
        leaseDurationSeconds: Math.round(leaseDurationMs / 1000),
        acquireTime: mine ? previous?.spec?.acquireTime : now,
        renewTime: now,
        leaseTransitions: (previous?.spec?.leaseTransitions ?? 0) + (mine || previous === undefined ? 0 : 1),
      },
    };
  }

  return {
    /** True if the Lease is ours now. Failures count as false. */
    async tryHold(signal: AbortSignal): Promise<boolean> {
      try {
        const current = await getOrUndefined(client, options, signal);
        if (current === undefined) {
          held = await client.create(leases, leaseOf(undefined), { signal });
          return true;
        }
        const version = current.metadata?.resourceVersion;
        if (seen?.version !== version) seen = { version, atMs: clock.monotonicMs() };
        const holder = current.spec?.holderIdentity ?? '';
        const durationMs = (current.spec?.leaseDurationSeconds ?? 15) * 1000;
        const free = holder === '' || clock.monotonicMs() - (seen?.atMs ?? 0) > durationMs;
        if (holder !== options.identity && !free) return false;
        held = await client.replace(leases, leaseOf(current), { signal });
        return true;
      } catch (error) {
        if (error instanceof ApiError) return false;
        throw error;
      }
    },
    async release(): Promise<void> {
      if (held === undefined) return;
      const spec = { ...held.spec, holderIdentity: '', leaseDurationSeconds: 1 };
      try {
        await client.replace(leases, { ...held, spec });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error; // the next leader waits for the Lease to run out instead
      }
    },
  };
}

async function getOrUndefined(
  client: ApiClient,
  options: LeaderOptions,
  signal: AbortSignal,
): Promise<Lease | undefined> {
  try {
    return await client.get(leases, options.namespace, options.name, signal);
  } catch (error) {
    if (isApiError(error, 'NotFound')) return undefined;
    throw error;
  }
}
