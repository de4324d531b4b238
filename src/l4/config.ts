import type { Clock } from '../base/clock.ts';
import type { HealthAddress } from '../base/health-server.ts';
import type { KernelSetting, Nft, SettingFailure } from './apply.ts';
import type { Conntrack } from './conntrack.ts';

export type ProxyMode = 'auto' | 'nftables' | 'userspace';

export type ProxyConfig = {
  /** Name of the Node object that this process serves. */
  readonly nodeName: string;
  /** Ranges of all Pods. Their traffic keeps its source inside the cluster. */
  readonly clusterCidrs: readonly string[];
  /** Ranges of ClusterIPs, to which those of the API's ServiceCIDRs come. Addresses in them without a rule are refused. */
  readonly serviceCidrs: readonly string[];
  /** undefined: no health and metrics server. */
  readonly healthAddress: HealthAddress | undefined;
  /** Least time from the start of one transaction to that of the next, ms. Changes in between are merged. */
  readonly syncIntervalMinMs: number;
  /** `auto`: nftables, or userspace where that cannot be used. */
  readonly mode: ProxyMode;
  /** Starts the process that carries TCP connections in userspace mode; undefined: this process does it. */
  readonly relayCommand: readonly string[] | undefined;
  /** How often the kernel's table is compared with ours, ms. Heals rules edited by hand. */
  readonly resyncIntervalMs: number;
};

export const proxyDefaults = {
  clusterCidrs: ['10.42.0.0/16'],
  serviceCidrs: ['10.43.0.0/16'],
  healthAddress: { host: '127.0.0.1', port: 10256 },
  mode: 'auto',
  relayCommand: undefined,
  syncIntervalMinMs: 5,
  resyncIntervalMs: 30_000,
} as const satisfies Partial<ProxyConfig>;

/** What the proxy does to the machine; replaced in tests. */
export type ProxyPorts = {
  readonly nft: Nft;
  readonly conntrack: Conntrack;
  readonly clock: Clock;
  readonly applySettings: (settings: readonly KernelSetting[]) => Promise<readonly SettingFailure[]>;
  /** Called once, when the rules first follow the API. */
  readonly onReady?: ((healthPort: number | undefined) => void) | undefined;
};
