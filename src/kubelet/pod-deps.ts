import type { Pod, Service } from '../api/gen/core-v1.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import type { Informer } from '../control/informer.ts';
import type { EventType } from '../control/recorder.ts';
import type { Cri } from './cri.ts';
import type { ClusterDns, DnsConfig } from './network-files.ts';
import type { NodePaths } from './pod-paths.ts';
import type { RegistryCheck } from './registry-check.ts';
import type { RuntimeView } from './runtime-view.ts';
import type { PodTokens } from './tokens.ts';
import type { SecurityFacts } from './unsupported.ts';
import type { WatchedObjects } from './watched-objects.ts';

/** What the node is, as its Pods see it. */
export type NodeFacts = SecurityFacts & {
  readonly name: string;
  readonly ips: readonly string[];
  readonly allocatable: Readonly<Record<string, string>>;
  readonly memoryCapacityBytes: number;
  readonly clusterDns: ClusterDns;
  /** The resolver settings of Pods with dnsPolicy Default. */
  readonly hostDns: DnsConfig;
  /** Parent of the Pods' control groups: "/fairlead/NAME/NODE". */
  readonly cgroupRoot: string;
};

export type ZeroLossOptions = {
  /** Longest wait until no EndpointSlice lists a Pod as ready any more, ms; at most half of the Pod's grace period. */
  readonly drainTimeoutMs: number;
  /** After that, for data planes to hear of it and for requests under way, ms. */
  readonly settleMs: number;
};

/** Waits until no data plane should send the Pod new connections. Resolves at the latest after `timeoutMs`. */
export type Drain = (pod: Pod, timeoutMs: number, signal: AbortSignal) => Promise<void>;

/** What every Pod's worker shares. */
export type PodDeps = {
  readonly client: ApiClient;
  readonly cri: Cri;
  readonly view: RuntimeView;
  readonly clock: Clock;
  readonly log: Logger;
  readonly paths: NodePaths;
  readonly node: NodeFacts;
  readonly services: Informer<Service>;
  readonly watched: WatchedObjects;
  readonly tokens: PodTokens;
  readonly registryReachable: RegistryCheck;
  readonly event: (pod: Pod, type: EventType, reason: string, message: string) => void;
  readonly drain: Drain;
};
