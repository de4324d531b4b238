import type { Container, Pod } from '../api/gen/core-v1.ts';
import { isFilesVolume } from './volume-files.ts';

export type Unsupported = {
  readonly reason: 'UnsupportedVolume' | 'UnsupportedPodSpec';
  readonly message: string;
};

/**
 * The first thing of a Pod that this node cannot do; undefined where it can run. Such a Pod fails at once and says why:
 * running it without what it asks for would be worse.
 */
export function findUnsupported(pod: Pod): Unsupported | undefined {
  const spec = pod.spec;
  for (const volume of spec?.volumes ?? []) {
    if (isFilesVolume(volume) || volume.emptyDir !== undefined || volume.hostPath !== undefined) continue;
    // A volume without any source is an emptyDir.
    const kind = Object.entries(volume).find(([key, value]) => key !== 'name' && value !== undefined)?.[0];
    if (kind === undefined) continue;
    const message = `volume ${JSON.stringify(volume.name)} is of kind ${kind}, which this node does not support`;
    return { reason: 'UnsupportedVolume', message };
  }
  const field =
    podFields(pod) ??
    [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].map(containerFields).find(Boolean);
  if (field === undefined) return undefined;
  return { reason: 'UnsupportedPodSpec', message: `${field} is not supported by this node` };
}

function podFields({ spec }: Pod): string | undefined {
  if (spec?.hostUsers === false) return 'spec.hostUsers: false';
  if (spec?.runtimeClassName !== undefined && spec.runtimeClassName !== '') return 'spec.runtimeClassName';
  if ((spec?.resourceClaims ?? []).length > 0) return 'spec.resourceClaims';
  if (spec?.os?.name === 'windows') return 'spec.os.name: windows';
  if (spec?.securityContext?.appArmorProfile?.type === 'Localhost')
    return 'an AppArmor profile of type Localhost';
  return undefined;
}

function containerFields(container: Container): string | undefined {
  const where = `container ${container.name}: `;
  if ((container.volumeDevices ?? []).length > 0) return `${where}volumeDevices`;
  if (container.lifecycle?.stopSignal !== undefined) return `${where}lifecycle.stopSignal`;
  if ((container.restartPolicyRules ?? []).length > 0) return `${where}restartPolicyRules`;
  if (container.securityContext?.appArmorProfile?.type === 'Localhost')
    return `${where}an AppArmor profile of type Localhost`;
  return undefined;
}
