import assert from 'node:assert/strict';
import { request } from 'node:https';
import { after, before, test } from 'node:test';
import { startApiServer, type TestApiServer } from '../support/apiserver.ts';

/** How OpenAPI documents are kept by clients: ETags, and URLs with the document's hash. */

let server: TestApiServer;

before(async () => {
  server = await startApiServer();
});
after(() => server.stop());

type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
};

function get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { certificate: cert, key } = server.admin;
    const options = { ca: server.pki.server.caCert, cert, key, headers };
    const sent = request(`${server.url}${path}`, options, (answer) => {
      let body = '';
      answer.on('data', (chunk) => {
        body += String(chunk);
      });
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body }));
    });
    sent.once('error', reject);
    sent.end();
  });
}

for (const path of ['/openapi/v2', '/openapi/v3', '/openapi/v3/apis/apps/v1']) {
  test(`${path}: who has it already gets 304`, async () => {
    const first = await get(path);
    assert.equal(first.status, 200);
    const etag = String(first.headers['etag']);
    assert.match(etag, /^"[0-9A-F]{64}"$/);
    const again = await get(path, { 'if-none-match': `"other", ${etag}` });
    assert.deepEqual([again.status, again.body, again.headers['etag']], [304, '', etag]);
    assert.equal((await get(path, { 'if-none-match': '"other"' })).status, 200);
  });
}

test('the index leads to documents that may be kept for ever, and an old hash to the newest', async () => {
  const index = JSON.parse((await get('/openapi/v3')).body) as {
    paths: Record<string, { serverRelativeURL: string }>;
  };
  const url = index.paths['apis/apps/v1']?.serverRelativeURL ?? '';
  const document = await get(url);
  assert.equal(document.headers['cache-control'], 'public, immutable');
  const old = await get('/openapi/v3/apis/apps/v1?hash=00');
  assert.deepEqual([old.status, old.headers['location']], [301, url]);
});
