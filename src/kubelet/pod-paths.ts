import { join } from 'node:path';
import type { Pod } from '../api/gen/core-v1.ts';

/** Folders of one node. */
export type NodePaths = {
  readonly nodeDir: string; // "/var/lib/fairlead/NAME/nodes/NODE"
  readonly runDir: string; // "/run/fairlead/NAME/nodes/NODE"
};

export const podsDir = (paths: NodePaths): string => join(paths.nodeDir, 'pods');
export const podLogsDir = (paths: NodePaths): string => join(paths.nodeDir, 'pod-logs');

/** Seccomp profiles of type Localhost, put there by whoever looks after the node. */
export const seccompDir = (paths: NodePaths): string => join(paths.nodeDir, 'seccomp');

/** Everything of one Pod but its logs: volumes, /etc/hosts, termination messages. */
export const podDir = (paths: NodePaths, uid: string): string => join(podsDir(paths), uid);
export const volumeDir = (paths: NodePaths, uid: string, volume: string): string =>
  join(podDir(paths, uid), 'volumes', volume);
export const hostsFile = (paths: NodePaths, uid: string): string => join(podDir(paths, uid), 'etc-hosts');

/** Where the container writes its last words; one file an attempt, so that an old message is not taken for a new one. */
export const terminationMessageFile = (
  paths: NodePaths,
  uid: string,
  container: string,
  attempt: number,
): string => join(podDir(paths, uid), 'containers', container, `termination-${attempt}`);

/** The Pod's log folder in the form that log collectors know: NAMESPACE_NAME_UID. */
export function podLogDir(paths: NodePaths, pod: Pod): string {
  const { namespace = 'default', name = '', uid = '' } = pod.metadata ?? {};
  return join(podLogsDir(paths), `${namespace}_${name}_${uid}`);
}

/** Below the Pod's log folder. */
export const containerLogPath = (container: string, attempt: number): string => `${container}/${attempt}.log`;
