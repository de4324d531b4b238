/** What an Ingress and its annotations mean, once more with io_uring below instead of node:net. */
import { test } from 'node:test';
import { uringRefusal } from '../support/uring.ts';

const refused = uringRefusal();

if (refused === undefined) {
  process.env['FAIRLEAD_TEST_TRANSPORT'] = 'uring';
  await import('./ingress-annotations.test.ts');
  await import('./ingress-annotations-routing.test.ts');
  await import('./ingress-backend-tls.test.ts');
  await import('./ingress-balance.test.ts');
  await import('./ingress-certificates.test.ts');
  await import('./ingress-compression.test.ts');
  await import('./ingress-cut-off.test.ts');
  await import('./ingress-differential.test.ts');
  await import('./ingress-forward-auth.test.ts');
  await import('./ingress-http2-stalls.test.ts');
  await import('./ingress-ipv6.test.ts');
  await import('./ingress-nginx-annotations.test.ts');
  await import('./ingress-own-kinds.test.ts');
  await import('./ingress-paths.test.ts');
  await import('./ingress-proxy-protocol.test.ts');
  await import('./ingress-tls-passthrough.test.ts');
  await import('./ingress-zero-loss.test.ts');
  await import('./ingress-zero-loss-grpc.test.ts');
} else {
  test('Ingresses and annotations on io_uring', { skip: refused }, () => {});
}
