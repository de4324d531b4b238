import { readdir } from 'node:fs/promises';
import type { IpFamily } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import { NftError, runTool } from './apply.ts';
import { parseUdpFlows, type UdpFlow } from './udp-flows.ts';

/** What the proxy needs of connection tracking. */
export interface Conntrack {
  udpFlows(family: IpFamily, signal: AbortSignal): Promise<readonly UdpFlow[]>;
  forget(family: IpFamily, flow: UdpFlow, signal: AbortSignal): Promise<void>;
  /** False: the kernel rewrites no SCTP packets, whatever the rules say (CONFIG_NF_CT_PROTO_SCTP). */
  tracksSctp(): Promise<boolean>;
}

const settingsFolder = '/proc/sys/net/netfilter';

/** True where it cannot be told, as before connection tracking is in use. */
async function kernelTracksSctp(): Promise<boolean> {
  const names = await readdir(settingsFolder).catch((): readonly string[] => []);
  const tracking = names.includes('nf_conntrack_max');
  return !tracking || names.includes('nf_conntrack_sctp_timeout_established');
}

/** Flows deleted after one change. The rest goes with the next change, or times out after the kernel's 30 to 120 s. */
export const deletionsPerPassMax = 2000;

/** Through the conntrack(8) tool. Without it nothing is deleted, which is said once. */
export function createSpawnedConntrack(log: Logger, command: readonly string[] = ['conntrack']): Conntrack {
  let missing = false;
  return {
    tracksSctp: kernelTracksSctp,
    async udpFlows(family, signal) {
      if (missing) return [];
      try {
        const args = ['-L', '-p', 'udp', '-f', familyName(family)];
        const { status, output, errors } = await runTool(command, args, '', signal);
        if (status === 0) return parseUdpFlows(output);
        log.warn('connection tracking cannot be listed, stale UDP flows stay until they time out', {
          errors,
        });
      } catch (error) {
        if (!(error instanceof NftError)) throw error;
        missing = true;
        log.warn('no conntrack tool: UDP flows to endpoints that left stay until they time out', { error });
      }
      return [];
    },
    async forget(family, flow, signal) {
      const args = ['-D', '-p', 'udp', '-f', familyName(family)];
      const tuple = ['-s', flow.source, '-d', flow.destination];
      const ports = ['--sport', String(flow.sourcePort), '--dport', String(flow.port)];
      // Status 1 is "nothing was there": it timed out meanwhile, which is as good.
      await runTool(command, [...args, ...tuple, ...ports], '', signal);
    },
  };
}

function familyName(family: IpFamily): string {
  return family === 4 ? 'ipv4' : 'ipv6';
}

/** Deletes the flows one after the other; returns how many. */
export async function forgetFlows(
  conntrack: Conntrack,
  family: IpFamily,
  flows: readonly UdpFlow[],
  signal: AbortSignal,
): Promise<number> {
  const batch = flows.slice(0, deletionsPerPassMax);
  for (const flow of batch) await conntrack.forget(family, flow, signal);
  return batch.length;
}
