/** Services × 4 endpoints of a given number, as the proxy would read them, and the two rulesets made of them. */
import type { Service } from '../../src/api/gen/core-v1.ts';
import type { EndpointSlice } from '../../src/api/gen/discovery-v1.ts';
import { serviceOf, sliceOf } from '../../test/support/services.ts';

export const endpointsPerService = 4;
export const clusterCidrs = ['10.44.0.0/14'] as const;
export const serviceCidrs = ['10.128.0.0/12'] as const;

export type BenchCluster = {
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
};

export function clusterIpOf(index: number): string {
  return `10.128.${index >> 8}.${index & 255}`;
}

export function endpointIpsOf(index: number): readonly string[] {
  return Array.from({ length: endpointsPerService }, (_, number) => {
    const host = index * endpointsPerService + number;
    return `10.${44 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`;
  });
}

export function clusterOf(services: number): BenchCluster {
  const indexes = Array.from({ length: services }, (_, index) => index);
  return {
    services: indexes.map((index) => serviceOf(`web-${index}`, clusterIpOf(index))),
    slices: indexes.map((index) => sliceOf(`web-${index}`, endpointIpsOf(index))),
  };
}

/**
 * The same Services as a chain per Service and per endpoint, the layout of kube-proxy's nftables mode, reduced to what a
 * ClusterIP needs. Written here from its description; it is a rival in layout, not that program.
 */
export function chainPerEndpointRuleset(services: number): string {
  const lines = [
    'table ip rival {',
    '  map service_ips { typeof ip daddr . meta l4proto . th dport : verdict; }',
  ];
  lines.push('  chain mark_for_masquerade { meta mark set meta mark or 0x4000; }');
  for (let index = 0; index < services; index++) lines.push(...rivalChains(index, endpointIpsOf(index)));
  lines.push('  chain services { ip daddr . meta l4proto . th dport vmap @service_ips; }');
  for (const [hook, priority] of [
    ['prerouting', 'dstnat'],
    ['output', '-100'],
  ]) {
    lines.push(`  chain ${hook} { type nat hook ${hook} priority ${priority}; jump services; }`);
  }
  lines.push(
    '  chain postrouting { type nat hook postrouting priority srcnat; meta mark & 0x4000 != 0 masquerade; }',
  );
  lines.push('}');
  for (let index = 0; index < services; index++) {
    lines.push(
      `add element ip rival service_ips { ${clusterIpOf(index)} . tcp . 80 : goto service-${index} }`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function rivalChains(index: number, endpoints: readonly string[]): readonly string[] {
  const chains = endpoints.map(
    (ip) =>
      `  chain endpoint-${index}-${ip} { ip saddr ${ip} jump mark_for_masquerade; meta l4proto tcp dnat to ${ip}:8080; }`,
  );
  const targets = endpoints.map((ip, number) => `${number} : goto endpoint-${index}-${ip}`).join(', ');
  return [
    ...chains,
    `  chain service-${index} { numgen random mod ${endpoints.length} vmap { ${targets} }; }`,
  ];
}

/** One endpoint of one Service replaced, in that layout. */
export function chainPerEndpointChange(index: number, from: string, to: string): string {
  const others = endpointIpsOf(index).slice(1);
  return [
    'table ip rival {',
    `  chain endpoint-${index}-${to} { ip saddr ${to} jump mark_for_masquerade; meta l4proto tcp dnat to ${to}:8080; }`,
    '}',
    `flush chain ip rival service-${index}`,
    `add rule ip rival service-${index} numgen random mod 4 vmap { ${[to, ...others].map((ip, number) => `${number} : goto endpoint-${index}-${ip}`).join(', ')} }`,
    `delete chain ip rival endpoint-${index}-${from}`,
    '',
  ].join('\n');
}
