/** The tests of the ingress once more, with io_uring below instead of node:net. */
import { test } from 'node:test';
import { uringRefusal } from '../support/uring.ts';

const refused = uringRefusal();

if (refused === undefined) {
  process.env['FAIRLEAD_TEST_TRANSPORT'] = 'uring';
  await import('./ingress-protocol.test.ts');
  await import('./ingress.test.ts');
  await import('./ingress-http2.test.ts');
  await import('./ingress-http2-streams.test.ts');
} else {
  test('the ingress on io_uring', { skip: refused }, () => {});
}
