import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { isJsonObject } from '../api/object.ts';
import type { Route } from './routes.ts';
import { routeProtocol } from './routes.ts';

const run = promisify(execFile);

/** Runs commands of ip(8) in this network namespace, one process for all. Rejects with what ip says. */
export async function runIpBatch(commands: readonly string[]): Promise<void> {
  if (commands.length === 0) return;
  const child = run('ip', ['-batch', '-']);
  child.child.stdin?.end(`${commands.join('\n')}\n`);
  await child;
}

/** The routes that carry our mark; those of IPv6 only where the node has such addresses. */
export async function readOwnRoutes({ ipv6 }: { readonly ipv6: boolean }): Promise<readonly Route[]> {
  const families = ipv6 ? ['-4', '-6'] : ['-4'];
  return (await Promise.all(families.map(readRoutes))).flat();
}

async function readRoutes(family: string): Promise<readonly Route[]> {
  const { stdout } = await run('ip', [family, '-json', 'route', 'show', 'proto', String(routeProtocol)]);
  const parsed: unknown = stdout.trim() === '' ? [] : JSON.parse(stdout);
  if (!Array.isArray(parsed)) return [];
  return parsed.flatMap((entry: unknown): readonly Route[] => {
    if (!isJsonObject(entry)) return [];
    const { dst, gateway, type } = entry;
    if (typeof dst !== 'string') return [];
    if (type === 'unreachable') return [{ destination: dst, via: undefined }];
    return typeof gateway === 'string' ? [{ destination: dst, via: gateway }] : [];
  });
}
