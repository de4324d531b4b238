import assert from 'node:assert/strict';
import { test } from 'node:test';
import { libraryClosure, parseDependencies, parseUris } from './packages.ts';

const depends = `curl
  Depends: libc6
  Depends: libcurl4
  Depends: debconf
libcurl4
 |Depends: libssl3
  Depends: libssl1.1
  Depends: <libvirtual>
    libprovider
  PreDepends: zlib1g
libc6
  Depends: libgcc-s1
libgcc-s1
  Depends: gcc-12-base
  Depends: libc6
<libvirtual>
libprovider
debconf
  Depends: perl-base
`;

test('images: dependencies are read: first alternatives, no virtual packages', () => {
  const parsed = parseDependencies(depends);
  assert.deepEqual(parsed.get('curl'), ['libc6', 'libcurl4', 'debconf']);
  assert.deepEqual(parsed.get('libcurl4'), ['libssl3', 'zlib1g']);
  assert.deepEqual(parsed.get('debconf'), ['perl-base']);
});

test('images: the closure follows libraries only, round in circles too', () => {
  const closure = libraryClosure(['curl'], parseDependencies(depends));
  assert.deepEqual(closure, ['curl', 'libc6', 'libcurl4', 'libgcc-s1', 'libssl3', 'zlib1g']);
});

test('images: what apt would download is read, whatever else it says', () => {
  const output = [
    "'http://mirror.example/pool/c/curl_7.88.1-10_amd64.deb' curl_7.88.1-10_amd64.deb 315160 SHA256:ab",
    'N: a notice',
    "'http://mirror.example/pool/b/busybox_1%253a1.35.0_amd64.deb' busybox_1%3a1.35.0_amd64.deb 42 ",
    '',
  ].join('\n');
  assert.deepEqual(parseUris(output), [
    { name: 'curl', file: 'curl_7.88.1-10_amd64.deb', bytes: 315160 },
    { name: 'busybox', file: 'busybox_1%3a1.35.0_amd64.deb', bytes: 42 },
  ]);
});
