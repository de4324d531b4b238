import type { PersistentVolumeClaim, Pod } from '../../api/gen/core-v1.ts';
import { podClaims } from '../../api/pod-claims.ts';
import { pods } from '../../api/resource.ts';
import { controllerReference } from '../ownership.ts';

/** The claims that a Pod's ephemeral volumes ask for. */
export function plannedClaims(pod: Pod): readonly PersistentVolumeClaim[] {
  return podClaims(pod).flatMap(({ volumeName, claimName }) => {
    const volume = pod.spec?.volumes?.find(({ name }) => name === volumeName);
    const template = volume?.ephemeral?.volumeClaimTemplate;
    if (template === undefined) return [];
    const { labels, annotations } = template.metadata ?? {};
    const ownerReferences = [controllerReference(pods, pod)];
    return [
      {
        metadata: {
          name: claimName,
          namespace: pod.metadata?.namespace,
          labels,
          annotations,
          ownerReferences,
        },
        spec: template.spec,
      },
    ];
  });
}
