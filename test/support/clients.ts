/**
 * Client programs in other languages and packages, made ready where that is possible; else why not, for tests to print. Test
 * files run side by side: `flock` (util-linux) lets one make them ready while the others wait.
 */
import { join } from 'node:path';
import { run } from './shell.ts';

const clients = join(import.meta.dirname, '../clients');
/** Whose lock is taken. Not go.mod: go locks that itself, and would wait for us for ever. */
const lockFile = join(clients, 'package.json');

/** Fetching packages takes seconds; beyond this the registry does not answer, ms. */
const fetchTimeoutMs = 180_000;
/** The first build compiles all of client-go and helm, minutes on two cores; Go's cache makes later ones quick, ms. */
const buildTimeoutMs = 900_000;

/** Installs @kubernetes/client-node where it is missing. Resolves with why it cannot be used, or undefined. */
export async function readyClientNode(): Promise<string | undefined> {
  const installed = join(clients, 'node_modules/.package-lock.json'); // what npm writes last
  try {
    const install = `test -e '${installed}' || npm ci --prefix '${clients}' --no-audit --no-fund --loglevel=error`;
    const { code, stderr } = await run('flock', [lockFile, 'sh', '-c', install], {
      timeoutMs: fetchTimeoutMs,
    });
    return code === 0 ? undefined : `@kubernetes/client-node cannot be installed: ${lastLine(stderr)}`;
  } catch (error) {
    return `@kubernetes/client-node cannot be installed: ${lastLine(String(error))}`;
  }
}

export type GoPrograms = { readonly client: string; readonly helm: string };

/** Builds the Go programs. Without Go or without its modules: the reason; a program that does not compile rejects. */
export async function readyGoPrograms(): Promise<GoPrograms | string> {
  const folder = await buildGo(join(clients, 'go'), './client', './helm');
  return typeof folder === 'string'
    ? folder
    : { client: join(folder.bin, 'client'), helm: join(folder.bin, 'helm') };
}

export type GoHttp2Programs = { readonly h2spec: string; readonly interop: string };

/** The same for those that speak HTTP/2 to the ingress: h2spec, and gRPC's interoperability tests. */
export async function readyGoHttp2Programs(): Promise<GoHttp2Programs | string> {
  const folder = await buildGo(
    join(clients, 'go-http2'),
    './interop',
    'github.com/summerwind/h2spec/cmd/h2spec',
  );
  return typeof folder === 'string'
    ? folder
    : { h2spec: join(folder.bin, 'h2spec'), interop: join(folder.bin, 'interop') };
}

/** Builds packages of the Go module in `folder` into its `bin`. Without Go or without its modules: the reason. */
export async function buildGo(
  folder: string,
  ...packages: readonly string[]
): Promise<{ readonly bin: string } | string> {
  const go = (timeoutMs: number, ...args: readonly string[]) =>
    run('flock', [lockFile, 'go', '-C', folder, ...args], { timeoutMs });
  try {
    const fetched = await go(fetchTimeoutMs, 'mod', 'download', '-x');
    if (fetched.code !== 0) return `Go modules cannot be fetched: ${lastLine(fetched.stderr)}`;
  } catch (error) {
    return `needs Go and its modules: ${lastLine(String(error))}`;
  }
  const built = await go(buildTimeoutMs, 'build', '-o', 'bin/', ...packages);
  if (built.code !== 0) throw new Error(`the Go programs do not compile:\n${built.stderr}`);
  return { bin: join(folder, 'bin') };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
