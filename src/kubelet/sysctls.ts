import type { Pod } from '../api/gen/core-v1.ts';
import { dottedSysctl } from '../api/kinds/pod-security.ts';

/** Kernel parameters that belong to one Pod and harm no other one. Kubernetes' own list. */
const safe: ReadonlySet<string> = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_wmem',
]);

/** The first kernel parameter of a Pod that no node lets a Pod set. */
export function forbiddenSysctl({ spec }: Pod): string | undefined {
  return spec?.securityContext?.sysctls?.find(({ name }) => !safe.has(dottedSysctl(name)))?.name;
}

/** As the runtime wants them: with dots. */
export function sysctlsOf({ spec }: Pod): Readonly<Record<string, string>> {
  const sysctls = spec?.securityContext?.sysctls ?? [];
  return Object.fromEntries(sysctls.map(({ name, value }) => [dottedSysctl(name), value]));
}
