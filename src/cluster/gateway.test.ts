import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { silentLogger } from '../base/log.ts';
import { openSocket } from '../base/sockets.ts';
import { parseConnect, runConnectProxy } from './gateway.ts';

for (const { line, want } of [
  { line: 'CONNECT registry.example:443 HTTP/1.1', want: { host: 'registry.example', port: 443 } },
  { line: 'CONNECT [fd00::1]:5000 HTTP/1.1', want: { host: 'fd00::1', port: 5000 } },
  { line: 'CONNECT registry.example HTTP/1.1', want: undefined },
  { line: 'CONNECT a:0 HTTP/1.1', want: undefined },
  { line: 'CONNECT a:65536 HTTP/1.1', want: undefined },
  { line: 'GET http://a/ HTTP/1.1', want: undefined },
  { line: 'CONNECT a b:443 HTTP/1.1', want: undefined },
] as const) {
  test(`request line: ${line}`, () => {
    assert.deepEqual(parseConnect(line), want);
  });
}

/** The first line that the proxy answers. */
async function ask(request: string): Promise<string> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  const stop = new AbortController();
  const running = runConnectProxy(openSocket('tcp', '127.0.0.1', port), silentLogger, stop.signal);
  try {
    const client = connect(port, '127.0.0.1');
    client.write(request);
    let text = '';
    for await (const chunk of client) text += String(chunk);
    return text.split('\r\n')[0] ?? '';
  } finally {
    stop.abort();
    await running;
  }
}

for (const { name, request, want } of [
  {
    name: 'this machine itself cannot be reached',
    request: 'CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n',
    want: 'HTTP/1.1 403 Forbidden',
  },
  {
    name: 'other methods are not served',
    request: 'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    want: 'HTTP/1.1 405 Method Not Allowed',
  },
  {
    name: 'an endless header is cut off',
    request: `CONNECT a:443 HTTP/1.1\r\nX: ${'x'.repeat(9000)}`,
    want: 'HTTP/1.1 431 Request Header Fields Too Large',
  },
] as const) {
  test(`proxy: ${name}`, async () => {
    assert.equal(await ask(request), want);
  });
}
