import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import { UserError } from '../base/user-error.ts';
import { type ClusterConfig, nodesOf, pathsOf } from './config.ts';
import { runTool } from './network.ts';

/** containerd's namespace for what Kubernetes runs. */
const criNamespace = 'k8s.io';

/** Archives that one node unpacks at a time: it is the disk that bounds it. */
const nodesAtOnce = 8;

/** Imports archives into every node; returns the names of the images. Throws UserError for a file that cannot be read. */
export async function importImages(
  config: ClusterConfig,
  files: readonly string[],
): Promise<readonly string[]> {
  const missing = files.filter((file) => !existsSync(file));
  if (missing.length > 0) throw new UserError(`no such file: ${missing.join(', ')}`);
  const names = new Set<string>();
  const nodes = [...nodesOf(config)];
  while (nodes.length > 0) {
    await Promise.all(
      nodes.splice(0, nodesAtOnce).map(async ({ name }) => {
        for (const file of files) {
          for (const imported of await importInto(config, name, file)) names.add(imported);
        }
      }),
    );
  }
  return [...names].toSorted();
}

async function importInto(config: ClusterConfig, node: string, file: string): Promise<readonly string[]> {
  try {
    const output = await ctr(config, node, ['images', 'import', posix.resolve(file)]);
    return parseImported(output);
  } catch (cause) {
    throw new UserError(`cannot import ${file} into ${node}: is it an OCI or docker archive?`, { cause });
  }
}

/** Names from `ctr images import`: lines such as "unpacking docker.io/library/caddy:latest (sha256:…)...done". */
export function parseImported(output: string): readonly string[] {
  return output.split('\n').flatMap((line) => /^unpacking (\S+) \(/.exec(line)?.[1] ?? []);
}

export type ImageOnNodes = { readonly reference: string; readonly nodes: readonly string[] };

/** Every image by name, with the nodes that have it. */
export async function listImages(config: ClusterConfig): Promise<readonly ImageOnNodes[]> {
  const nodes = nodesOf(config).map(({ name }) => name);
  const lists = await Promise.all(nodes.map((node) => ctr(config, node, ['images', 'ls', '-q'])));
  const byReference = new Map<string, string[]>();
  lists.forEach((text, index) => {
    for (const reference of text.split('\n')) {
      // containerd lists the same image by digest and by id, too.
      if (reference === '' || reference.startsWith('sha256:') || reference.includes('@')) continue;
      byReference.set(reference, [...(byReference.get(reference) ?? []), nodes[index] ?? '']);
    }
  });
  return [...byReference]
    .map(([reference, having]) => ({ reference, nodes: having }))
    .toSorted((a, b) => a.reference.localeCompare(b.reference));
}

async function ctr(config: ClusterConfig, node: string, args: readonly string[]): Promise<string> {
  const socket = pathsOf(config).containerdSocket(node);
  if (!existsSync(socket)) throw new UserError(`node ${node} runs no containerd; see \`fairlead status\``);
  return runTool('ctr', ['--address', socket, '--namespace', criNamespace, ...args], '');
}
