import { createOciArchive, type OciArchive, type OciArchitecture } from '../base/oci-archive.ts';

/** The image of every Pod's sandbox container. Made here, never pulled. */
export const pauseImage = 'fairlead.dev/pause:1';

/** The pause image for this machine, as an archive of a few kilobytes. */
export function createPauseArchive(architecture: OciArchitecture): OciArchive {
  const data = pauseProgram(architecture);
  return createOciArchive({
    tags: [pauseImage],
    architecture,
    config: { entrypoint: ['/pause'], user: '65535:65535' },
    layers: [[{ kind: 'file', path: 'pause', mode: 0o755, data }]],
  });
}

/**
 * A static ELF program that does nothing for ever. As process 1 of a shared PID namespace it is the parent of orphans:
 * with SIGCHLD ignored the kernel reaps them.
 */
export function pauseProgram(architecture: OciArchitecture): Uint8Array {
  return architecture === 'amd64' ? elf(machines.amd64, codeAmd64()) : elf(machines.arm64, codeArm64());
}

const machines = { amd64: 62, arm64: 183 } as const; // e_machine
const headerBytes = 64;
const programHeaderBytes = 56;
const entryOffset = headerBytes + programHeaderBytes;
const loadAddress = 0x400000n;

/** The kernel's struct sigaction: handler SIG_IGN, then flags, restorer and mask of 0; 8 bytes each. */
const ignoreAction = Buffer.concat([Buffer.from([1]), Buffer.alloc(31)]);
const sigchld = 17;

function elf(machine: number, code: Buffer): Buffer {
  const size = BigInt(entryOffset + code.length);
  const out = Buffer.alloc(entryOffset);
  out.write('\x7fELF\x02\x01\x01', 0, 'latin1'); // 64 bit, little endian, version 1
  out.writeUInt16LE(2, 16); // executable
  out.writeUInt16LE(machine, 18);
  out.writeUInt32LE(1, 20);
  out.writeBigUInt64LE(loadAddress + BigInt(entryOffset), 24);
  out.writeBigUInt64LE(BigInt(headerBytes), 32); // program headers start here
  out.writeUInt16LE(headerBytes, 52);
  out.writeUInt16LE(programHeaderBytes, 54);
  out.writeUInt16LE(1, 56); // one program header
  out.writeUInt32LE(1, 64); // PT_LOAD
  out.writeUInt32LE(5, 68); // readable and executable
  out.writeBigUInt64LE(loadAddress, 80);
  out.writeBigUInt64LE(loadAddress, 88);
  out.writeBigUInt64LE(size, 96);
  out.writeBigUInt64LE(size, 104);
  out.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([out, code]);
}

function codeAmd64(): Buffer {
  const before = Buffer.from([
    ...[0xbf, sigchld, 0, 0, 0], // mov edi, SIGCHLD
    ...[0x48, 0x8d, 0x35, 0, 0, 0, 0], // lea rsi, [rip + action]
    ...[0x31, 0xd2], // xor edx, edx
    ...[0x41, 0xba, 8, 0, 0, 0], // mov r10d, 8 (bytes of a signal set)
    ...[0xb8, 13, 0, 0, 0], // mov eax, rt_sigaction
    ...[0x0f, 0x05], // syscall
    ...[0xb8, 34, 0, 0, 0], // mov eax, pause
    ...[0x0f, 0x05], // syscall
    ...[0xeb, 0xf7], // jmp to "mov eax, pause"
  ]);
  const afterLea = 12;
  before.writeInt32LE(before.length - afterLea, 8);
  return Buffer.concat([before, ignoreAction]);
}

function codeArm64(): Buffer {
  const move = (register: number, value: number) => 0xd2800000 + value * 32 + register; // movz xN, #value
  const supervisorCall = 0xd4000001;
  const words = [
    move(0, sigchld),
    0, // adr x1, action: filled in below
    move(2, 0),
    move(3, 8),
    move(8, 134), // rt_sigaction
    supervisorCall,
    ...[move(0, 0), move(1, 0), move(2, 0), move(3, 0)],
    move(8, 73), // ppoll of nothing, without a timeout: arm64 has no pause
    supervisorCall,
    0x17fffffa, // b -6 words, to "mov x0, 0"
  ];
  const distance = (words.length - 1) * 4; // from the adr to what follows the code
  words[1] = 0x10000000 + (distance & 3) * 2 ** 29 + (distance >> 2) * 32 + 1;
  const code = Buffer.alloc(words.length * 4);
  for (const [index, word] of words.entries()) code.writeUInt32LE(word, index * 4);
  return Buffer.concat([code, ignoreAction]);
}
