import ffi from 'node:ffi';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { socketError } from '../base/sockets.ts';
import { inNetns } from './sockets.ts';

const TUNSETIFF = 0x400454can;
const IFF_TUN = 1;
/** Packets as they are, without a header of the driver's. */
const IFF_NO_PI = 0x1000;
const ifreqBytes = 40;
const O_CLOEXEC = 0o2000000;

type Libc = {
  readonly ioctl: (fd: number, request: bigint, value: bigint) => number;
  readonly pipe2: (fds: bigint, flags: number) => number;
  readonly dup3: (from: number, to: number, flags: number) => number;
};

let libc: Libc | undefined;

function load(): Libc {
  if (libc !== undefined) return libc;
  const i32 = 'int32';
  const u64 = 'uint64';
  const { functions } = ffi.dlopen('libc.so.6', {
    ioctl: { arguments: [i32, u64, u64], return: i32 },
    pipe2: { arguments: [u64, i32], return: i32 },
    dup3: { arguments: [i32, i32, i32], return: i32 },
  });
  libc = functions as unknown as Libc;
  return libc;
}

/** A network interface whose other end is this process. It goes, with the routes over it, when it is closed or the process ends. */
export type PacketDevice = {
  /** Sends a packet into the namespace. What the kernel does not take at once is lost, as on any link. */
  readonly write: (packet: Buffer) => void;
  readonly close: () => void;
};

/**
 * Makes a TUN interface in a namespace, still down. Each packet that the namespace routes to it is one call of `onPacket`; while we are
 * busy the kernel keeps 500 and drops more. `onError`: nothing comes any more. Throws where the machine has or allows no such thing.
 */
export function openPacketDevice(
  netns: string,
  name: string,
  onPacket: (packet: Buffer) => void,
  onError: (error: Error) => void,
): PacketDevice {
  const fd = inNetns(netns, () => openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK));
  let reader: Socket;
  try {
    const request = Buffer.alloc(ifreqBytes);
    request.write(name, 'latin1');
    request.writeUInt16LE(IFF_TUN | IFF_NO_PI, 16);
    if (load().ioctl(fd, TUNSETIFF, ffi.getRawPointer(request)) !== 0) throw socketError(`tun ${name}`);
    reader = readerOf(fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  reader.on('data', onPacket);
  reader.on('error', onError);
  return {
    write: (packet) => {
      try {
        writeSync(fd, packet);
      } catch {
        // lost, as the contract says: the interface is down or cannot take more
      }
    },
    close: () => {
      reader.destroy();
      closeSync(fd);
    },
  };
}

/**
 * Reads a descriptor that can be waited for but is neither a pipe nor a connection, which is all that net.Socket takes: so it gets the
 * end of a pipe, which becomes the other thing before the event loop has looked at it. One read is one packet.
 */
function readerOf(fd: number): Socket {
  const { pipe2, dup3 } = load();
  const ends = Buffer.alloc(8);
  if (pipe2(ffi.getRawPointer(ends), O_CLOEXEC) !== 0) throw socketError('pipe2');
  const [end, otherEnd] = [ends.readInt32LE(0), ends.readInt32LE(4)];
  closeSync(otherEnd);
  const socket = new Socket({ fd: end, readable: true, writable: false });
  if (dup3(fd, end, O_CLOEXEC) >= 0) return socket;
  const error = socketError('dup3');
  socket.destroy();
  throw error;
}
