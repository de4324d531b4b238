/** Ports for programs that must be told theirs, and for servers that are killed and started again at the same one. */
import { createServer } from 'node:net';

/** Above what systems use, below what kernels give out on their own, and apart from node ports. */
const firstPort = 10_000;
const endPort = 30_000;

const given = new Set<number>();

/**
 * A port that nothing listens on. Of those that a kernel gives out (`listen` at port 0) another process may have it a moment later; worse,
 * a client that dials one where nobody listens just now may get it as its own, and is connected to itself.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = firstPort + Math.floor(Math.random() * (endPort - firstPort));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
}

/** The same, several that differ. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

/** At every address, so that whoever uses it is free in the choice of his own. */
function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}
