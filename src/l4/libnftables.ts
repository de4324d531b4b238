import type { IpFamily } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import { createSpawnedNft, listingOf, type Nft, NftError, refusal } from './apply.ts';
import { openGenerationReader } from './generation.ts';
import { tableFamily } from './render.ts';
import { tableName } from './ruleset.ts';

/**
 * libnftables in this process. A call is synchronous: the event loop stands still until the kernel has answered, and a script
 * has its whole syntax tree in this process's memory. So it is for what is small; see `createMixedNft`.
 */
const libraryName = 'libnftables.so.1';

/** NFT_CTX_OUTPUT_JSON of nftables/libnftables.h. */
const outputJson = 1 << 4;
/** NFT_CTX_OUTPUT_TERSE */
const outputTerse = 1 << 11;

const signatures = {
  nft_ctx_new: { arguments: ['uint32'], return: 'pointer' },
  nft_ctx_free: { arguments: ['pointer'], return: 'void' },
  nft_ctx_buffer_output: { arguments: ['pointer'], return: 'int32' },
  nft_ctx_buffer_error: { arguments: ['pointer'], return: 'int32' },
  nft_ctx_get_output_buffer: { arguments: ['pointer'], return: 'pointer' },
  nft_ctx_get_error_buffer: { arguments: ['pointer'], return: 'pointer' },
  nft_ctx_output_set_flags: { arguments: ['pointer', 'uint32'], return: 'void' },
  nft_run_cmd_from_buffer: { arguments: ['pointer', 'buffer'], return: 'int32' },
} as const;

/** An `Nft` that holds a context of libnftables until `close`. */
export type LibraryNft = Nft & { close(): void };

/**
 * Loads libnftables. It works on the network namespace that this thread is in now, whatever namespace it enters later.
 * Rejects with NftError('missing') where the library, or FFI in this Node.js, is not there.
 */
export async function openLibraryNft(): Promise<LibraryNft> {
  const { ffi, library } = await loadLibrary();
  const { functions } = library;
  // One context for all calls: it owns the netlink socket, and closing that waits 8 ms for the kernel's readers.
  const context = functions.nft_ctx_new(0);
  if (context === 0n) throw new NftError('missing', 'libnftables gives no context');
  functions.nft_ctx_buffer_output(context);
  functions.nft_ctx_buffer_error(context);
  let open = true;

  function call(commands: string, flags: number, signal: AbortSignal): Answer {
    signal.throwIfAborted();
    if (!open) throw new NftError('missing', 'this libnftables context was closed');
    functions.nft_ctx_output_set_flags(context, flags);
    const status = functions.nft_run_cmd_from_buffer(context, Buffer.from(`${commands}\0`));
    // Both buffers belong to the context and are emptied by the next call; toString copies.
    return {
      status,
      output: ffi.toString(functions.nft_ctx_get_output_buffer(context)) ?? '',
      errors: ffi.toString(functions.nft_ctx_get_error_buffer(context)) ?? '',
    };
  }

  return {
    // Async in form only, so that what is thrown arrives as a rejection like that of the spawned nft.
    async run(script, signal) {
      const { status, errors } = call(script, 0, signal);
      if (status !== 0) throw refusal('refused the rules', errors);
    },
    async read(family, signal, parts = 'all') {
      const flags = parts === 'chains' ? outputJson | outputTerse : outputJson;
      const answer = call(`list table ${tableFamily(family)} ${tableName}\n`, flags, signal);
      return listingOf(answer);
    },
    async readClients(family, map, signal) {
      const commands = `list map ${tableFamily(family)} ${tableName} ${map}\n`;
      return listingOf(call(commands, outputJson, signal)).clients;
    },
    generation: () => undefined,
    close() {
      if (!open) return;
      open = false;
      functions.nft_ctx_free(context);
    },
  };
}

type Answer = { readonly status: number; readonly output: string; readonly errors: string };

async function loadLibrary() {
  try {
    const { default: ffi } = await import('node:ffi');
    return { ffi, library: ffi.dlopen(libraryName, signatures) };
  } catch (cause) {
    throw new NftError('missing', `${libraryName} cannot be used from this process`, { cause });
  }
}

/** A longer script goes to the spawned tool: in this process it would hold up everything else for over a millisecond. */
export const libraryScriptCharactersMax = 32_768;

/**
 * Small changes by `library`, at a tenth of the cost; everything else by `tool`, which runs beside us and gives its memory back:
 * whole tables, listings, and rules, because nft 1.0.6 ends by assertion on some rules and would take this process along.
 */
export function createMixedNft(library: Nft, tool: Nft): Nft {
  return {
    run(script, signal) {
      const small = script.length <= libraryScriptCharactersMax && changesElementsOnly(script);
      return small ? library.run(script, signal) : tool.run(script, signal);
    },
    read: (family: IpFamily, signal, parts) => tool.read(family, signal, parts),
    readClients: (family, map, signal) => tool.readClients(family, map, signal),
    generation: () => tool.generation(),
  };
}

function changesElementsOnly(script: string): boolean {
  return script
    .split('\n')
    .every((line) => line === '' || /^(add element|delete element|delete chain) /.test(line));
}

/** What the machine allows: both, or the tool alone. Logs which, with the reason. */
export async function createSystemNft(log: Logger): Promise<Nft> {
  const reader = await openGenerationReader().catch((error: unknown) => {
    log.info('nftables: our table is read back as a whole to know that nobody changed it', { error });
    return undefined;
  });
  const tool = createSpawnedNft(['nft'], () => reader?.read());
  try {
    const library = await openLibraryNft();
    log.info('nftables: small changes through libnftables in this process, whole tables through nft(8)');
    return createMixedNft(library, tool);
  } catch (error) {
    log.info('nftables: every change through nft(8), because libnftables cannot be called', { error });
    return tool;
  }
}
