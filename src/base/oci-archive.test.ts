import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { createOciArchive, type OciImage } from './oci-archive.ts';
import { parseTar } from './tar.ts';

const image: OciImage = {
  tags: ['docker.io/library/demo:latest', 'docker.io/library/demo:1'],
  architecture: 'amd64',
  config: { entrypoint: ['/bin/demo'], cmd: ['serve'], exposedPorts: ['80/tcp'], env: ['A=b'] },
  layers: [
    [
      { kind: 'directory', path: 'bin' },
      { kind: 'file', path: 'bin/demo', mode: 0o755, data: Buffer.from('#!') },
    ],
  ],
};

function open(archive: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const entry of parseTar(archive)) if (entry.kind === 'file') files.set(entry.path, entry.data);
  return files;
}

const json = (data: Uint8Array | undefined) => JSON.parse(Buffer.from(data ?? []).toString());
const blob = (digest: string) => `blobs/sha256/${digest.slice(7)}`;

for (const compression of ['none', 'gzip'] as const) {
  test(`oci archive: every descriptor leads to a blob with its digest (${compression})`, () => {
    const archive = createOciArchive({ ...image, compression });
    const files = open(Buffer.concat(archive.pieces));
    for (const [path, data] of files) {
      if (!path.startsWith('blobs/')) continue;
      assert.equal(path, `blobs/sha256/${createHash('sha256').update(data).digest('hex')}`);
    }
    const index = json(files.get('index.json'));
    assert.deepEqual(
      index.manifests.map(
        (manifest: Record<string, Record<string, string>>) =>
          manifest['annotations']?.['io.containerd.image.name'],
      ),
      image.tags,
    );
    const manifest = json(files.get(blob(archive.manifestDigest)));
    const config = json(files.get(blob(manifest.config.digest)));
    assert.equal(manifest.config.digest, archive.configDigest);
    assert.deepEqual(config.config.Entrypoint, ['/bin/demo']);
    assert.deepEqual(config.config.ExposedPorts, { '80/tcp': {} });
    const layer = files.get(blob(manifest.layers[0].digest)) ?? new Uint8Array();
    const tar = compression === 'gzip' ? gunzipSync(layer) : layer;
    assert.equal(config.rootfs.diff_ids[0], `sha256:${createHash('sha256').update(tar).digest('hex')}`);
    assert.deepEqual(
      [...parseTar(tar)].map((entry) => entry.path),
      ['bin', 'bin/demo'],
    );
  });
}

test('oci archive: equal input gives equal bytes', () => {
  assert.deepEqual(
    Buffer.concat(createOciArchive(image).pieces),
    Buffer.concat(createOciArchive(image).pieces),
  );
});
