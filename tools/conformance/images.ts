import { mkdir } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeImage } from '../images/build.ts';
import { debianArchitecture, fetchPackages } from '../images/packages.ts';
import { appletLinks, commonDirectories, commonFiles, path, type Recipe } from '../images/recipes.ts';
import type { FilePool } from '../images/rootfs.ts';

type TestImage = Pick<Recipe, 'reference' | 'packages' | 'config' | 'plan'>;

/** Where the suite's own images come from; a pull is never needed, for these are imported under their names. */
const registry = 'registry.k8s.io/e2e-test-images';

/** What the suite runs inside of containers, beyond its own programs. */
const shell = [
  'busybox-static',
  'bash',
  'curl',
  'bind9-dnsutils',
  'netcat-openbsd',
  'iproute2',
  'iperf',
  'libc-bin',
];
const shellPrograms = ['busybox', 'bash', 'curl', 'dig', 'nc.openbsd', 'iperf', 'getent']
  .map((name) => `usr/bin/${name}`)
  .concat('usr/sbin/ip');

/**
 * Stand-ins for the images of Kubernetes' conformance tests, under the same names: the suite's own programs, built from
 * `programs`, on packages of Debian. What says httpd or nginx is busybox's web server: the tests start, replace and stop it.
 */
export function testImages(programs: string, source: string): readonly TestImage[] {
  const program = (name: string) => ({ data: readFileSync(join(programs, name)), mode: 0o755 });
  const sourceFile = (name: string) => ({ data: readFileSync(join(source, 'test/images', name)) });
  const agnhost = (
    reference: string,
    files: Files = new Map(),
    config: Recipe['config'] = {},
  ): TestImage => ({
    reference,
    packages: shell,
    config: {
      entrypoint: ['/agnhost'],
      cmd: ['pause'],
      env: [path],
      exposedPorts: ['80/tcp', '8080/tcp', '8081/tcp', '9376/tcp', '5000/tcp'],
      ...config,
    },
    plan: (pool) => ({
      include: shellPrograms,
      files: new Map<string, FileContent>([
        ...commonFiles('Stand-in for agnhost'),
        [
          'etc/passwd',
          text(
            'root:x:0:0:root:/root:/bin/sh\nuser-defined-in-image:x:1000:1000::/home:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n',
          ),
        ],
        [
          'etc/group',
          text(
            'root:x:0:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\nnogroup:x:65534:\n',
          ),
        ],
        ['agnhost', program('agnhost')],
        ['localhost.crt', sourceFile('agnhost/porter/localhost.crt')],
        ['localhost.key', sourceFile('agnhost/porter/localhost.key')],
        ...files,
      ]),
      symlinks: new Map([...links(pool), ['agnhost-2', 'agnhost']]),
      directories: new Map([...commonDirectories, ['uploads', 0o755]]),
    }),
  });
  const plain = (
    reference: string,
    title: string,
    config: Recipe['config'],
    files: Files = new Map(),
  ): TestImage => ({
    reference,
    packages: shell,
    config: { env: [path], ...config },
    plan: (pool) => ({
      include: shellPrograms,
      files: new Map<string, FileContent>([...commonFiles(title), ...files]),
      symlinks: links(pool),
      directories: commonDirectories,
    }),
  });
  // The tests move the first page away to make a server unready.
  const webServer = (name: string) => {
    const root = name.startsWith('nginx') ? 'usr/share/nginx/html' : 'usr/local/apache2/htdocs';
    return plain(
      `${registry}/${name}`,
      'Stand-in for a web server',
      {
        cmd: ['/usr/bin/busybox', 'httpd', '-f', '-p', '80', '-h', `/${root}`],
        exposedPorts: ['80/tcp'],
      },
      new Map([[`${root}/index.html`, text('<html><body><h1>It works!</h1></body></html>\n')]]),
    );
  };
  const demo = (name: string): TestImage =>
    agnhost(
      `${registry}/${name}:1.7`,
      new Map([
        ['data.json', sourceFile(`${name}/html/data.json`)],
        [`${name}.jpg`, sourceFile(`${name}/html/${name}.jpg`)],
      ]),
      { cmd: ['test-webserver'] },
    );
  return [
    agnhost(`${registry}/agnhost:2.56`),
    plain(`${registry}/busybox:1.37.0-1`, 'Stand-in for busybox', { cmd: ['/bin/sh'] }),
    plain(`${registry}/nonroot:1.4`, 'Stand-in for nonroot', { cmd: ['/bin/sh'], user: '1234' }),
    plain(`${registry}/jessie-dnsutils:1.7`, 'Stand-in for dnsutils', { cmd: ['/bin/sh'] }),
    plain(
      `${registry}/nonewprivs:1.3`,
      'Stand-in for nonewprivs',
      { cmd: ['nnp'] },
      new Map([['usr/local/bin/nnp', { data: program('nnp').data, mode: 0o6755 }]]),
    ),
    ...['httpd:2.4.38-4', 'httpd:2.4.39-4', 'nginx:1.14-4', 'nginx:1.15-4'].map(webServer),
    demo('nautilus'),
    demo('kitten'),
    agnhost('registry.k8s.io/pause:3.10.1', new Map(), { entrypoint: ['/agnhost', 'pause'], cmd: [] }),
    plain(
      `${registry}/sample-apiserver:1.29.2`,
      'Stand-in for sample-apiserver',
      { entrypoint: ['/sample-apiserver'] },
      new Map([['sample-apiserver', program('sample-apiserver')]]),
    ),
    etcd,
  ];
}

const etcd: TestImage = {
  reference: 'registry.k8s.io/etcd:3.6.4-0',
  packages: ['etcd-server', 'busybox-static'],
  config: { env: [path], cmd: ['/usr/local/bin/etcd'] },
  plan: (pool) => ({
    include: ['usr/bin/etcd', 'usr/bin/busybox'],
    files: commonFiles('Stand-in for etcd'),
    symlinks: new Map([...appletLinks(pool), ['usr/local/bin/etcd', '/usr/bin/etcd']]),
    directories: commonDirectories,
  }),
};

type FileContent = { readonly data: Uint8Array; readonly mode?: number };
type Files = ReadonlyMap<string, FileContent>;

const text = (content: string): FileContent => ({ data: Buffer.from(content) });

/** busybox's names, but for programs that are there by themselves. */
function links(pool: FilePool): Map<string, string> {
  const found = appletLinks(pool);
  for (const name of shellPrograms) found.delete(name);
  found.delete('usr/sbin/ip');
  found.delete('usr/bin/ip');
  found.set('usr/bin/nc', 'nc.openbsd');
  // Debian's busybox shell runs its own applets before anything on the path, among them an nc without UDP, and loses variables
  // like data-1. Bash has other words for a file that cannot be made: one test wants busybox's.
  found.set('usr/bin/sh', 'bash');
  return found;
}

/** Builds all into `folder`, as archives for `fairlead image import`. */
export async function buildTestImages(
  {
    programs,
    source,
    folder,
  }: { readonly programs: string; readonly source: string; readonly folder: string },
  onProgress: (line: string) => void,
): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true });
  const images = testImages(programs, source);
  const groups = new Map(images.map((image) => [image, image.packages]));
  const packages = await fetchPackages(groups, join(folder, '../packages'), onProgress);
  const archives: string[] = [];
  for (const [image, files] of packages) {
    const archive = join(folder, `${image.reference.replaceAll(/[/:]/g, '_')}.tar`);
    onProgress(`image ${image.reference}`);
    await writeImage(image, files, debianArchitecture(), archive);
    archives.push(archive);
  }
  return archives;
}
