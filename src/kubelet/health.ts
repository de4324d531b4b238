import { createServer } from 'node:http';
import { aborted } from '../base/lifetime.ts';
import type { Cri } from './cri.ts';

/** Local health of the node agent: Kubernetes' own port. */
const port = 10_248;

/** Serves /healthz on the loopback address: 200 while the container runtime answers. */
export async function runHealth(cri: Cri, signal: AbortSignal): Promise<void> {
  const server = createServer((_request, response) => {
    cri.version({}).then(
      () => response.end('ok'),
      (error: Error) => response.writeHead(500).end(`container runtime: ${error.message}\n`),
    );
  });
  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject);
  server.listen({ host: '127.0.0.1', port }, listening.resolve);
  await listening.promise;
  await aborted(signal);
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}
