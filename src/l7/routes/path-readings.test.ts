import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { matchRoute } from './match.ts';
import { hasReadings, isAmbiguous, readingsOf } from './path-readings.ts';
import { noObjects, structureRoutes } from './route-structure.ts';
import type { RouteTable } from './table.ts';

/** Each path is a prefix with a Service of its own, `/` included. */
function tableOf(paths: readonly string[]): RouteTable {
  const ingresses = paths.map((path, index): Ingress => {
    const backend = { service: { name: `s${index}`, port: { number: 80 } } };
    return {
      metadata: { name: `i${index}`, namespace: 'default' },
      spec: { rules: [{ http: { paths: [{ path, pathType: 'Prefix', backend }] } }] },
    };
  });
  return { ...structureRoutes(ingresses, noObjects, undefined), backends: [] };
}

const table = tableOf(['/', '/public', '/admin', '/a/b']);

function verdict(path: string): string {
  const route = matchRoute(table, 'shop.example', path);
  assert.ok(route !== undefined);
  return isAmbiguous(table, 'shop.example', path, route) ? 'ambiguous' : route.path;
}

const cases: readonly (readonly [string, string])[] = [
  ['/public/x', '/public'],
  ['/public/../admin', 'ambiguous'],
  ['/public/./x', '/public'],
  ['/public/x/../y', '/public'],
  ['/public/%2e%2e/admin', 'ambiguous'],
  ['/public/..%2fadmin', 'ambiguous'],
  ['/public/..%2Fadmin', 'ambiguous'],
  ['/public/..%5cadmin', 'ambiguous'],
  ['/public\\..\\admin', 'ambiguous'],
  ['/public/..;/admin', 'ambiguous'],
  ['/public/..;a=b/admin', 'ambiguous'],
  ['/public/..%3b/admin', 'ambiguous'],
  ['//admin', 'ambiguous'],
  ['/x//admin', '/'],
  ['/./admin', 'ambiguous'],
  ['/%61dmin', 'ambiguous'],
  ['/admin;x=1', 'ambiguous'],
  ['/a%2fb', 'ambiguous'],
  ['/a//b', 'ambiguous'],
  ['/../admin', 'ambiguous'],
  ['/public/../../admin', 'ambiguous'],
  // A mixture: only who follows dots but keeps %2f reads it as /admin/….
  ['/public/../admin/..%2fpublic', 'ambiguous'],
  // Who cuts parameters before decoding keeps %3b, who decodes before following dots may keep a backslash: both reach /admin.
  ['/..;/admin/%2e.%3b', 'ambiguous'],
  ['/..%2fadmin/..\\x', 'ambiguous'],
  ['/x%2f..%2fadmin/..%5cx', 'ambiguous'],
  ['/x\\..\\admin/..%2fx', 'ambiguous'],
  // What is no trap goes on as it is.
  ['/projects/group%2Fname', '/'],
  ['/public/@scope%2fname', '/public'],
  ['/caf%C3%A9', '/'],
  ['/public/100%25', '/public'],
  ['/.well-known/acme-challenge/x', '/'],
  ['/public/.hidden', '/public'],
  ['/public/a;v=1/b', '/public'],
  ['/public/', '/public'],
  ['/public/...', '/public'],
  ['/public/%252e%252e/admin', '/public'],
];

for (const [path, want] of cases) {
  test(`l7 path readings: ${path} is ${want}`, () => assert.equal(verdict(path), want));
}

const element = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    'admin',
    'public',
    '',
    '.',
    '..',
    '..;',
    ';',
    '%2e',
    '%2e%2e',
    '.%2E',
    '%61',
    'a;x',
  ),
  fc.string({
    unit: fc.constantFrom('a', 'b', '.', '%2f', '%5C', '\\', ';', '%3b', '%2e', '%00'),
    maxLength: 5,
  }),
);
const anyPath = fc.array(element, { minLength: 1, maxLength: 6 }).map((parts) => `/${parts.join('/')}`);

/** How some servers read a path, written down anew for each. */
const servers: Readonly<Record<string, (path: string) => string>> = {
  'decodes, merges slashes, follows dots': (path) => {
    const decoded = path.replace(/%([2-7][0-9a-f])/gi, (code, hex: string) =>
      /[\w.~/-]/.test(String.fromCharCode(Number.parseInt(hex, 16)))
        ? String.fromCharCode(Number.parseInt(hex, 16))
        : String(code),
    );
    return followDots(decoded.replace(/\/+/g, '/'));
  },
  'a file server with backslashes': (path) =>
    followDots(
      path
        .replace(/%5c|\\/gi, '/')
        .replace(/%2f/gi, '/')
        .replace(/%2e/gi, '.'),
    ),
  'a servlet container': (path) => followDots(path.replace(/%2e/gi, '.').replace(/;[^/]*/g, '')),
  'decodes %2f before it follows dots, on a system where a backslash is a letter': (path) =>
    followDots(path.replace(/%2f/gi, '/').replace(/%2e/gi, '.')),
  'by the URL standard': (path) => new URL(`http://x${path.replaceAll('\\', '%5C')}`).pathname,
  'merges slashes only': (path) => path.replace(/\/+/g, '/'),
};

function followDots(path: string): string {
  const out: string[] = [];
  const parts = path.split('/').slice(1);
  for (const [index, part] of parts.entries()) {
    if (part === '..') out.pop();
    else if (part !== '.') out.push(part);
    if ((part === '..' || part === '.') && index === parts.length - 1) out.push('');
  }
  return `/${out.join('/')}`;
}

for (const [name, read] of Object.entries(servers)) {
  test(`l7 path readings: no server that ${name} is taken to another rule's path`, () => {
    fc.assert(
      fc.property(anyPath, (path) => {
        const route = matchRoute(table, '', path);
        assert.ok(route !== undefined);
        if (isAmbiguous(table, '', path, route)) return;
        assert.equal(matchRoute(table, '', read(path)), route, `${path} is read as ${read(path)}`);
      }),
      { numRuns: 3000 },
    );
  });
}

test('l7 path readings: an ordinary path has none, and costs no more than a look', () => {
  const plain = fc.array(fc.stringMatching(/^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,8}$/), { maxLength: 6 });
  fc.assert(
    fc.property(plain, (parts) => {
      const path = `/${parts.join('/')}`;
      assert.equal(hasReadings(path), false);
      assert.deepEqual([...readingsOf(path)], []);
    }),
  );
});

test('l7 path readings: a path without them has no other reading', () => {
  fc.assert(
    fc.property(anyPath, (path) => {
      if (!hasReadings(path)) assert.equal(readingsOf(path).size, 0);
    }),
  );
});
