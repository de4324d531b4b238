import type { Node, Service } from '../../api/gen/core-v1.ts';
import { sctpLackOf } from '../../model/node-protocols.ts';
import { isHeadless } from '../../model/service-port.ts';
import type { ConditionText } from '../service-conditions.ts';

/** Type of a Service's condition: True while some node does not serve its SCTP ports. */
export const sctpCondition = 'fairlead.dev/SCTPUnavailable';

/** Nodes that a message names; a cluster may have thousands. */
const nodesNamedMax = 5;

/** SCTP ports that a service proxy would have to serve: a headless Service needs none, DNS leads to its Pods. */
export function sctpPortsOf(service: Service): readonly number[] {
  if (service.spec?.type === 'ExternalName' || isHeadless(service)) return [];
  return (service.spec?.ports ?? []).flatMap(({ port, protocol }) => (protocol === 'SCTP' ? [port] : []));
}

/** What the condition should say; undefined: every node serves the Service's ports. */
export function planSctpCondition(service: Service, nodes: Iterable<Node>): ConditionText | undefined {
  const ports = sctpPortsOf(service);
  if (ports.length === 0) return undefined;
  const all = [...nodes].toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const lacking = all.filter((node) => sctpLackOf(node) !== undefined);
  if (lacking.length === 0) return undefined;
  const why = [...new Set(lacking.map((node) => sctpLackOf(node)))].join('; ');
  const what = ports.length === 1 ? `port ${ports[0]} is` : `ports ${ports.join(', ')} are`;
  return {
    reason: lacking.length === all.length ? 'NoNodeServesSCTP' : 'NodesWithoutSCTP',
    message: `SCTP ${what} not served on ${placesOf(lacking, all.length)}: ${why}`,
  };
}

function placesOf(lacking: readonly Node[], count: number): string {
  if (lacking.length === count) return 'any node';
  const named = lacking.slice(0, nodesNamedMax).map(nameOf).join(', ');
  const more = lacking.length - nodesNamedMax;
  return more > 0 ? `${named} and ${more} more nodes` : named;
}

function nameOf(node: Node): string {
  return node.metadata?.name ?? '';
}
