/**
 * The house rules that a compiler does not check: layers, purity, no barrels, sizes, loose ends, dead files and
 * examples without a test. Each returns lines of the form `file:line: what and why`.
 */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** Lower may not import higher; folders of the same rank from `controllers` on never import each other. */
const layers: Readonly<Record<string, number>> = {
  base: 0,
  api: 1,
  store: 2,
  client: 2,
  model: 2,
  control: 3,
  controllers: 4,
  l4: 4,
  dns: 4,
  l7: 4,
  kubelet: 4,
  apiserver: 4,
  cluster: 4,
  cli: 4,
  cmd: 5,
};

/** Files that may do I/O. Everything else in `src` is pure: no node:* beyond assert and buffer, no clock, no chance. */
const shells: readonly RegExp[] = [
  /^src\/base\/(clock|grpc|health-server|log|oci-archive|sockets)\.ts$/,
  /^src\/api\/cel\/expression\.ts$/, // loads its library with the first rule
  /^src\/store\/(sqlite|engine)\.ts$/, // the engine commits once an event-loop turn
  /^src\/client\//,
  /^src\/control\//,
  /^src\/controllers\/.*(controller|run|main)\.ts$/,
  /^src\/apiserver\//,
  /^src\/kubelet\//,
  /^src\/cluster\//,
  /^src\/cli\//,
  /^src\/cmd\//,
  /^src\/l4\/(apply|conntrack|generation|libnftables|run|proxy-loop|health|service-health|userspace\/(sockets|dataplane|relay|relay-kernel|relay-process))\.ts$/,
  /^src\/dns\/(server|forward|exchange|question-socket|run|health|udp|udp-batch|tcp)\.ts$/,
  /^src\/l7\/[a-z0-9]+\/(net-[a-z-]+|access-log-sink|compressor|uring-[a-z]+|openssl|tls-acceptor|decrypted-connection|listen-sockets|worker-pool|worker-process|local-engine|transport-choice|static-server|proxy|tls|upstream|health|run|server|status|certificate|default-certificate|upgrade|connection)\.ts$/,
];

const pureModules = new Set(['node:assert', 'node:assert/strict', 'node:buffer', 'node:crypto']);
const impure =
  /\b(Date\.now|Math\.random|setTimeout|setInterval|setImmediate)\s*\(|\bprocess\.(?!stdout\b)\w+|\bconsole\./;

const fileLinesMax = 500;
const functionLinesMax = 70;

/** Files that were longer when the rule came; they may only shrink. */
const fileLinesRatchet: Readonly<Record<string, number>> = {};
const functionLinesRatchet: Readonly<Record<string, number>> = {
  'src/apiserver/quota.ts#createQuotas': 75,
  'src/apiserver/tokens.ts#createTokenAuthority': 76,
  'src/controllers/volume-binder/controller.ts#volumeBinderController': 91,
  'src/kubelet/containerd.ts#startContainerd': 78,
  'src/kubelet/run.ts#runKubelet': 122,
};

type Source = { readonly path: string; readonly text: string; readonly lines: readonly string[] };

export function tidy(root: string): readonly string[] {
  const paths = globSync(
    ['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'scripts/**/*.ts', 'tools/images/**/*.ts'],
    {
      cwd: root,
    },
  )
    .filter((path) => !path.startsWith('src/api/gen/') && !path.includes('node_modules'))
    .toSorted();
  const sources = paths.map((path): Source => {
    const text = readFileSync(join(root, path), 'utf8');
    return { path, text, lines: text.split('\n') };
  });
  return [
    ...sources.flatMap(checkLayers),
    ...sources.flatMap(checkPurity),
    ...sources.flatMap(checkNames),
    ...sources.flatMap(checkSizes),
    ...sources.flatMap(checkLooseEnds),
    ...checkDeadFiles(sources),
    ...checkExamples(root, sources),
  ];
}

const isTest = (path: string): boolean => path.endsWith('.test.ts') || path.startsWith('test/');

function importsOf(source: Source): readonly string[] {
  const found = source.text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g);
  return [...found].flatMap((match) => (match[1] === undefined ? [] : [match[1]]));
}

function layerOf(path: string): string | undefined {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

function checkLayers(source: Source): readonly string[] {
  const from = layerOf(source.path);
  if (from === undefined || isTest(source.path)) return [];
  const problems: string[] = [];
  for (const specifier of importsOf(source)) {
    if (!specifier.startsWith('.')) continue;
    const to = layerOf(normalize(join(dirname(source.path), specifier)));
    if (to === undefined || to === from) continue;
    const fromRank = layers[from] ?? -1;
    const toRank = layers[to] ?? -1;
    if (toRank > fromRank || (toRank === fromRank && fromRank >= 4)) {
      problems.push(
        `${source.path}: ${from} must not import ${to} (${specifier}); they meet through the Kubernetes API`,
      );
    }
  }
  return problems;
}

function checkPurity(source: Source): readonly string[] {
  if (!source.path.startsWith('src/') || isTest(source.path)) return [];
  if (shells.some((shell) => shell.test(source.path))) return [];
  const modules = importsOf(source).filter((name) => name.startsWith('node:') && !pureModules.has(name));
  const problems = modules.map(
    (name) => `${source.path}: a pure file imports ${name}; move the I/O into a shell file`,
  );
  source.lines.forEach((line, index) => {
    const code = line.replace(/\/\/.*$|^\s*\*.*$/, '');
    const hit = impure.exec(code)?.[0];
    if (hit !== undefined)
      problems.push(`${source.path}:${index + 1}: a pure file uses ${hit}; take it as a parameter`);
  });
  return problems;
}

function checkNames(source: Source): readonly string[] {
  const base = source.path.split('/').at(-1) ?? '';
  const noise = /^(utils?|helpers?|common|types|misc|manager|index)\.ts$/.exec(base);
  return noise === null ? [] : [`${source.path}: name the file after the thing that it holds`];
}

function checkSizes(source: Source): readonly string[] {
  const problems: string[] = [];
  const allowed = fileLinesRatchet[source.path] ?? fileLinesMax;
  if (!isTest(source.path) && source.lines.length > allowed) {
    problems.push(
      `${source.path}: ${source.lines.length} lines, more than ${allowed}: two ideas in one file?`,
    );
  }
  if (isTest(source.path)) return problems;
  let start = -1;
  let name = '';
  source.lines.forEach((line, index) => {
    const opening = /^(?:export )?(?:async )?function\*? (\w+)/.exec(line);
    if (opening !== null) {
      start = index;
      name = opening[1] ?? '';
    }
    if (line === '}' && start !== -1) {
      const length = index - start + 1;
      const limit = functionLinesRatchet[`${source.path}#${name}`] ?? functionLinesMax;
      if (length > limit)
        problems.push(`${source.path}:${start + 1}: ${name} has ${length} lines, more than ${limit}`);
      start = -1;
    }
  });
  return problems;
}

function checkLooseEnds(source: Source): readonly string[] {
  if (source.path === 'scripts/tidy.ts') return [];
  return source.lines.flatMap((line, index) => {
    const hit = /\bFIXME\b|\bTODO\b(?!\(docs\/decisions)|\.only\(|@ts-ignore|@ts-nocheck/.exec(line)?.[0];
    return hit === undefined ? [] : [`${source.path}:${index + 1}: ${hit} left behind`];
  });
}

/** A file that nothing imports, names in a command line or runs as a test. */
function checkDeadFiles(sources: readonly Source[]): readonly string[] {
  const reached = new Set<string>();
  for (const source of sources) {
    for (const specifier of importsOf(source)) {
      if (specifier.startsWith('.')) reached.add(normalize(join(dirname(source.path), specifier)));
    }
    for (const match of source.text.matchAll(/new URL\('([^']+\.ts)'/g)) {
      if (match[1] !== undefined) reached.add(normalize(join(dirname(source.path), match[1])));
    }
  }
  const entries =
    /^(src\/cmd\/|scripts\/|bench\/|tools\/images\/build\.ts|test\/support\/|test\/clients\/fetch-debian\.ts$)/;
  return sources
    .map((source) => source.path)
    .filter((path) => !reached.has(path) && !path.endsWith('.test.ts') && !entries.test(path))
    .map((path) => `${path}: nothing imports this file`);
}

/** Every manifest under examples/ is applied by some test, so none can rot. */
function checkExamples(root: string, sources: readonly Source[]): readonly string[] {
  const tests = sources.filter((source) => source.path.startsWith('test/')).map((source) => source.text);
  return globSync('examples/*.yaml', { cwd: root })
    .map((path) => path.split('/').at(-1) ?? '')
    .filter((name) => !tests.some((text) => text.includes(name)))
    .map((name) => `examples/${name}: no test applies this example`);
}
