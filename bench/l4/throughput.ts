/** Bytes through one TCP connection by iperf3, to a Service and to its endpoint. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { renderFull, renderRemoval } from '../../src/l4/render.ts';
import { eventually, runOk, which } from '../../test/support/shell.ts';
import { clusterIpOf, endpointIpsOf } from './cluster.ts';
import { startFarSide } from './connect.ts';
import { rulesetOf, signal, tool } from './ruleset.ts';

const services = 1000;

export type ThroughputFigures = { readonly what: string; readonly gbitPerSecond: number };

type IperfReport = { readonly end?: { readonly sum_received?: { readonly bits_per_second: number } } };

/** Through one TCP connection to an iperf3 server, which is waited for. */
export async function gbitPerSecond(host: string, port: number, seconds: number): Promise<number> {
  return eventually(
    async () => {
      const args = ['-c', host, '-p', String(port), '-t', String(seconds), '-J'];
      const report = JSON.parse(await runOk('iperf3', args)) as IperfReport;
      const bits = report.end?.sum_received?.bits_per_second;
      if (bits === undefined) throw new Error(`iperf3 to ${host}:${port} did not come about`);
      return bits / 1e9;
    },
    { timeoutMs: 20_000 },
  );
}

/** Empty where iperf3 is not installed. */
export async function measureThroughput(seconds: number): Promise<readonly ThroughputFigures[]> {
  if (which('iperf3') === undefined) return [];
  const index = services >> 1;
  const far = await startFarSide([index]);
  const server = spawn('nsenter', ['-t', String(far.pid), '-n', 'iperf3', '-s', '-p', '8081'], {
    stdio: 'ignore',
  });
  try {
    const [direct = ''] = endpointIpsOf(index);
    const rows = [
      { what: 'direct, no rules at all', gbitPerSecond: await gbitPerSecond(direct, 8081, seconds) },
    ];
    await tool.run(renderFull(rulesetOf(services).ruleset).replaceAll(' . 8080', ' . 8081'), signal);
    rows.push({ what: 'Service', gbitPerSecond: await gbitPerSecond(clusterIpOf(index), 80, seconds) });
    rows.push({ what: 'direct, past the rules', gbitPerSecond: await gbitPerSecond(direct, 8081, seconds) });
    await tool.run(renderRemoval(4), signal);
    return rows;
  } finally {
    const ended = once(server, 'close');
    server.kill('SIGKILL');
    await ended;
    await far.close();
  }
}
