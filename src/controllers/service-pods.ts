import type { Pod, Service } from '../api/gen/core-v1.ts';
import type { KubeObject } from '../api/object.ts';
import { pods, services } from '../api/resource.ts';
import type { Informers } from '../control/informers.ts';
import { matchesLabels } from '../control/selector.ts';

/** Index of Pods and Services by their namespace. Adding it twice is harmless before the informers run. */
export function podsAndServicesByNamespace(informers: Informers): void {
  const namespaceOf = (object: KubeObject): readonly string[] => [object.metadata?.namespace ?? ''];
  informers.of(pods).addIndex('namespace', namespaceOf);
  informers.of(services).addIndex('namespace', namespaceOf);
}

/** The Pods that the Service's selector selects; none without a selector. */
export function podsOfService(informers: Informers, service: Service): Pod[] {
  const candidates = informers.of(pods).byIndex('namespace', service.metadata?.namespace ?? '');
  return [...candidates].filter((pod) => matchesLabels(service.spec?.selector, pod.metadata?.labels));
}
