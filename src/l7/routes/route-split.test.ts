import assert from 'node:assert/strict';
import { test } from 'node:test';
import { viewOf } from '../controller/listed-view.ts';
import { compileRoutes } from './compile.ts';
import { explainRequest } from './explain.ts';
import { renderRouteTable } from './table.ts';

function compile(annotations: Readonly<Record<string, string>>) {
  const service = (name: string) => ({
    metadata: { name, namespace: 'default' },
    spec: { ports: [{ port: 80 }] },
  });
  const to = (name: string) => ({ service: { name, port: { number: 80 } } });
  const ingress = {
    metadata: { name: 'web', namespace: 'default', annotations },
    spec: {
      ingressClassName: 'fairlead',
      defaultBackend: to('v2'),
      rules: [
        {
          host: 'a.example',
          http: {
            paths: [
              { path: '/', pathType: 'Prefix', backend: to('v1') },
              { path: '/other', pathType: 'Prefix', backend: to('other') },
            ],
          },
        },
      ],
    },
  };
  const view = viewOf({
    ingressClasses: [{ metadata: { name: 'fairlead' }, spec: { controller: 'fairlead.dev/ingress' } }],
    ingresses: [ingress],
    services: ['v1', 'v2', 'other'].map(service),
    slices: [],
    secrets: [],
  });
  return compileRoutes(view, ['fairlead']);
}

test('split: rules and default backends that name one of the Services are shared, others are not', () => {
  const compiled = compile({ 'fairlead.dev/backend-weights': 'v1=80,v2=20' });
  assert.deepEqual(compiled.problems, []);
  const shared = '80 * default/v1:80 [] + 20 * default/v2:80 []';
  assert.equal(
    renderRouteTable(compiled.table),
    `a.example Prefix / -> ${shared} (default/web)\na.example Prefix /other -> default/other:80 [] (default/web)\na.example default -> ${shared}\ndefault -> ${shared}\n`,
  );
  const request = {
    method: 'GET',
    url: new URL('http://a.example/'),
    headers: [],
    clientAddress: '192.0.2.1',
  };
  assert.match(
    explainRequest(compiled, request, undefined),
    /share the requests: 80 to default\/v1, 20 to default\/v2/,
  );
});

test('split: a canary has one backend, and weights of nobody are told', () => {
  const canary = compile({ 'fairlead.dev/backend-weights': 'v1=1', 'fairlead.dev/canary': 'true' });
  assert.ok(canary.problems.some(({ message }) => /backend-weights.*a canary has one backend/.test(message)));
  const stray = compile({ 'fairlead.dev/backend-weights': 'v7=1' });
  assert.ok(stray.problems.some(({ message }) => /backend-weights.*nothing to share/.test(message)));
});
