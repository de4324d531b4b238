/**
 * An image registry for tests: the pull half of the OCI distribution protocol over TLS, in a network namespace of its own
 * that this machine reaches by a link with addresses for documentation (RFC 5737).
 */

import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { createAuthority, type KeyPair } from '../../src/base/certificates.ts';
import { openSocket } from '../../src/base/sockets.ts';
import { parseTar } from '../../src/base/tar.ts';
import { inNetns } from '../../src/cluster/sockets.ts';
import { runOk } from './shell.ts';

/** Each is tried in turn: a machine may use one of them itself. */
const networks = ['198.51.100', '203.0.113', '192.0.2'];
const port = 5443;

export type TestRegistry = {
  /** The namespace that it is in. */
  readonly netns: string;
  /** "ADDRESS:PORT", as it stands in image names. */
  readonly host: string;
  /** PEM of the authority that signed its certificate; no machine trusts it. */
  readonly authority: string;
  /** "GET /v2/…", in the order they came. */
  readonly requests: readonly string[];
  /** Makes an OCI archive available as NAME:TAG in place of what was there. */
  push(name: string, tag: string, archive: Uint8Array): void;
  start(): Promise<void>;
  /** Ends all connections; new ones are refused. */
  stop(): Promise<void>;
  /** Stops and removes the namespace. */
  remove(): Promise<void>;
};

type Blob = { readonly mediaType: string; readonly bytes: Uint8Array };

/** The blobs of an OCI archive, by digest, and the digest of its manifest. */
export function blobsOf(archive: Uint8Array): {
  readonly blobs: ReadonlyMap<string, Uint8Array>;
  readonly manifest: string;
} {
  const blobs = new Map<string, Uint8Array>();
  let manifest = '';
  for (const entry of parseTar(archive)) {
    if (entry.kind !== 'file') continue;
    if (entry.path === 'index.json') {
      const index = JSON.parse(Buffer.from(entry.data).toString()) as { manifests: { digest: string }[] };
      manifest = index.manifests[0]?.digest ?? '';
    } else if (entry.path.startsWith('blobs/sha256/')) {
      blobs.set(`sha256:${createHash('sha256').update(entry.data).digest('hex')}`, entry.data);
    }
  }
  return { blobs, manifest };
}

export async function createTestRegistry(netns: string): Promise<TestRegistry> {
  const used =
    (await runOk('ip', ['-4', 'address'])) + (await runOk('ip', ['-4', 'route', 'show', 'table', 'all']));
  const network = networks.find((prefix) => !used.includes(`${prefix}.`));
  if (network === undefined) throw new Error(`this machine uses all of ${networks.join(', ')}`);
  const address = `${network}.2`;
  const now = Date.now();
  const [notBefore, notAfter] = [new Date(now - 3_600_000), new Date(now + 86_400_000)];
  const authority = await createAuthority('test-registry-ca', notBefore, notAfter);
  const pair = await authority.issue({
    commonName: 'test-registry',
    addresses: [address],
    usage: 'server',
    notBefore,
    notAfter,
  });
  await runOk('ip', ['netns', 'add', netns]);
  const link = `flreg${process.pid}`;
  for (const line of [
    `link add ${link} type veth peer name eth0 netns ${netns}`,
    `address add ${network}.1/29 dev ${link}`,
    `link set ${link} up`,
    `-n ${netns} address add ${address}/29 dev eth0`,
    `-n ${netns} link set eth0 up`,
  ]) {
    await runOk('ip', line.split(' '));
  }
  return registryIn(netns, address, pair, authority.pair.certificate);
}

function registryIn(netns: string, address: string, pair: KeyPair, authority: string): TestRegistry {
  const blobs = new Map<string, Blob>();
  const tags = new Map<string, string>();
  const requests: string[] = [];
  let server: Server | undefined;

  const answer = (response: ServerResponse, method: string, digest: string | undefined): void => {
    const blob = digest === undefined ? undefined : blobs.get(digest);
    if (digest === undefined || blob === undefined) {
      response.writeHead(404, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'not here' }] }));
      return;
    }
    response.writeHead(200, {
      'Content-Type': blob.mediaType,
      'Content-Length': blob.bytes.length,
      'Docker-Content-Digest': digest,
    });
    response.end(method === 'HEAD' ? undefined : blob.bytes);
  };

  const stop = async (): Promise<void> => {
    const stopping = server;
    server = undefined;
    if (stopping === undefined) return;
    const closed = new Promise<void>((resolve) => stopping.close(() => resolve()));
    stopping.closeAllConnections();
    await closed;
  };

  return {
    netns,
    host: `${address}:${port}`,
    authority,
    requests,
    push(name, tag, archive) {
      const { blobs: found, manifest } = blobsOf(archive);
      for (const [digest, bytes] of found) {
        const mediaType =
          digest === manifest ? 'application/vnd.oci.image.manifest.v1+json' : 'application/octet-stream';
        blobs.set(digest, { mediaType, bytes });
      }
      tags.set(`${name}:${tag}`, manifest);
    },
    async start() {
      const started = createServer({ cert: pair.certificate, key: pair.key }, (request, response) => {
        const { method = '', url = '' } = request;
        requests.push(`${method} ${url}`);
        const match = /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)/.exec(url);
        const [, name = '', , reference = ''] = match ?? [];
        if (match === null) response.writeHead(200).end();
        else answer(response, method, reference.includes(':') ? reference : tags.get(`${name}:${reference}`));
      });
      const fd = inNetns(netns, () => openSocket('tcp', address, port));
      await new Promise<void>((resolve) => started.listen({ fd }, resolve));
      server = started;
    },
    stop,
    async remove() {
      await stop();
      await runOk('ip', ['netns', 'delete', netns]); // the link goes with it
    },
  };
}
