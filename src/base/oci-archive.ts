import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { renderTar, type TarEntry } from './tar.ts';

/** GOARCH names, as OCI uses them. */
export type OciArchitecture = 'amd64' | 'arm64';

/** How a container of the image starts. Spec: OCI image configuration, "config". */
export type OciConfig = {
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  readonly env?: readonly string[]; // "KEY=value"
  readonly workingDir?: string;
  readonly exposedPorts?: readonly string[]; // "80/tcp"
  readonly user?: string; // "uid", "uid:gid" or a name
  readonly labels?: Readonly<Record<string, string>>;
  readonly stopSignal?: string;
};

export type OciImage = {
  /** Full names, each with registry, repository and tag: `docker.io/library/caddy:latest`. */
  readonly tags: readonly string[];
  readonly architecture: OciArchitecture;
  readonly config: OciConfig;
  /** Lowest first. Put a parent directory before what is in it. */
  readonly layers: readonly Iterable<TarEntry>[];
  /** 'none' imports quickest, 'gzip' is for archives that travel. Default 'none'. */
  readonly compression?: 'none' | 'gzip';
};

export type OciArchive = {
  /** The archive: an OCI image layout in a tar, to be written one piece after another. */
  readonly pieces: readonly Uint8Array[];
  readonly sizeBytes: number;
  /** "sha256:…" of the manifest: what container runtimes show as the image's digest. */
  readonly manifestDigest: string;
  /** "sha256:…" of the configuration: what Docker and CRI show as the image id. */
  readonly configDigest: string;
};

type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };
type Blob = { readonly descriptor: Descriptor; readonly pieces: readonly Uint8Array[] };

const ociMediaType = 'application/vnd.oci.image';

/** One image as an OCI layout archive, in memory. Equal input gives equal bytes. Spec: OCI image-spec v1.0. */
export function createOciArchive(image: OciImage): OciArchive {
  const layers = image.layers.map((entries) => layerBlob(entries, image.compression ?? 'none'));
  const config = jsonBlob(`${ociMediaType}.config.v1+json`, {
    created: '1970-01-01T00:00:00Z',
    architecture: image.architecture,
    os: 'linux',
    config: renderConfig(image.config),
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
  });
  const manifest = jsonBlob(`${ociMediaType}.manifest.v1+json`, {
    schemaVersion: 2,
    mediaType: `${ociMediaType}.manifest.v1+json`,
    config: config.descriptor,
    layers: layers.map((layer) => layer.descriptor),
  });
  const index = {
    schemaVersion: 2,
    mediaType: `${ociMediaType}.index.v1+json`,
    manifests: image.tags.map((tag) => ({
      ...manifest.descriptor,
      platform: { architecture: image.architecture, os: 'linux' },
      annotations: {
        'io.containerd.image.name': tag, // read by containerd's import
        'org.opencontainers.image.ref.name': tag.slice(tag.lastIndexOf(':') + 1),
      },
    })),
  };
  const pieces = [
    ...renderTar(layoutEntries([...layers, config, manifest], Buffer.from(JSON.stringify(index)))),
  ];
  return {
    pieces,
    sizeBytes: pieces.reduce((sum, piece) => sum + piece.length, 0),
    manifestDigest: manifest.descriptor.digest,
    configDigest: config.descriptor.digest,
  };
}

/** Writes the archive to a new file at `path`, replacing what is there. */
export async function writeOciArchive(archive: OciArchive, path: string): Promise<void> {
  await using file = await open(path, 'w');
  for (const piece of archive.pieces) await file.writeFile(piece); // appends at the handle's position
}

function* layoutEntries(blobs: readonly Blob[], index: Uint8Array): Generator<TarEntry, void, void> {
  yield { kind: 'file', path: 'oci-layout', data: Buffer.from('{"imageLayoutVersion":"1.0.0"}') };
  yield { kind: 'file', path: 'index.json', data: index };
  yield { kind: 'directory', path: 'blobs' };
  yield { kind: 'directory', path: 'blobs/sha256' };
  const written = new Set<string>();
  for (const { descriptor, pieces } of blobs) {
    if (written.has(descriptor.digest)) continue;
    written.add(descriptor.digest);
    const data = pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
    yield { kind: 'file', path: `blobs/sha256/${descriptor.digest.slice('sha256:'.length)}`, data };
  }
}

function layerBlob(
  entries: Iterable<TarEntry>,
  compression: 'none' | 'gzip',
): Blob & { readonly diffId: string } {
  const tar = Buffer.concat([...renderTar(entries)]);
  const diffId = digest(tar);
  const data = compression === 'gzip' ? gzipSync(tar) : tar;
  const suffix = compression === 'gzip' ? '+gzip' : '';
  return {
    diffId,
    descriptor: {
      mediaType: `${ociMediaType}.layer.v1.tar${suffix}`,
      digest: compression === 'gzip' ? digest(data) : diffId,
      size: data.length,
    },
    pieces: [data],
  };
}

function jsonBlob(mediaType: string, value: unknown): Blob {
  const data = Buffer.from(JSON.stringify(value));
  return { descriptor: { mediaType, digest: digest(data), size: data.length }, pieces: [data] };
}

function digest(data: Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

function renderConfig(config: OciConfig): Record<string, unknown> {
  const rendered: Record<string, unknown> = {
    Env: config.env ?? ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
  };
  if (config.entrypoint !== undefined) rendered['Entrypoint'] = config.entrypoint;
  if (config.cmd !== undefined) rendered['Cmd'] = config.cmd;
  if (config.workingDir !== undefined) rendered['WorkingDir'] = config.workingDir;
  if (config.user !== undefined) rendered['User'] = config.user;
  if (config.labels !== undefined) rendered['Labels'] = config.labels;
  if (config.stopSignal !== undefined) rendered['StopSignal'] = config.stopSignal;
  if (config.exposedPorts !== undefined) {
    rendered['ExposedPorts'] = Object.fromEntries(config.exposedPorts.map((port) => [port, {}]));
  }
  return rendered;
}
