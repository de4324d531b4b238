import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileRoutes } from '../routes/compile.ts';
import { viewOf } from './listed-view.ts';
import { parseStaticRoutes, withCertificates } from './static-config.ts';
import { renderRouteTable } from '../routes/table.ts';

test('l7 routes file: becomes routes, endpoints and certificates', () => {
  const routes = parseStaticRoutes({
    routes: [
      { host: 'a.example', path: '/x', backends: ['127.0.0.1:8080', '[::1]:8081'] },
      { backends: ['far.example:80'], pathType: 'Exact', path: '/', annotations: { 'ssl-redirect': true } },
    ],
    certificates: [{ hosts: ['a.example'], cert: 'a.crt', key: 'a.key' }],
  });
  const pem = Buffer.from('-----BEGIN X-----');
  const view = viewOf(withCertificates(routes, [{ cert: pem, key: pem }], '1'));
  const { table, problems } = compileRoutes(view, ['fairlead']);
  assert.deepEqual(problems, []);
  assert.equal(table.anyHost?.exact.get('/')?.policy?.httpsPort, 443);
  assert.equal(
    renderRouteTable(table),
    [
      '* Exact / -> static/route-00001:80 [far.example:80] (static/route-00001)',
      'a.example Prefix /x -> static/route-00000:8080 [127.0.0.1:8080 [::1]:8081] (static/route-00000)',
      'tls a.example <- static/certificate-0',
      '',
    ].join('\n'),
  );
});

const badCases: readonly (readonly [document: unknown, message: RegExp])[] = [
  ['text', /^the file must be a mapping$/],
  [{ route: [] }, /^route: there is no such field; allowed: routes, certificates$/],
  [{ routes: [{ backends: [] }] }, /^routes\[0\]\.backends: name at least one backend$/],
  [{ routes: [{ backends: ['127.0.0.1'] }] }, /^routes\[0\]\.backends\[0\]: "127.0.0.1" is no ADDRESS:PORT/],
  [{ routes: [{ backends: ['a:1', '127.0.0.1:1'] }] }, /a DNS name must be the only backend/],
  [{ routes: [{ path: 'x', backends: ['127.0.0.1:1'] }] }, /^routes\[0\]\.path: "x" must begin with \/$/],
  [{ certificates: [{ hosts: ['a'], cert: 'x' }] }, /^certificates\[0\]\.key must be text$/],
];

for (const [document, message] of badCases) {
  test(`l7 routes file: ${message.source}`, () => {
    assert.throws(() => parseStaticRoutes(document), { name: 'UserError', message });
  });
}
