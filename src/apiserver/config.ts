import type { EtcdStoreOptions } from '../store/etcd.ts';
import type { AuditLogOptions } from './audit/log.ts';

/** Everything that an API server is told at start. Frozen; read from options in cmd/apiserver.ts. */
export type ApiServerConfig = {
  /** Where state.db lies (`store/state.db` below it). Used by the SQLite store alone. */
  readonly dataDir: string;
  readonly store: 'sqlite' | 'memory' | EtcdPlace;
  /** Addresses to listen on, `10.41.0.2:6443`; port 0 takes a free one. */
  readonly listen: readonly ListenAddress[];
  /** Listening TCP sockets that the parent process handed down. */
  readonly listenFds: readonly number[];
  /** The address under which Pods reach this server; written to the Endpoints of default/kubernetes. */
  readonly advertiseAddress: string;
  /** Default: the port of the first `listen` address. */
  readonly advertisePort?: number;
  /**
   * Ranges of ClusterIPs: one, or one of each family. The first address of the first is the Service default/kubernetes, and
   * its family the one that Services get that ask for none.
   */
  readonly serviceCidrs: readonly string[];
  readonly clusterDomain: string;
  readonly nodePortRange: { readonly first: number; readonly last: number };
  readonly pki: ApiServerPki;
  /** Undefined: no audit log. */
  readonly audit?: AuditLogOptions;
  readonly limits: ApiServerLimits;
};

/** An etcd that other API servers may share. */
export type EtcdPlace = Pick<EtcdStoreOptions, 'endpoints' | 'tls' | 'prefix'>;

export type ListenAddress = { readonly host: string; readonly port: number };

/** PEM texts, so that whoever has just made them need not write files first. */
export type ApiServerPki = {
  /** Signs client certificates, serving certificates of kubelets, and is what Pods are told to trust. */
  readonly caCert: string;
  readonly cert: string;
  readonly key: string;
  /** Presented to kubelets. */
  readonly kubeletClientCert: string;
  readonly kubeletClientKey: string;
  /** EC P-256 key that signs service account tokens. */
  readonly serviceAccountKey: string;
  readonly serviceAccountPublicKey: string;
};

export type ApiServerLimits = {
  /** A body must have arrived after so long, ms. Beyond it: 408. */
  readonly bodyTimeoutMs: number;
  /** A request that neither watches nor streams is given up after so long, ms. Beyond it: 504. */
  readonly requestTimeoutMs: number;
  /** Requests being worked on at a time, watches and streams not counted. Beyond it: 429. */
  readonly inFlightMax: number;
  /** Open watches and streams. Beyond it: 429. */
  readonly streamsMax: number;
  /** Unsent bytes of one watch. Beyond it the watch is closed, and the client watches again from where it was. */
  readonly watchBufferBytesMax: number;
  /** Least time that a watch without timeoutSeconds is kept, ms; the upper bound is twice as much. */
  readonly watchTimeoutMinMs: number;
  /** A watch that asked for bookmarks gets one so often, ms. */
  readonly bookmarkIntervalMs: number;
  /** Time to connect to a kubelet, ms. */
  readonly kubeletConnectTimeoutMs: number;
  /** Events are removed so long after their last occurrence, ms; as in Kubernetes an hour. */
  readonly eventTtlMs: number;
};

export const apiServerLimits: ApiServerLimits = {
  bodyTimeoutMs: 30_000,
  requestTimeoutMs: 60_000,
  inFlightMax: 600,
  streamsMax: 10_000,
  watchBufferBytesMax: 8 * 1024 * 1024,
  watchTimeoutMinMs: 30 * 60_000,
  bookmarkIntervalMs: 60_000,
  kubeletConnectTimeoutMs: 10_000,
  eventTtlMs: 60 * 60_000,
};

export const apiServerDefaults = {
  store: 'sqlite',
  listen: [{ host: '127.0.0.1', port: 6443 }],
  listenFds: [],
  advertiseAddress: '127.0.0.1',
  serviceCidrs: ['10.43.0.0/16'],
  clusterDomain: 'cluster.local',
  nodePortRange: { first: 30_000, last: 32_767 },
  limits: apiServerLimits,
} as const satisfies Partial<ApiServerConfig>;

export const serverVersion = {
  major: '1',
  minor: '36',
  gitVersion: 'v1.36.0+fairlead.0.1.0',
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: '',
  compiler: 'node',
} as const;

/** `host:port` or `[v6]:port`. Undefined when it is neither. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = found?.[1] ?? found?.[2];
  const port = Number(found?.[3]);
  return host === undefined || port > 65_535 ? undefined : { host, port };
}

/** `30000-32767`. Undefined when it is no range of ports. */
export function parsePortRange(text: string): { first: number; last: number } | undefined {
  const found = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  const first = Number(found?.[1]);
  const last = Number(found?.[2]);
  return first >= 1 && last <= 65_535 && first <= last ? { first, last } : undefined;
}
