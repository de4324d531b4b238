/** Where images come from: a registry over TLS through the cluster's gateway, its mirrors, and archives. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createOciArchive, type OciArchitecture } from '../../src/base/oci-archive.ts';
import { openSocket } from '../../src/base/sockets.ts';
import { parseTar, renderTar, type TarEntry } from '../../src/base/tar.ts';
import { inNetns } from '../../src/cluster/sockets.ts';
import { buildImages } from '../../tools/images/build.ts';
import { leftovers, planCluster, type TestCluster } from '../support/cluster.ts';
import { blobsOf, createTestRegistry, type TestRegistry } from '../support/registry.ts';
import { eventually, missingForCluster, which } from '../support/shell.ts';

const missing = missingForCluster() ?? (which('apt-get') === undefined ? 'needs apt-get' : undefined);

type Manifest = { readonly config: { digest: string }; readonly layers: readonly { digest: string }[] };

describe('images from a registry', { skip: missing ?? false, timeout: 180_000 }, () => {
  let cluster: TestCluster;
  let registry: TestRegistry;
  let rootfs: readonly TarEntry[];

  before(async () => {
    const [busybox] = await buildImages(['busybox'], {});
    const { blobs, manifest } = blobsOf(readFileSync(busybox?.path ?? ''));
    const { layers } = JSON.parse(Buffer.from(blobs.get(manifest) ?? []).toString()) as Manifest;
    rootfs = [...parseTar(blobs.get(layers[0]?.digest ?? '') ?? new Uint8Array())];
    registry = await createTestRegistry(`flregistry-${process.pid}`);
    await registry.start();
    cluster = await planCluster({ name: `reg${process.pid}`, egress: 'auto' });
    await cluster.up();
  });

  after(async () => {
    await cluster.down();
    await registry.remove();
    assert.deepEqual(await leftovers(cluster), [], 'nothing is left behind');
  });

  /** An image that says a word and then stays. */
  const imageThatSays = (word: string): Uint8Array => {
    const archive = createOciArchive({
      tags: [`fairlead.test/${word}:1`],
      architecture: (process.arch === 'arm64' ? 'arm64' : 'amd64') satisfies OciArchitecture,
      config: { cmd: ['/bin/sh', '-c', `echo ${word}; exec sleep 100000`], stopSignal: 'SIGKILL' },
      layers: [rootfs],
    });
    return Buffer.concat(archive.pieces);
  };

  const trust = (folder: string): void => {
    const registries = join(cluster.dataDir, 'registries');
    mkdirSync(join(registries, folder), { recursive: true });
    writeFileSync(join(registries, 'ca.crt'), registry.authority);
    const url = `https://${registry.host}`;
    const authority = `ca = "${join(registries, 'ca.crt')}"`;
    writeFileSync(
      join(registries, folder, 'hosts.toml'),
      `server = "${url}"\n${authority}\n\n[host."${url}"]\n${authority}\n`,
    );
  };

  const start = (pod: string, image: string, policy: string) =>
    cluster.kubectl(`run ${pod} --image=${image} --image-pull-policy=${policy}`);
  const saysWord = async (pod: string, word: string): Promise<void> => {
    await cluster.kubectl(`wait --for=condition=Ready pod/${pod} --timeout=60s`);
    assert.equal((await cluster.kubectl(`logs ${pod}`)).trim(), word);
  };
  const eventsOf = (pod: string) =>
    cluster.kubectl(`get events --field-selector involvedObject.name=${pod} -o jsonpath={.items[*].message}`);
  const waitingReason = (pod: string) =>
    cluster.kubectl(`get pod ${pod} -o jsonpath={.status.containerStatuses[0].state.waiting.reason}`);

  test('a registry with a certificate of a private authority is refused, and told why', async () => {
    registry.push('team/word', 'latest', imageThatSays('first'));
    await start('untrusted', `${registry.host}/team/word:latest`, 'Always');
    await eventually(async () => {
      assert.match(await waitingReason('untrusted'), /^(ErrImagePull|ImagePullBackOff)$/);
      assert.match(await eventsOf('untrusted'), /certificate signed by unknown authority/);
    });
  });

  test('with the authority in registries/HOST/hosts.toml it is pulled from, without a restart', async () => {
    trust(registry.host);
    await start('first', `${registry.host}/team/word:latest`, 'Always');
    await saysWord('first', 'first');
    assert.match(await eventsOf('first'), /Successfully pulled image/);
  });

  test('imagePullPolicy Always takes what the tag means now, IfNotPresent what is here', async () => {
    registry.push('team/word', 'latest', imageThatSays('second'));
    await start('present', `${registry.host}/team/word:latest`, 'IfNotPresent');
    await saysWord('present', 'first');
    await start('second', `${registry.host}/team/word:latest`, 'Always');
    await saysWord('second', 'second');
  });

  test('an unknown tag is ErrImagePull', async () => {
    await start('unknown', `${registry.host}/team/word:missing`, 'IfNotPresent');
    await eventually(async () => {
      assert.match(await waitingReason('unknown'), /^(ErrImagePull|ImagePullBackOff)$/);
      const events = await eventsOf('unknown');
      assert.match(events, /Failed to pull image .*not found/);
      assert.match(events, /Error: ErrImagePull/);
    });
  });

  test('a mirror stands in for a registry that this machine does not know', async () => {
    trust('registry.invalid');
    await start('mirrored', 'registry.invalid/team/word:latest', 'Always');
    await saysWord('mirrored', 'second');
    assert.ok(registry.requests.some((request) => request.includes('ns=registry.invalid')));
  });

  test('while the registry is down the image that is here is used, and an Event says so', async () => {
    await registry.stop();
    await eventually(async () => {
      // A registry that answered a moment ago counts as reachable for a second.
      await cluster.kubectl('delete pod offline --ignore-not-found --now');
      await start('offline', `${registry.host}/team/word:latest`, 'Always');
      await saysWord('offline', 'second');
      assert.match(
        await eventsOf('offline'),
        /already present on machine, used because its registry .* cannot be reached/,
      );
    });
  });

  test('a Pod reaches the world by TCP, knows at once where nobody is, and the cluster stays its own', async () => {
    const [address = ''] = registry.host.split(':');
    const inPod = (command: string) => cluster.tryKubectl(`exec first -- ${command}`);
    const peers: string[] = [];
    const big = 'x'.repeat(2_000_000);
    const web = createServer((request, response) => {
      peers.push(request.socket.remoteAddress ?? '');
      response.end(request.url === '/big' ? big : 'the world\n');
    });
    web.listen({ fd: inNetns(registry.netns, () => openSocket('tcp', address, 8081)) });
    try {
      assert.equal((await inPod(`wget -qO- http://${address}:8081/`)).stdout, 'the world\n');
      assert.equal((await inPod(`wget -qO- http://${address}:8081/big`)).stdout.length, big.length);
      assert.equal(new Set(peers).size, 1);
      assert.match(
        peers[0] ?? '',
        new RegExp(`^${address.replace(/\d+$/, '')}`),
        'from this machine, not from the Pod',
      );
      // Taken and then reset: nobody listens there, and this machine's own neighbourhood is not the world.
      for (const nowhere of [`${address}:8082`, '169.254.169.254']) {
        assert.notEqual((await inPod(`wget -qO- http://${nowhere}/`)).code, 0);
      }
      // A Service address without a rule is the node's to refuse, not the world's.
      assert.match((await inPod('wget -qO- http://10.43.99.99/')).stderr, /refused/);
    } finally {
      web.closeAllConnections();
      web.close();
    }
  });

  test('image import takes an archive of `docker save`', async () => {
    const { blobs, manifest } = blobsOf(imageThatSays('saved'));
    const { config, layers } = JSON.parse(Buffer.from(blobs.get(manifest) ?? []).toString()) as Manifest;
    const fileOf = (path: string, data: Uint8Array): TarEntry => ({ kind: 'file', path, mode: 0o644, data });
    const blobOf = (digest: string): Uint8Array => blobs.get(digest) ?? assert.fail(digest);
    const [layer] = layers;
    assert.ok(layer !== undefined);
    const configFile = `${config.digest.replace('sha256:', '')}.json`;
    const layerFile = `${layer.digest.replace('sha256:', '')}/layer.tar`;
    const saved = [{ Config: configFile, RepoTags: ['team/saved:1'], Layers: [layerFile] }];
    const archive = join(cluster.dataDir, 'saved.tar');
    writeFileSync(
      archive,
      Buffer.concat([
        ...renderTar([
          fileOf(configFile, blobOf(config.digest)),
          fileOf(layerFile, blobOf(layer.digest)),
          fileOf('manifest.json', Buffer.from(JSON.stringify(saved))),
        ]),
      ]),
    );
    const output = await cluster.cli(['image', 'import', '--name', cluster.name, archive]);
    assert.match(output, /imported docker\.io\/team\/saved:1/);
    await start('saved', 'team/saved:1', 'Never');
    await saysWord('saved', 'saved');
  });
});
