import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TarEntry } from '../../src/base/tar.ts';
import { readElf } from './elf.ts';
import { assembleRootfs, poolOf, type RootfsPlan } from './rootfs.ts';

/** An ELF file with an interpreter ('': none, a library) and needed libraries: header, three program headers, texts, dynamic section. */
function elf(interpreter: string, needed: readonly string[]): Buffer {
  const texts = Buffer.from(`\0${[...needed, interpreter].join('\0')}\0`);
  const textsAt = 64 + 3 * 56;
  const dynamicAt = textsAt + texts.length;
  const dynamicBytes = (needed.length + 2) * 16;
  const base = 0x400000n;
  const file = Buffer.alloc(dynamicAt + dynamicBytes);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(3, 56);
  const segments = [
    [1, 0, file.length],
    [2, dynamicAt, dynamicBytes],
    [interpreter === '' ? 0 : 3, textsAt + texts.indexOf(interpreter), interpreter.length + 1],
  ] as const;
  for (const [index, [type, offset, size]] of segments.entries()) {
    const at = 64 + index * 56;
    file.writeUInt32LE(type, at);
    file.writeBigUInt64LE(BigInt(offset), at + 8);
    file.writeBigUInt64LE(base + BigInt(offset), at + 16);
    file.writeBigUInt64LE(BigInt(size), at + 32);
  }
  texts.copy(file, textsAt);
  const entries = [
    ...needed.map((soname) => [1n, BigInt(texts.indexOf(`\0${soname}\0`) + 1)] as const),
    [5n, base + BigInt(textsAt)] as const,
  ];
  for (const [index, [tag, value]] of entries.entries()) {
    file.writeBigUInt64LE(tag, dynamicAt + index * 16);
    file.writeBigUInt64LE(value, dynamicAt + index * 16 + 8);
  }
  return file;
}

function file(path: string, data: Uint8Array = Buffer.from(path)): TarEntry {
  return { kind: 'file', path, data, mode: 0o755, uid: 1000, mtimeSeconds: 99 };
}

const loader = '/lib64/ld-linux-x86-64.so.2';
const triplet = 'x86_64-linux-gnu';
const pool = poolOf([
  [
    'tool',
    [
      file('usr/bin/tool', elf(loader, ['liba.so.1', 'libc.so.6'])),
      { kind: 'hardlink', path: 'usr/bin/tool2', target: 'usr/bin/tool' },
      file('usr/bin/other'),
      file('usr/share/doc/tool/copyright'),
    ],
  ],
  [
    'liba1',
    [
      { kind: 'symlink', path: `usr/lib/${triplet}/liba.so.1`, target: 'liba.so.1.2' },
      file(`usr/lib/${triplet}/liba.so.1.2`, elf('', ['libc.so.6'])),
      { kind: 'symlink', path: 'usr/share/doc/liba1', target: 'tool' },
    ],
  ],
  [
    'libc6',
    [
      file(`lib/${triplet}/libc.so.6`),
      file(`lib/${triplet}/ld-linux-x86-64.so.2`),
      { kind: 'symlink', path: 'lib64/ld-linux-x86-64.so.2', target: `/lib/${triplet}/ld-linux-x86-64.so.2` },
    ],
  ],
]);
const nothing: RootfsPlan = { include: [], files: new Map(), symlinks: new Map(), directories: new Map() };

function pathsOf(plan: Partial<RootfsPlan>): readonly string[] {
  const entries = assembleRootfs(pool, { ...nothing, ...plan });
  return entries.filter((entry) => entry.kind !== 'directory').map((entry) => entry.path);
}

const links = ['bin', 'lib', 'lib64', 'sbin'];

test('images: an ELF file tells its interpreter and libraries; other files tell nothing', () => {
  assert.deepEqual(readElf(elf(loader, ['a.so', 'b.so'])), { interpreter: loader, needed: ['a.so', 'b.so'] });
  assert.equal(readElf(Buffer.from('#!/bin/sh\n')), undefined);
  const cut = elf(loader, ['a.so']).subarray(0, 100);
  assert.throws(() => readElf(cut), RangeError);
});

test('images: a program brings its loader, its libraries, their link targets and the licence', () => {
  assert.deepEqual(pathsOf({ include: ['usr/bin/tool'] }), [
    ...links,
    'usr/bin/tool',
    `usr/lib/${triplet}/ld-linux-x86-64.so.2`,
    `usr/lib/${triplet}/liba.so.1`,
    `usr/lib/${triplet}/liba.so.1.2`,
    `usr/lib/${triplet}/libc.so.6`,
    'usr/lib64/ld-linux-x86-64.so.2',
    'usr/share/doc/tool/copyright',
  ]);
});

test('images: a hard link is a file of its own', () => {
  const entry = assembleRootfs(pool, { ...nothing, include: ['usr/bin/tool2'] }).find(
    ({ path }) => path === 'usr/bin/tool2',
  );
  assert.equal(entry?.kind, 'file');
});

test('images: every directory stands before what is in it, all is of root and of no time', () => {
  const plan = { ...nothing, include: ['usr/bin/'], directories: new Map([['tmp', 0o1777]]) };
  const entries = assembleRootfs(pool, plan);
  const seen = new Set(['.']);
  for (const entry of entries) {
    assert.ok(seen.has(entry.path.includes('/') ? entry.path.slice(0, entry.path.lastIndexOf('/')) : '.'));
    if (entry.kind === 'directory') seen.add(entry.path);
    assert.deepEqual([entry.uid ?? 0, entry.mtimeSeconds ?? 0], [0, 0], entry.path);
  }
  assert.equal(entries.find(({ path }) => path === 'tmp')?.mode, 0o1777);
});

test('images: a file that is missing is named', () => {
  assert.throws(
    () => pathsOf({ include: ['usr/bin/none'] }),
    /no package of this image has the file usr\/bin\/none/,
  );
  assert.throws(() => pathsOf({ include: ['etc/none/'] }), /files below etc\/none\//);
  const lonely = poolOf([['tool', [file('usr/bin/tool', elf(loader, ['libz.so.1']))]]]);
  const plan = { ...nothing, include: ['usr/bin/tool'] };
  assert.throws(() => assembleRootfs(lonely, plan), /libz\.so\.1, which usr\/bin\/tool needs/);
});
