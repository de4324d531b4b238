import ffi from 'node:ffi';
import { release } from 'node:os';
import { getSystemErrorName } from 'node:util';

/** The system calls and libuv functions that the io_uring transport uses, called through FFI. */
export type Kernel = ReturnType<typeof openKernel>;

const SYS_IO_URING_SETUP = 425n; // the same on x86-64 and arm64
const SYS_IO_URING_ENTER = 426;
const SYS_IO_URING_REGISTER = 427n;

/** Kernel release from which multishot receive and DEFER_TASKRUN work (6.0 and 6.1). */
const releaseMin = [6, 1] as const;

/** Why io_uring cannot work here before any call is made; undefined: it may. */
export function kernelTooOld(text = release()): string | undefined {
  const [major = 0, minor = 0] = text.split('.').map((part) => Number.parseInt(part, 10));
  const enough = major > releaseMin[0] || (major === releaseMin[0] && minor >= releaseMin[1]);
  return enough ? undefined : `kernel ${text} is older than ${releaseMin.join('.')}`;
}

const libcSignatures = {
  mmap: { arguments: ['uint64', 'uint64', 'int32', 'int32', 'int32', 'int64'], return: 'uint64' },
  __errno_location: { arguments: [], return: 'pointer' },
  socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  bind: { arguments: ['int32', 'buffer', 'int32'], return: 'int32' },
  listen: { arguments: ['int32', 'int32'], return: 'int32' },
  setsockopt: { arguments: ['int32', 'int32', 'int32', 'buffer', 'int32'], return: 'int32' },
  getsockname: { arguments: ['int32', 'buffer', 'buffer'], return: 'int32' },
  getpeername: { arguments: ['int32', 'buffer', 'buffer'], return: 'int32' },
  shutdown: { arguments: ['int32', 'int32'], return: 'int32' },
  close: { arguments: ['int32'], return: 'int32' },
} as const;

/** Of the calls made often, by addresses: a buffer as an argument costs several times the call. */
const addressedSignatures = {
  getsockname: { arguments: ['int32', 'uint64', 'uint64'], return: 'int32' },
  getpeername: { arguments: ['int32', 'uint64', 'uint64'], return: 'int32' },
  setsockopt: { arguments: ['int32', 'int32', 'int32', 'uint64', 'int32'], return: 'int32' },
} as const;

const uvSignatures = {
  uv_backend_fd: { arguments: ['pointer'], return: 'int32' },
  uv_backend_timeout: { arguments: ['pointer'], return: 'int32' },
  uv_update_time: { arguments: ['pointer'], return: 'void' },
} as const;

/** Throws if this process cannot call native functions. */
export function openKernel() {
  const { functions: libc } = ffi.dlopen(null, libcSignatures);
  const { functions: wide } = ffi.dlopen(null, {
    syscall: {
      arguments: ['int64', 'int64', 'int64', 'int64', 'int64', 'int64', 'int64'],
      return: 'int64',
    },
  });
  const { functions: narrow } = ffi.dlopen(null, {
    syscall: {
      arguments: ['int32', 'int32', 'int32', 'int32', 'int32', 'uint64', 'uint64'],
      return: 'int32',
    },
  });
  const { functions: byAddress } = ffi.dlopen(null, addressedSignatures);
  const { functions: uv } = ffi.dlopen(null, uvSignatures);
  const errno = libc.__errno_location();

  /** Maps memory that is never unmapped: JavaScript may hold views of it as long as it likes. */
  function map(bytes: number, at?: { readonly fd: number; readonly offset: bigint }) {
    const flags = at === undefined ? 0x22 : 0x8001; // PRIVATE|ANONYMOUS, or SHARED|POPULATE
    const address = libc.mmap(0n, BigInt(bytes), 3, flags, at?.fd ?? -1, at?.offset ?? 0n);
    if (address === 0xffff_ffff_ffff_ffffn) throw failed('mmap');
    return { address, memory: ffi.toArrayBuffer(address, bytes, false) };
  }

  /** The last call's failure as an error with `code`. */
  function failed(call: string): Error & { readonly code: string } {
    const code = errorName(ffi.getInt32(errno));
    return Object.assign(new Error(`${call} failed: ${code}`), { code });
  }

  return {
    libc,
    byAddress,
    uv,
    map,
    failed,
    lastError: () => ffi.getInt32(errno),
    addressOf: (memory: ArrayBuffer | NodeJS.ArrayBufferView) => ffi.getRawPointer(memory),
    eventLoop: () => ffi.getCurrentEventLoop(),
    viewOf: (address: bigint, bytes: number) => new Int32Array(ffi.toArrayBuffer(address, bytes, false)),
    setup: (entries: number, parameters: bigint) =>
      Number(wide.syscall(SYS_IO_URING_SETUP, BigInt(entries), parameters, 0n, 0n, 0n, 0n)),
    register: (ring: number, operation: bigint, argument: bigint, count: bigint) =>
      Number(wide.syscall(SYS_IO_URING_REGISTER, BigInt(ring), operation, argument, count, 0n, 0n)),
    enter: (
      ring: number,
      submit: number,
      wait: number,
      flags: number,
      argument: bigint,
      argumentBytes: bigint,
    ) => narrow.syscall(SYS_IO_URING_ENTER, ring, submit, wait, flags, argument, argumentBytes),
  };
}

/** "ECONNRESET" for 104. */
export function errorName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`; // one that Node has no name for
  }
}
