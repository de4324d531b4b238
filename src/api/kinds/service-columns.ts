import type { Service } from '../gen/core-v1.ts';
import type { Column } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, formatLabels, nameColumn, noneText, orNone, wideColumn } from './columns.ts';

function read(object: JsonObject): Service {
  return object as unknown as Service;
}

function externalIp(object: JsonObject): string {
  const { spec, status } = read(object);
  const external = spec?.externalIPs ?? [];
  switch (spec?.type) {
    case 'ExternalName':
      return orNone(spec.externalName ?? '');
    case 'LoadBalancer': {
      const points = status?.loadBalancer?.ingress ?? [];
      const balanced = [...new Set(points.map((point) => point.ip || point.hostname || ''))]
        .filter((text) => text !== '')
        .toSorted();
      const all = [...balanced, ...external];
      return all.length === 0 ? '<pending>' : all.join(',');
    }
    default:
      return orNone(external.join(','));
  }
}

function portsText(object: JsonObject): string {
  const texts = (read(object).spec?.ports ?? []).map((port) => {
    const node = port.nodePort === undefined || port.nodePort === 0 ? '' : `:${port.nodePort}`;
    return `${port.port}${node}/${port.protocol ?? 'TCP'}`;
  });
  return orNone(texts.join(','));
}

export const serviceColumns: readonly Column[] = [
  nameColumn,
  column('Type', 'How the Service is reached.', (object) => read(object).spec?.type ?? 'ClusterIP'),
  column('Cluster-IP', 'The address inside the cluster.', (object) => {
    const { spec } = read(object);
    return spec?.clusterIPs?.[0] ?? orNone(spec?.clusterIP ?? '');
  }),
  column('External-IP', 'Addresses outside the cluster.', externalIp),
  column('Port(s)', 'Port, node port where there is one, and protocol.', portsText),
  ageColumn,
  wideColumn('Selector', 'Labels of the Pods behind it.', (object) => {
    const selector = read(object).spec?.selector;
    return selector === undefined ? noneText : formatLabels(selector);
  }),
];
