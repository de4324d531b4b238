import type { IpFamily } from '../base/ip.ts';
import { type ServiceEndpoint, usableEndpoints } from '../model/endpoints.ts';
import type { NodeFacts, ServicePortView } from '../model/view.ts';
import { textFamily } from './claims.ts';

/**
 * Why not every endpoint of a port is used from this node, who may come, and what binds a client to one endpoint: a line each,
 * none where nothing but chance decides.
 */
export function choiceLines(port: ServicePortView, node: NodeFacts, family: IpFamily): readonly string[] {
  const { facts } = port;
  const ofFamily = (endpoints: readonly ServiceEndpoint[]): readonly ServiceEndpoint[] =>
    endpoints.filter(({ address }) => textFamily(address) === family);
  const usable = usableEndpoints(ofFamily(port.serving));
  const lines = [
    ...(usable.some(({ ready }) => !ready) ? ['no endpoint is ready, those that terminate still serve'] : []),
    ...hintLines(usable, ofFamily(port.cluster), node),
  ];
  const clients = [
    ...(facts.internalPolicy === 'Local' ? ['of the cluster IP'] : []),
    ...(facts.externalPolicy === 'Local' ? ['from outside the cluster'] : []),
  ];
  if (clients.length > 0) {
    const count = ofFamily(port.local).length;
    lines.push(
      `policy Local for clients ${clients.join(' and ')}: ${count} of its endpoints are on this node`,
    );
  }
  if (facts.sourceRanges.length > 0 && facts.loadBalancerIps.length > 0) {
    lines.push(`load-balancer addresses let in ${facts.sourceRanges.join(', ')} and themselves`);
  }
  if (facts.affinityTimeoutSeconds !== undefined) {
    const time = `${facts.affinityTimeoutSeconds} s`;
    lines.push(`a client stays with its endpoint until ${time} after its last new connection`);
  }
  return lines.map((line) => `  port ${facts.port}/${facts.protocol}: ${line}`);
}

/** What became of topology hints; `cluster` is what they left of `usable`. */
function hintLines(
  usable: readonly ServiceEndpoint[],
  cluster: readonly ServiceEndpoint[],
  node: NodeFacts,
): readonly string[] {
  if (usable.every(({ forNodes, forZones }) => forNodes.length + forZones.length === 0)) return [];
  if (cluster.length < usable.length) {
    const place = cluster.every(({ forNodes }) => forNodes.includes(node.name))
      ? 'this node'
      : `zone ${node.zone}`;
    return [`hints give ${place} ${cluster.length} of ${usable.length} endpoints`];
  }
  if (
    usable.every(({ forNodes, forZones }) => forNodes.includes(node.name) || forZones.includes(node.zone))
  ) {
    return ['hints give this node all endpoints'];
  }
  const place = node.zone === '' ? 'this node, which has no zone' : `this node of zone ${node.zone}`;
  return [`hints are not followed: an endpoint has none, or none is for ${place}`];
}
