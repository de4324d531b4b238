/** Looks at what a connection of node:net begins with, before it is known who will read it. */
import type { Socket } from 'node:net';
import type { ClientHello } from '../passthrough/client-hello.ts';
import { HelloReader } from '../passthrough/hello-reader.ts';
import type { ProxyProtocolOptions } from './proxied-connection.ts';
import { parseProxyHeader, type Peer } from './proxy-protocol.ts';

/** `cut`: it is no good, and the connection ends. Of what has come `consumed` bytes are gone, all others are put back. */
type Taken<T> = 'more' | 'cut' | { readonly result: T; readonly consumed: number };

/** Gives `take` each piece that comes till it has enough. 'none': it never had, and the connection is cut. */
function preread<T>(
  socket: Socket,
  after: (callback: () => void) => () => void,
  take: (piece: Buffer) => Taken<T>,
): Promise<T | 'none'> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    const finish = (result: T | 'none'): void => {
      cancel();
      socket.off('readable', onReadable);
      socket.off('close', onClose);
      if (result === 'none') socket.destroy();
      resolve(result);
    };
    const onClose = (): void => finish('none');
    const onReadable = (): void => {
      const piece = socket.read() as Buffer | null;
      const taken = piece === null ? 'more' : take(piece);
      if (piece !== null) pieces.push(piece);
      if (taken === 'cut' || (taken === 'more' && socket.readableEnded)) finish('none');
      if (taken === 'cut' || taken === 'more') return;
      const rest = Buffer.concat(pieces).subarray(taken.consumed);
      if (rest.length > 0) socket.unshift(rest);
      finish(taken.result);
    };
    const cancel = after(() => finish('none'));
    socket.on('readable', onReadable);
    socket.on('close', onClose);
  });
}

/** The client that the proxy names; 'none': there was no good header in time, and the connection is cut. */
export function readProxyHeader(
  socket: Socket,
  options: ProxyProtocolOptions,
): Promise<Peer | undefined | 'none'> {
  let bytes: Buffer = Buffer.alloc(0);
  return preread<Peer | undefined>(
    socket,
    (callback) => options.after(options.timeoutMs, callback),
    (piece) => {
      bytes = Buffer.concat([bytes, piece]);
      const header = parseProxyHeader(bytes);
      if (header.kind === 'more') return 'more';
      return header.kind === 'failure' ? 'cut' : { result: header.source, consumed: header.length };
    },
  );
}

/** What a client of TLS says first; undefined: nothing that all would read alike. All of it is put back. */
export function readHello(socket: Socket, timeoutMs: number): Promise<ClientHello | undefined | 'none'> {
  const reader = new HelloReader();
  const after = (callback: () => void): (() => void) => {
    const timer = setTimeout(callback, timeoutMs);
    return () => clearTimeout(timer);
  };
  return preread<ClientHello | undefined>(socket, after, (piece) => {
    const state = reader.push(piece);
    if (state.kind === 'more') return 'more';
    return { result: state.kind === 'hello' ? state.hello : undefined, consumed: 0 };
  });
}
