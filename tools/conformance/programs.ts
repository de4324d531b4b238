import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

/** The version whose tests are run: that of `k8s.io/kubernetes` in kubernetes/go.mod. */
export const kubernetesVersion = 'v1.34.3';

const module = join(import.meta.dirname, 'kubernetes');

const packages = {
  ginkgo: 'github.com/onsi/ginkgo/v2/ginkgo',
  agnhost: 'k8s.io/kubernetes/test/images/agnhost',
  nnp: 'k8s.io/kubernetes/test/images/nonewprivs',
  'sample-apiserver': 'k8s.io/sample-apiserver',
} as const;

/**
 * Builds the suite and the programs of its images from their published modules into `folder`. Rejects with what Go
 * said. The first time takes minutes; afterwards Go finds its own results.
 */
export async function buildPrograms(folder: string, onProgress: (line: string) => void): Promise<void> {
  await mkdir(folder, { recursive: true });
  const stamp = ['version.gitVersion=' + kubernetesVersion, ...majorAndMinor()].map(
    (setting) => `-X k8s.io/component-base/${setting}`,
  );
  const flags = ['-ldflags', ['-s', '-w', ...stamp].join(' ')];
  for (const [name, path] of Object.entries(packages)) {
    onProgress(`building ${name}`);
    await go('build', ...flags, '-o', join(folder, name), path);
  }
  onProgress('building the tests');
  await go('test', '-c', ...flags, '-o', join(folder, 'e2e.test'), 'k8s.io/kubernetes/test/e2e');
}

function majorAndMinor(): readonly string[] {
  const [, major = '', minor = ''] = /^v(\d+)\.(\d+)\./.exec(kubernetesVersion) ?? [];
  return [`version.gitMajor=${major}`, `version.gitMinor=${minor}`];
}

/** Where the sources of the suite are. */
export async function findSource(): Promise<string> {
  return (await go('list', '-m', '-f', '{{.Dir}}', 'k8s.io/kubernetes')).trim();
}

async function go(...args: readonly string[]): Promise<string> {
  const child = spawn('go', args, {
    cwd: module,
    env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly -buildvcs=false' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`go ${args.join(' ')} failed`);
  return Buffer.concat(output).toString();
}
