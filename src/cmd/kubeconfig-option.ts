import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Option } from 'commander';

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
