import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseTar, renderTar, type TarEntry } from './tar.ts';

const long = `usr/share/${'deep/'.repeat(30)}file.txt`;

const cases: readonly { readonly name: string; readonly entry: TarEntry }[] = [
  { name: 'a file', entry: { kind: 'file', path: 'etc/motd', data: Buffer.from('hello') } },
  { name: 'a file of whole blocks', entry: { kind: 'file', path: 'a', data: Buffer.alloc(1024, 7) } },
  { name: 'an empty file', entry: { kind: 'file', path: 'empty', data: Buffer.alloc(0) } },
  { name: 'a directory', entry: { kind: 'directory', path: 'etc', mode: 0o1777 } },
  { name: 'a symlink', entry: { kind: 'symlink', path: 'bin/sh', target: 'busybox' } },
  { name: 'a hard link', entry: { kind: 'hardlink', path: 'bin/ls', target: 'bin/busybox' } },
  { name: 'a device', entry: { kind: 'character', path: 'dev/null', major: 1, minor: 3, mode: 0o666 } },
  { name: 'a name over 100 bytes', entry: { kind: 'file', path: long, data: Buffer.from('x') } },
  { name: 'a link target over 100 bytes', entry: { kind: 'symlink', path: 'l', target: long } },
  { name: 'an owner over 2 million', entry: { kind: 'directory', path: 'o', uid: 3_000_000_000, gid: 5 } },
];

function roundTrip(entries: readonly TarEntry[]): TarEntry[] {
  return [...parseTar(Buffer.concat([...renderTar(entries)]))];
}

function filled(entry: TarEntry): TarEntry {
  const mode = entry.kind === 'directory' ? 0o755 : 0o644;
  return { mode, uid: 0, gid: 0, mtimeSeconds: 0, ...entry };
}

for (const { name, entry } of cases) {
  test(`tar: ${name} is read as it was written`, () => {
    assert.deepEqual(roundTrip([entry]).map(plain), [plain(filled(entry))]);
  });
}

function plain(entry: TarEntry): unknown {
  return entry.kind === 'file'
    ? { ...entry, data: Buffer.from(entry.data).toString('base64') }
    : { ...entry };
}

test('tar: any list of files is read as it was written', () => {
  const segment = fc.stringMatching(/^[a-zé][a-z0-9é._-]{0,40}$/);
  const file = fc.record({
    kind: fc.constant('file' as const),
    path: fc.array(segment, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/')),
    data: fc.uint8Array({ maxLength: 1500 }),
  });
  fc.assert(
    fc.property(fc.array(file, { maxLength: 5 }), (files) => {
      assert.deepEqual(
        roundTrip(files).map((entry) => [
          entry.path,
          'data' in entry && Buffer.from(entry.data).toString('hex'),
        ]),
        files.map((entry) => [entry.path, Buffer.from(entry.data).toString('hex')]),
      );
    }),
  );
});

test('tar: a damaged header is refused', () => {
  const archive = Buffer.concat([...renderTar([{ kind: 'directory', path: 'etc' }])]);
  archive[0] = 0x66;
  assert.throws(() => [...parseTar(archive)], RangeError);
});

test('tar: random bytes end in entries or a RangeError, never in a hang', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2048 }), (bytes) => {
      try {
        for (const entry of parseTar(bytes)) assert.ok(entry.path.length > 0);
      } catch (error) {
        assert.ok(error instanceof RangeError);
      }
    }),
  );
});
