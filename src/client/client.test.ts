import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttp1Server } from 'node:http';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { createTestPki } from '../../test/support/pki.ts';
import { pods } from '../api/resource.ts';
import { ApiError, type ApiErrorCode } from './client.ts';
import { apiErrorOfStatus } from './errors.ts';
import { createApiClient } from './http.ts';
import { inClusterConfig, KubeconfigError, loadKubeconfig } from './kubeconfig.ts';
import { LineTooLong, splitLines } from './watch-lines.ts';

const pki = await createTestPki();

type Handler = (request: Pick<IncomingMessage, 'url' | 'method'>, response: ServerResponse) => void;

/** A server over HTTP/2 and TLS, or plain HTTP/1.1, and a client of it. */
async function serving(protocol: 'h2' | 'http1', handler: Handler) {
  const server =
    protocol === 'h2'
      ? createSecureServer({ key: pki.server.key, cert: pki.server.cert }, (request, response) =>
          handler(request, response as unknown as ServerResponse),
        )
      : createHttp1Server(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = createApiClient({
    server: `${protocol === 'h2' ? 'https' : 'http'}://127.0.0.1:${port}`,
    certificateAuthority: pki.server.caCert,
    namespace: 'default',
  });
  return {
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function event(type: string, object: object): string {
  return `${JSON.stringify({ type, object })}\n`;
}

for (const protocol of ['h2', 'http1'] as const) {
  test(`client over ${protocol}: pages of a list are joined and items named`, async () => {
    await using run = await serving(protocol, (request, response) => {
      const second = request.url?.includes('continue=next') === true;
      const item = { metadata: { name: second ? 'b' : 'a' } };
      response.end(
        JSON.stringify({ metadata: { resourceVersion: '7', continue: second ? '' : 'next' }, items: [item] }),
      );
    });
    const { items, resourceVersion } = await run.client.list(pods);
    assert.deepEqual(
      items.map(({ metadata, kind }) => [metadata?.name, kind]),
      [
        ['a', 'Pod'],
        ['b', 'Pod'],
      ],
    );
    assert.equal(resourceVersion, '7');
  });

  test(`client over ${protocol}: a watch gives events, bookmarks, and the server's error`, async () => {
    await using run = await serving(protocol, (_request, response) => {
      response.write(event('ADDED', { metadata: { name: 'a', resourceVersion: '8' } }));
      response.write(event('BOOKMARK', { metadata: { resourceVersion: '9' } }));
      response.end(event('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }));
    });
    const seen: string[] = [];
    await assert.rejects(
      async () => {
        for await (const { type } of run.client.watch(pods, '7')) seen.push(type);
      },
      (error) => error instanceof ApiError && error.code === 'Expired',
    );
    assert.deepEqual(seen, ['ADDED', 'BOOKMARK']);
  });

  test(`client over ${protocol}: aborting a watch rejects with the signal's reason`, async () => {
    await using run = await serving(protocol, (_request, response) => {
      response.write(event('ADDED', { metadata: { name: 'a', resourceVersion: '8' } }));
    });
    const stop = new AbortController();
    const reason = new Error('enough');
    await assert.rejects(async () => {
      for await (const _event of run.client.watch(pods, '7', { signal: stop.signal })) stop.abort(reason);
    }, reason);
  });

  test(`client over ${protocol}: a refusal is an ApiError with its reason`, async () => {
    await using run = await serving(protocol, (_request, response) => {
      response.writeHead(409);
      response.end(
        JSON.stringify({ kind: 'Status', reason: 'AlreadyExists', message: 'there is one', code: 409 }),
      );
    });
    await assert.rejects(
      run.client.create(pods, { metadata: { name: 'a', namespace: 'b' } }),
      (error) => error instanceof ApiError && error.code === 'AlreadyExists' && error.httpStatus === 409,
    );
  });
}

test('client: a lost connection is made again by the next request', async () => {
  let requests = 0;
  await using run = await serving('h2', (request, response) => {
    requests++;
    if (requests === 1)
      (request as unknown as { stream: { session: { destroy(): void } } }).stream.session.destroy();
    else response.end('ok');
  });
  await assert.rejects(
    run.client.raw('/readyz'),
    (error) => error instanceof ApiError && error.code === 'Unavailable',
  );
  assert.equal(await run.client.raw('/readyz'), 'ok');
});

test('client: nobody listens', async () => {
  const client = createApiClient({ server: 'https://127.0.0.1:1', namespace: 'default' });
  await assert.rejects(
    client.raw('/readyz'),
    (error) => error instanceof ApiError && error.code === 'Unavailable',
  );
  client.close();
});

const refusals: readonly (readonly [number, string, ApiErrorCode])[] = [
  [404, '{"kind":"Status","reason":"NotFound"}', 'NotFound'],
  [410, '{"kind":"Status","reason":"Gone"}', 'Expired'],
  [409, '{"kind":"Status","reason":"Conflict"}', 'Conflict'],
  [504, 'gateway timeout', 'Timeout'],
  [503, '<html>', 'Unavailable'],
  [418, '', 'Unknown'],
];
for (const [status, body, want] of refusals) {
  test(`client: HTTP ${status} ${body} is ${want}`, () => {
    assert.equal(apiErrorOfStatus(status, body).code, want);
  });
}

async function* cut(bytes: Uint8Array, at: readonly number[]): AsyncGenerator<Uint8Array> {
  let from = 0;
  for (const to of [...at, bytes.length].toSorted((a, b) => a - b)) {
    yield bytes.subarray(from, Math.max(from, Math.min(to, bytes.length)));
    from = Math.max(from, Math.min(to, bytes.length));
  }
}

test('watch lines: the same lines whatever the chunks', async () => {
  const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' '));
  await fc.assert(
    fc.asyncProperty(fc.array(line), fc.array(fc.nat(200)), async (lines, cuts) => {
      const bytes = Buffer.from(lines.join('\n'));
      const got = await Array.fromAsync(splitLines(cut(bytes, cuts), 1 << 20));
      assert.deepEqual(
        got,
        lines.filter((text) => text !== ''),
      );
    }),
  );
});

test('watch lines: a line beyond the bound is refused', async () => {
  await assert.rejects(Array.fromAsync(splitLines(cut(Buffer.from('abcdef\n'), [3]), 5)), LineTooLong);
});

test('kubeconfig: YAML with files beside it, data before files, and errors that say what is missing', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'fairlead-kubeconfig-'));
  try {
    writeFileSync(join(directory, 'ca.crt'), 'CA');
    const path = join(directory, 'config');
    writeFileSync(
      path,
      `current-context: c
contexts: [{name: c, context: {cluster: k, user: u, namespace: shop}}]
clusters: [{name: k, cluster: {server: "https://127.0.0.1:6443/", certificate-authority: ca.crt, tls-server-name: kube}}]
users: [{name: u, user: {token: secret, client-certificate-data: ${Buffer.from('CERT').toString('base64')}}}]
`,
    );
    const config = await loadKubeconfig(path);
    assert.equal(config.server, 'https://127.0.0.1:6443');
    assert.equal(config.certificateAuthority, 'CA');
    assert.equal(config.clientCertificate, 'CERT');
    assert.equal(config.token, 'secret');
    assert.equal(config.tlsServerName, 'kube');
    assert.equal(config.namespace, 'shop');
    await assert.rejects(loadKubeconfig(path, 'other'), /no context named "other"/);
    await assert.rejects(loadKubeconfig(join(directory, 'none')), KubeconfigError);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('kubeconfig: outside of a Pod there is no in-cluster config', async () => {
  await assert.rejects(inClusterConfig({}), /--kubeconfig/);
});
