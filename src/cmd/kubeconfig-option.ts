import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Option } from 'commander';
import { nameOption } from './up.ts';

/** `--kubeconfig` of commands that a person types: like kubectl they look into $KUBECONFIG and ~/.kube/config without it. */
export function kubeconfigOption(): Option {
  return new Option(
    '--kubeconfig <file>',
    'how to reach the API server (default: $KUBECONFIG, ~/.kube/config)',
  );
}

export function resolveKubeconfig(given: string | undefined): string {
  const [first = ''] = (process.env['KUBECONFIG'] ?? '').split(delimiter);
  return given ?? (first === '' ? join(homedir(), '.kube', 'config') : first);
}

/** `--name`: a cluster of this machine instead of a kubeconfig. */
export function clusterOption(): Option {
  return nameOption().default(undefined, 'that of the kubeconfig').conflicts('kubeconfig');
}

/** The kubeconfig of what `--name` or `--kubeconfig` tells. Rejects when there is no such cluster. */
export async function kubeconfigOf(options: {
  readonly name?: string;
  readonly kubeconfig?: string;
}): Promise<string> {
  if (options.name === undefined) return resolveKubeconfig(options.kubeconfig);
  const [{ requireCluster }, { baseDirs }, { pathsOf }] = await Promise.all([
    import('../cluster/status.ts'),
    import('../cluster/state.ts'),
    import('../cluster/config.ts'),
  ]);
  const { config } = await requireCluster(options.name, baseDirs(process.env, process.getuid?.() ?? 0));
  return pathsOf(config).adminKubeconfig;
}
