/**
 * The kernel counts the transactions on a network namespace's nftables rules, whoever makes them. While that number is the one
 * that our own last transaction gave, nobody has touched our table, and it need not be read back to know it.
 */

/** Asks for the number; undefined when the kernel did not answer. */
export type GenerationReader = { read(): number | undefined; close(): void };

const afNetlink = 16;
const sockRaw = 3;
const netlinkNetfilter = 12;
const dontWait = 0x40;
const requestFlag = 1;
/** NFNL_SUBSYS_NFTABLES with NFT_MSG_GETGEN and NFT_MSG_NEWGEN. */
const getGeneration = (10 << 8) | 16;
const newGeneration = (10 << 8) | 15;
/** NFTA_GEN_ID */
const idAttribute = 1;

const headerBytes = 16;
const requestBytes = headerBytes + 4;
const answerBytesMax = 256;

const signatures = {
  socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  send: { arguments: ['int32', 'buffer', 'uint64', 'int32'], return: 'int64' },
  recv: { arguments: ['int32', 'buffer', 'uint64', 'int32'], return: 'int64' },
  close: { arguments: ['int32'], return: 'int32' },
} as const;

/** Of the network namespace that this thread is in now. Rejects where FFI or netlink cannot be used. */
export async function openGenerationReader(): Promise<GenerationReader> {
  const { default: ffi } = await import('node:ffi');
  const { functions } = ffi.dlopen('libc.so.6', signatures);
  const socket = functions.socket(afNetlink, sockRaw, netlinkNetfilter);
  if (socket < 0) throw new Error('no netlink socket for nftables');
  const request = Buffer.alloc(requestBytes);
  request.writeUInt32LE(requestBytes, 0);
  request.writeUInt16LE(getGeneration, 4);
  request.writeUInt16LE(requestFlag, 6);
  const answer = Buffer.alloc(answerBytesMax);
  return {
    read() {
      if (functions.send(socket, request, BigInt(requestBytes), 0) !== BigInt(requestBytes)) return undefined;
      // The kernel answers within the call that asks: there is nothing to wait for.
      const bytes = functions.recv(socket, answer, BigInt(answerBytesMax), dontWait);
      return bytes < 0n ? undefined : parseGeneration(answer.subarray(0, Number(bytes)));
    },
    close() {
      functions.close(socket);
    },
  };
}

/** Reads a netlink message of NFT_MSG_NEWGEN; undefined when it is none. */
export function parseGeneration(message: Buffer): number | undefined {
  if (message.length < requestBytes || message.readUInt16LE(4) !== newGeneration) return undefined;
  let offset = requestBytes; // attributes follow the nfgenmsg, each padded to four bytes
  while (offset + 4 <= message.length) {
    const bytes = message.readUInt16LE(offset);
    if (message.readUInt16LE(offset + 2) === idAttribute && bytes === 8 && offset + 8 <= message.length) {
      return message.readUInt32BE(offset + 4);
    }
    offset += Math.max(4, (bytes + 3) & ~3);
  }
  return undefined;
}
