import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP relay to a port of the loopback that can be cut and mended, as a network between two programs can. */
export type Relay = {
  readonly port: number;
  /** Ends all connections and takes no more. */
  cut(): void;
  mend(): void;
  close(): void;
};

export async function startRelay(targetPort: number): Promise<Relay> {
  const open = new Set<Socket>();
  let whole = true;
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    if (!whole) {
      socket.destroy();
      return;
    }
    const target = connect(targetPort, '127.0.0.1');
    for (const [one, other] of [
      [socket, target],
      [target, socket],
    ] as const) {
      open.add(one);
      one.on('error', () => one.destroy());
      one.on('close', () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const end = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      whole = false;
      end();
    },
    mend() {
      whole = true;
    },
    close() {
      server.close();
      end();
    },
  };
}
