import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ingresses } from '../../src/api/resource.ts';
import { startApiServerProcess } from '../support/apiserver-process.ts';

const program = fileURLToPath(new URL('../../src/cmd/fairlead.ts', import.meta.url));

async function migrate(args: readonly string[], input = '') {
  const flags = ['--disable-warning=ExperimentalWarning', program, 'migrate', 'ingress-nginx', ...args];
  const child = spawn(process.execPath, flags, { stdio: 'pipe' });
  child.stdin.end(input);
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), exit]);
  return { stdout, stderr, status };
}

const manifest = (name: string, annotation: string): string => `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: ${name}
  namespace: default
  annotations: { ${annotation} }
spec:
  ingressClassName: nginx
  defaultBackend: { service: { name: web, port: { number: 80 } } }
`;
const plain = 'nginx.ingress.kubernetes.io/app-root: /app';
const snippet = 'nginx.ingress.kubernetes.io/server-snippet: x';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'fairlead-migrate-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test('migrate ingress-nginx: files, folders and standard input; the exit status tells what has no equal', async (t) => {
  const at = folder(t);
  mkdirSync(join(at, 'deeper'));
  writeFileSync(join(at, 'deeper', 'a.yaml'), `apiVersion: v1\nkind: Service\n---${manifest('a', plain)}`);
  const { status, stdout } = await migrate(['-f', at]);
  assert.equal(status, 0);
  assert.match(stdout, /✓ Ingress default\/a\n {2}✓ is honoured as it is\n {6}app-root\n/);
  const piped = await migrate(['-f', '-', '-f', at, '-o', 'json'], manifest('b', snippet));
  assert.equal(piped.status, 2);
  const { ingresses: told } = JSON.parse(piped.stdout) as { ingresses: readonly { name: string }[] };
  assert.deepEqual(
    told.map(({ name }) => name),
    ['a', 'b'],
  );
  writeFileSync(join(at, 'bad.yaml'), 'a: [');
  const bad = await migrate(['-f', at]);
  assert.equal(bad.status, 1);
  assert.match(bad.stderr, /bad\.yaml is not valid YAML/);
});

test('migrate ingress-nginx: what a cluster has; its replacements can be applied', async (t) => {
  const server = await startApiServerProcess();
  t.after(() => server.stop());
  const admin = await server.client('admin', ['system:masters']);
  await admin.create(ingresses, {
    metadata: {
      name: 'shop',
      namespace: 'default',
      annotations: { 'nginx.ingress.kubernetes.io/rewrite-target': '/$1' },
    },
    spec: {
      ingressClassName: 'nginx',
      rules: [
        {
          host: 'shop.example',
          http: {
            paths: [
              {
                path: '/(.*)',
                pathType: 'ImplementationSpecific',
                backend: { service: { name: 'web', port: { number: 80 } } },
              },
            ],
          },
        },
      ],
    },
  });
  const kubeconfig = await server.kubeconfig('admin', ['system:masters']);
  const { status, stdout, stderr } = await migrate([
    '--kubeconfig',
    kubeconfig,
    '-n',
    'default',
    '-o',
    'yaml',
  ]);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /fairlead\.dev\/rewrite-path: \/\$1/);
  assert.doesNotMatch(stdout, /resourceVersion|managedFields|nginx/);
});
