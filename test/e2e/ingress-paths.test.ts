import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpointSlices, ingressClasses, ingresses, services } from '../../src/api/resource.ts';
import { FakeApi } from '../support/fake-api.ts';
import {
  exchangeRaw,
  ingress,
  ourClass,
  service,
  slice,
  startBackend,
  startIngress,
} from './ingress-harness.ts';

const options = { timeout: 300_000 };

test(
  "ingress paths: what a backend may read as another rule's path reaches nobody, all else goes on as sent",
  options,
  async (t) => {
    const targets: string[] = [];
    const backend = await startBackend(t, 'web', (request, response) => {
      targets.push(request.url ?? '');
      response.end('web');
    });
    const api = new FakeApi();
    api.seed(ingressClasses, ourClass());
    api.seed(services, service('web'));
    api.seed(endpointSlices, slice('web', 0, backend.port));
    const paths = (path: string) => ({
      rules: [
        {
          http: {
            paths: [
              { path, pathType: 'Prefix', backend: { service: { name: 'web', port: { number: 80 } } } },
            ],
          },
        },
      ],
    });
    api.seed(ingresses, ingress('public', paths('/')));
    const admin = ingress('admin', paths('/admin'));
    const annotations = { 'fairlead.dev/allow-source-range': '192.0.2.0/24' };
    api.seed(ingresses, { ...admin, metadata: { ...admin.metadata, annotations } });
    const { http } = await startIngress(t, api);
    const status = async (target: string): Promise<string> =>
      (await exchangeRaw(http, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)).slice(
        9,
        12,
      );
    assert.equal(await status('/admin'), '403');
    for (const target of [
      '/x/../admin',
      '/x/..%2fadmin',
      '//admin',
      '/%61dmin',
      '/x/..;/admin',
      '/.\\admin',
      '/admin;a/x',
    ]) {
      assert.equal(await status(target), '400', target);
    }
    assert.deepEqual(targets, []);
    const harmless = ['/x/../y', '/a%2Fb//c', '/caf%C3%A9;v=1', '/x?next=../admin'];
    for (const target of harmless) assert.equal(await status(target), '200', target);
    assert.deepEqual(targets, harmless);
  },
);
