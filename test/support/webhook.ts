import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Json, JsonObject } from '../../src/api/object.ts';
import type { TestPki } from './pki.ts';

/** What a webhook makes of the request of a review; undefined never answers. */
export type WebhookHandler = (request: JsonObject, review: JsonObject) => JsonObject | undefined;

export type TestWebhook = {
  readonly port: number;
  readonly caBundle: string;
  /** Every request that came, oldest first, with the path that it came by. */
  readonly calls: { readonly path: string; readonly request: JsonObject }[];
  handle(path: string, handler: WebhookHandler): void;
  url(path: string): string;
  stop(): Promise<void>;
};

/** A real HTTPS server that answers reviews; `names` are what its certificate says beside 127.0.0.1 and localhost. */
export async function startWebhook(
  pki: TestPki,
  options: { readonly host?: string; readonly names?: readonly string[] } = {},
): Promise<TestWebhook> {
  const { host = '127.0.0.1', names = [] } = options;
  const nowMs = Date.now();
  const pair = await pki.authority.issue({
    commonName: 'webhook',
    dnsNames: ['localhost', ...names],
    addresses: ['127.0.0.1'],
    usage: 'server',
    notBefore: new Date(nowMs - 60_000),
    notAfter: new Date(nowMs + 3_600_000),
  });
  const handlers = new Map<string, WebhookHandler>();
  const calls: { path: string; request: JsonObject }[] = [];
  const server: Server = createServer({ cert: pair.certificate, key: pair.key }, (incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const review = JSON.parse(Buffer.concat(chunks).toString()) as JsonObject & { request: JsonObject };
      const [path = ''] = (incoming.url ?? '').split('?');
      calls.push({ path, request: review.request });
      const answer = handlers.get(path)?.(review.request, review);
      if (!handlers.has(path)) {
        response.writeHead(404).end();
        return;
      }
      if (answer === undefined) return;
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    });
  });
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    caBundle: Buffer.from(pki.authority.pair.certificate).toString('base64'),
    calls,
    handle: (path, handler) => void handlers.set(path, handler),
    url: (path) => `https://${host}:${port}${path}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** An AdmissionReview that answers `request`. */
export function reviewAnswer(request: JsonObject, response: JsonObject): JsonObject {
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: { uid: request['uid'] ?? '', ...response },
  };
}

/** Allows, with a JSON patch. */
export function patchAnswer(request: JsonObject, patch: Json): JsonObject {
  return reviewAnswer(request, {
    allowed: true,
    patchType: 'JSONPatch',
    patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
  });
}
