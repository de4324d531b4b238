/** The tests of the ingress once more, with node:net below instead of io_uring. */
process.env['FAIRLEAD_TEST_TRANSPORT'] = 'net';
await import('./ingress-protocol.test.ts');
await import('./ingress.test.ts');
await import('./ingress-http2.test.ts');
await import('./ingress-http2-streams.test.ts');
await import('./ingress-messages.test.ts');
await import('./ingress-websocket.test.ts');
