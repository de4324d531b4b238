import { spawn } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import type { IpFamily } from '../base/ip.ts';
import { emptyKernelTable, type KernelTable, parseListing } from './listing.ts';
import { tableFamily } from './render.ts';
import { type ClientMapName, tableName } from './ruleset.ts';

/**
 * What the proxy needs of nftables. `createSpawnedNft` starts the nft(8) tool for each call, libnftables.ts calls the library in
 * this process; both take the same script text and pass the same suite.
 */
export interface Nft {
  /** Applies the whole script as one kernel transaction, or changes nothing and rejects with NftError. */
  run(script: string, signal: AbortSignal): Promise<void>;
  /** Our table as the kernel has it; an empty one when there is none. `chains`: without elements, so at little cost. */
  read(family: IpFamily, signal: AbortSignal, parts?: 'all' | 'chains'): Promise<KernelTable>;
  /** What one of our maps remembers of clients; nothing where there is no such map. */
  readClients(family: IpFamily, map: ClientMapName, signal: AbortSignal): Promise<KernelTable['clients']>;
  /** The kernel's count of everybody's transactions (generation.ts); undefined where it cannot be asked. */
  generation(): number | undefined;
}

/** `missing`: no nft to run. `refused`: the kernel or nft did not take it. `unreadable`: a listing that we do not understand. */
export type NftErrorCode = 'missing' | 'refused' | 'unreadable';

export class NftError extends Error {
  override readonly name = 'NftError';
  readonly code: NftErrorCode;

  constructor(code: NftErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Longest listing read: about 400,000 elements. Behind it the listing counts as unreadable and the table is replaced. */
const outputBytesMax = 64 << 20;
/** As much of nft's complaint as goes into an error. */
const complaintCharactersMax = 2000;

/**
 * `command` is what starts nft(8), such as `ip netns exec NAME nft` for another namespace; `generation` must be of the same one.
 */
export function createSpawnedNft(
  command: readonly string[] = ['nft'],
  generation: Nft['generation'] = () => undefined,
): Nft {
  return {
    async run(script, signal) {
      const { status, errors } = await runTool(command, ['-f', '-'], script, signal);
      if (status !== 0) throw refusal('refused the rules', errors);
    },
    async read(family, signal, parts = 'all') {
      const flags = parts === 'chains' ? ['-j', '-t'] : ['-j'];
      const args = [...flags, 'list', 'table', tableFamily(family), tableName];
      return listingOf(await runTool(command, args, '', signal));
    },
    async readClients(family, map, signal) {
      const args = ['-j', 'list', 'map', tableFamily(family), tableName, map];
      return listingOf(await runTool(command, args, '', signal)).clients;
    },
    generation,
  };
}

/** What `nft -j list` of our table or a part of it answered, as a table; throws NftError. */
export function listingOf({ status, output, errors }: ToolResult): KernelTable {
  if (status !== 0) {
    // nft has one exit status for everything; this text is the kernel's ENOENT.
    if (errors.includes('No such file or directory')) return emptyKernelTable;
    throw refusal('cannot list our table', errors);
  }
  try {
    return parseListing(output);
  } catch (cause) {
    throw new NftError('unreadable', 'the listing of our table cannot be read', { cause });
  }
}

export function refusal(what: string, errors: string): NftError {
  return new NftError('refused', `nft ${what}: ${errors.trim().slice(0, complaintCharactersMax)}`);
}

export type ToolResult = {
  readonly status: number;
  readonly output: string;
  readonly errors: string;
};

/** A tool that takes longer is killed and counts as refused, ms. A table of 10,000 Services takes under two seconds. */
const toolTimeoutMs = 60_000;

/** Runs a tool to its end. Rejects with NftError('missing') when it cannot be started, with the signal's reason when aborted. */
export function runTool(
  [program = '', ...first]: readonly string[],
  args: readonly string[],
  input: string,
  signal: AbortSignal,
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const child = spawn(program, [...first, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    let bytes = 0;
    const onAbort = (): void => void child.kill('SIGKILL');
    const timer = setTimeout(onAbort, toolTimeoutMs);
    const release = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const keep = (into: Buffer[]) => (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= outputBytesMax) into.push(chunk);
    };
    child.stdout.on('data', keep(output));
    child.stderr.on('data', keep(errors));
    child.stdin.on('error', () => {}); // it ended before it read all: its exit status tells
    child.on('error', (cause) => {
      release();
      const hint = `cannot start ${program}: on Debian and Ubuntu, apt-get install nftables conntrack`;
      reject(new NftError('missing', hint, { cause }));
    });
    child.on('close', (status) => {
      release();
      if (signal.aborted) reject(signal.reason as Error);
      else
        resolve({
          status: status ?? 1,
          output: Buffer.concat(output).toString(),
          errors: Buffer.concat(errors).toString(),
        });
    });
    child.stdin.end(input);
  });
}

/** A kernel setting that the rules rely on, and what fails without it. */
export type KernelSetting = {
  /** May have one `*` for a folder: then it is set in all that are there. */
  readonly path: string;
  readonly value: string;
  readonly purpose: string;
};

export function kernelSettings(families: readonly IpFamily[]): readonly KernelSetting[] {
  const settings: KernelSetting[] = [
    { path: '/proc/sys/net/ipv4/ip_forward', value: '1', purpose: 'Pods reach anything beyond the node' },
    {
      path: '/proc/sys/net/ipv4/conf/all/route_localnet',
      value: '1',
      purpose: 'node ports answer at 127.0.0.1',
    },
    // A Pod that calls itself through a Service goes in and out by one interface, which looks like a detour to the kernel.
    // The redirect that it would send is wrong, and counts against the ICMP errors that refuse UDP (one a second).
    {
      path: '/proc/sys/net/ipv4/conf/*/send_redirects',
      value: '0',
      purpose: 'refusals of UDP are not held back by ICMP redirects',
    },
  ];
  if (families.includes(6)) {
    settings.push({
      path: '/proc/sys/net/ipv6/conf/all/forwarding',
      value: '1',
      purpose: 'Pods reach anything beyond the node over IPv6',
    });
  }
  return settings;
}

export type SettingFailure = { readonly setting: KernelSetting; readonly error: unknown };

/** Writes each setting; those that could not be written are returned with the reason. */
export async function applyKernelSettings(
  settings: readonly KernelSetting[],
): Promise<readonly SettingFailure[]> {
  const results = await Promise.all(
    settings.map(async (setting) => {
      try {
        for (const path of await pathsOf(setting.path)) await writeFile(path, setting.value);
        return [];
      } catch (error) {
        return [{ setting, error }];
      }
    }),
  );
  return results.flat();
}

async function pathsOf(path: string): Promise<readonly string[]> {
  const [folder, rest] = path.split('*/');
  if (folder === undefined || rest === undefined) return [path];
  return (await readdir(folder)).map((name) => `${folder}${name}/${rest}`);
}
