import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { isJsonObject, type JsonObject } from '../../src/api/object.ts';
import { ingressCommand } from '../../src/cmd/ingress.ts';
import { run, runOk } from '../support/shell.ts';

const chart = join(import.meta.dirname, '../../deploy/helm/fairlead-ingress');
const program = join(import.meta.dirname, '../clients/helm');
const options = { timeout: 900_000 };

type Renderer = (values?: JsonObject) => Promise<string>;

/** Lints and renders as release "fairlead-ingress" in "fairlead": by helm, or by helm's own Go packages. Otherwise the test is skipped. */
async function renderer(t: TestContext): Promise<Renderer | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-helm-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = (values: JsonObject): string => {
    const path = join(folder, 'values.yaml');
    writeFileSync(path, JSON.stringify(values));
    return path;
  };
  const helm = await run('sh', ['-c', 'command -v helm']);
  if (helm.code === 0) {
    return async (values = {}) => {
      await runOk('helm', ['lint', '--strict', chart, '-f', file(values)]);
      const release = ['template', 'fairlead-ingress', chart, '-n', 'fairlead', '--include-crds'];
      return runOk('helm', [...release, '-f', file(values)]);
    };
  }
  const go = await run('sh', ['-c', 'command -v go || ls /usr/local/go/bin/go']);
  if (go.code !== 0) {
    t.skip('neither helm nor go is installed');
    return undefined;
  }
  const binary = join(folder, 'helm-check');
  const built = await run(go.stdout.trim(), ['build', '-C', program, '-o', binary, '.'], {
    timeoutMs: 600_000,
  });
  if (built.code !== 0) {
    t.skip(`helm's packages could not be built: ${built.stderr.slice(-300)}`);
    return undefined;
  }
  return async (values = {}) => runOk(binary, [chart, 'fairlead-ingress', 'fairlead', file(values)]);
}

function objectsOf(text: string): readonly JsonObject[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as unknown)
    .filter(isJsonObject);
}

/** By kind and name, without what only a chart adds. */
function comparable(objects: readonly JsonObject[]): Readonly<Record<string, unknown>> {
  const entries = objects.map((object) => {
    const { labels, ...metadata } = object['metadata'] as {
      readonly name: string;
      readonly labels?: JsonObject;
    };
    const own = Object.entries(labels ?? {}).filter(
      ([name]) => !/^(app\.kubernetes\.io|helm\.sh)\//.test(name),
    );
    const kept = own.length === 0 ? metadata : { ...metadata, labels: Object.fromEntries(own) };
    return [
      `${JSON.stringify(object['kind']).slice(1, -1)} ${metadata.name}`,
      { ...object, metadata: kept },
    ] as const;
  });
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

test('helm chart: passes lint, and by default is what deploy/ingress.yaml is', options, async (t) => {
  const render = await renderer(t);
  if (render === undefined) return;
  const plain = readFileSync(join(chart, '../../ingress.yaml'), 'utf8');
  const crds = readFileSync(join(chart, '../../crds.yaml'), 'utf8');
  const wanted = [...objectsOf(crds), ...objectsOf(plain)].filter(({ kind }) => kind !== 'Namespace');
  assert.deepEqual(comparable(objectsOf(await render())), comparable(wanted));
  const all = await render({
    image: { repository: 'registry.example/fairlead', tag: 'x' },
    imagePullSecrets: ['pull'],
    ingressClass: { default: true, name: 'web' },
    nginxAnnotations: true,
    nginxAllowedHeaders: ['X-A', 'X-B'],
    trustedProxies: ['10.0.0.0/8', '192.0.2.0/24'],
    trustedFields: 'rfc7239',
    proxyProtocol: true,
    forwarded: 'both',
    accessLog: true,
    accessLogSample: 0.25,
    traceContext: '0',
    requestId: true,
    authoritySecret: 'authority',
    workers: 'auto',
    transport: 'net',
    seccompProfile: { type: 'Localhost', localhostProfile: 'fairlead-io-uring.json' },
    lameDuckSeconds: 20,
    extraArgs: ['--http=0.0.0.0:8001'],
    service: { type: 'NodePort', externalTrafficPolicy: 'Local', annotations: { a: 'b' }, httpPort: 8080 },
    podDisruptionBudget: { create: false },
    nodeSelector: { a: 'b' },
    tolerations: [{ key: 'a', operator: 'Exists' }],
    affinity: { nodeAffinity: {} },
    podAnnotations: { a: 'b' },
  });
  const objects = comparable(objectsOf(all));
  assert.equal(objects['PodDisruptionBudget fairlead-ingress'], undefined);
  const text = JSON.stringify(objects['Deployment fairlead-ingress']);
  for (const part of [
    '"image":"registry.example/fairlead:x"',
    '"imagePullSecrets":[{"name":"pull"}]',
    '"--ingress-class=web"',
    '"--nginx-annotations"',
    '"--nginx-allowed-headers=X-A,X-B"',
    '"--trusted-proxies=10.0.0.0/8,192.0.2.0/24"',
    '"--access-log"',
    '"--lame-duck=20"',
    '"--trusted-fields=rfc7239","--proxy-protocol","--forwarded=both"',
    '"--access-log-sample=0.25","--trace-context=0","--request-id"',
    '"--ca-cert=/etc/fairlead/authority/tls.crt","--ca-key=/etc/fairlead/authority/tls.key"',
    '"secret":{"secretName":"authority"}',
    '"--workers=auto","--transport=net","--http=0.0.0.0:8001"',
    '"seccompProfile":{"localhostProfile":"fairlead-io-uring.json","type":"Localhost"}',
    '"terminationGracePeriodSeconds":55',
    '"nodeSelector":{"a":"b"}',
  ]) {
    assert.ok(text.includes(part), part);
  }
  assert.match(
    JSON.stringify(objects['Service fairlead-ingress']),
    /"type":"NodePort","externalTrafficPolicy":"Local"/,
  );
  assert.match(JSON.stringify(objects['IngressClass web']), /is-default-class":"true"/);
});

test('helm chart: each value is documented and used, and none is used that there is not', () => {
  const text = readFileSync(join(chart, 'values.yaml'), 'utf8');
  const templates = ['rbac', 'ingressclass', 'deployment', 'service', 'poddisruptionbudget'].map((name) =>
    readFileSync(join(chart, 'templates', `${name}.yaml`), 'utf8'),
  );
  const used = new Set(
    templates.flatMap((template) =>
      [...template.matchAll(/\.Values\.([A-Za-z.]+)/g)].map(([, path = '']) => path),
    ),
  );
  const defined = new Set(leavesOf(parse(text) as JsonObject, used));
  assert.deepEqual([...used].toSorted(), [...defined].toSorted());
  for (const name of Object.keys(parse(text) as JsonObject)) {
    const at = text.split('\n').findIndex((line) => line.startsWith(`${name}:`));
    const around = text
      .split('\n')
      .slice(Math.max(0, at - 3), at + 3)
      .join('\n');
    assert.match(around, /# -- /, `${name} has a comment`);
  }
});

test('helm chart: each option of `fairlead ingress` has a value, or is named where extraArgs are explained', () => {
  const template = readFileSync(join(chart, 'templates/deployment.yaml'), 'utf8');
  const [, explained = ''] =
    /# -- Further arguments of(.*?)\nextraArgs:/s.exec(readFileSync(join(chart, 'values.yaml'), 'utf8')) ??
    [];
  const named = (text: string): readonly string[] => text.match(/--[a-z][a-z-]*[a-z]/g) ?? [];
  const written = named(template.slice(template.indexOf('args:'), template.indexOf('ports:')));
  const options = ingressCommand().options.map(({ long }) => long ?? '');
  assert.deepEqual([...new Set([...written, ...named(explained)])].toSorted(), options.toSorted());
});

/** Paths of values; one that a template takes whole is a leaf. */
function leavesOf(values: JsonObject, used: ReadonlySet<string>, prefix = ''): readonly string[] {
  return Object.entries(values).flatMap(([name, value]) => {
    const path = `${prefix}${name}`;
    return isJsonObject(value) && !used.has(path) ? leavesOf(value, used, `${path}.`) : [path];
  });
}
