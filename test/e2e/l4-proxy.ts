/** Service proxies on the nodes of a test network, following one API server in memory. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { nodes } from '../../src/api/resource.ts';
import { systemClock } from '../../src/base/clock.ts';
import { type LogFields, type Logger, silentLogger } from '../../src/base/log.ts';
import type { ApiClient } from '../../src/client/client.ts';
import { createSpawnedNft } from '../../src/l4/apply.ts';
import { createSpawnedConntrack } from '../../src/l4/conntrack.ts';
import { type ProxyConfig, proxyDefaults } from '../../src/l4/config.ts';
import { runProxy } from '../../src/l4/run.ts';
import type { FakeApi } from '../support/fake-api.ts';
import { run } from '../support/shell.ts';
import { addresses, addresses6, type Network, type NodeName, nodeNames } from './l4-network.ts';

export async function reasonToSkipPackets(): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'needs root for network namespaces';
  for (const tool of [['ip', '-V'] as const, ['nft', '--version'] as const]) {
    const works = await run(tool[0], [tool[1]]).then(
      ({ code }) => code === 0,
      () => false,
    );
    if (!works) return `needs ${tool[0]}`;
  }
  const { code } = await run('unshare', ['-n', 'nft', 'list', 'tables']);
  return code === 0 ? false : 'needs permission to use nftables in a network namespace';
}

/** Node objects of the test network, with both families. */
export function seedNodes(api: FakeApi): void {
  for (const [index, name] of nodeNames.entries()) {
    api.seed(nodes, {
      metadata: { name },
      spec: { podCIDR: `10.42.${index}.0/24`, podCIDRs: [`10.42.${index}.0/24`, `fd42:0:0:${index}::/64`] },
      status: {
        addresses: [
          { type: 'InternalIP', address: addresses[name] },
          { type: 'InternalIP', address: addresses6[name] },
        ],
      },
    });
  }
}

/** Warnings and errors as lines added to `complaints`. */
export function complaintLog(complaints: string[]): Logger {
  const complaint = (message: string, fields: LogFields = {}): void => {
    const { error, ...rest } = fields;
    complaints.push(`${message} ${JSON.stringify(rest)} ${error instanceof Error ? error.message : ''}`);
  };
  return { ...silentLogger, warn: complaint, error: complaint };
}

/** Starts the proxy of a node and resolves once its rules follow the API; the result stops it. */
export async function startProxyIn(
  network: Network,
  client: ApiClient,
  nodeName: NodeName,
  options: Partial<ProxyConfig> & { readonly log: Logger },
): Promise<() => Promise<void>> {
  const { log, ...config } = options;
  const inside = ['ip', 'netns', 'exec', network.namespace(nodeName)];
  const stop = new AbortController();
  const ready = Promise.withResolvers<void>();
  const running = runProxy(
    { ...proxyDefaults, nodeName, healthAddress: undefined, ...config },
    client,
    log,
    stop.signal,
    {
      nft: createSpawnedNft([...inside, 'nft']),
      conntrack: createSpawnedConntrack(log, [...inside, 'conntrack']),
      clock: systemClock,
      async applySettings(settings) {
        const each = settings.map(({ path, value }) => `for file in ${path}; do echo ${value} > $file; done`);
        const script = `set -e; ${each.join('; ')}`;
        const { code, stderr } = await run('ip', [...inside.slice(1), 'sh', '-c', script]);
        assert.equal(code, 0, stderr);
        return [];
      },
      onReady: () => ready.resolve(),
    },
  );
  await Promise.race([ready.promise, running]);
  return async () => {
    stop.abort();
    await running;
  };
}

/** Far beyond what anything here takes: a cut-off node is missed after its grace period. */
const comesTrueWithinMs = 90_000;

export async function comesTrue(check: () => Promise<boolean>, what: string): Promise<void> {
  const endAtMs = Date.now() + comesTrueWithinMs;
  while (!(await check())) {
    if (Date.now() > endAtMs) throw new Error(`did not come true in ${comesTrueWithinMs / 1000} s: ${what}`);
    await delay(5);
  }
}
