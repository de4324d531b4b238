import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { lend } from './lent-memory.ts';
import {
  type ListenAt,
  type Listener,
  type ListenOptions,
  listenNet,
  netTransport,
  type ServerTransport,
} from './net-transport.ts';
import type { Acceptor, Connection, ConnectionHandler, ConnectTls } from './transport.ts';
import {
  AF_INET,
  AF_INET6,
  decodeSocketAddress,
  encodeSocketAddress,
  socketAddressBytesMax,
} from '../../base/socket-address.ts';
import { openOpenSsl } from './openssl.ts';
import { OpenSslMemory } from './openssl-memory.ts';
import { acceptProxied } from './proxied-connection.ts';
import { acceptTls } from './tls-acceptor.ts';
import { UringConnection, type UringHost } from './uring-connection.ts';
import { errorName, type Kernel, kernelTooOld, openKernel } from './uring-kernel.ts';
import {
  COMPLETION_MORE,
  ECANCELED,
  EMFILE,
  ENFILE,
  KIND_ACCEPT,
  ordinarySize,
  Ring,
  type RingSize,
} from './uring-ring.ts';
import { SendMemory } from './uring-send-memory.ts';
import { RingTurns } from './uring-turns.ts';

const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SHUT_WR = 1;
const backlog = 4096;

/** Without descriptors or memory, accepting is tried again after this, ms. */
const acceptRetryMs = 50;

/**
 * The transport on io_uring. Throws when the kernel, or what confines this process, refuses it. TLS towards endpoints stays on
 * node:tls, and so does that of clients where OpenSSL cannot be called. Its memory is never unmapped: make one a process.
 */
export function openUringTransport(
  openTls = () => new OpenSslMemory(openOpenSsl()),
  size = ordinarySize,
): UringTransport {
  const tooOld = kernelTooOld();
  if (tooOld !== undefined) throw new Error(tooOld);
  let tls: OpenSslMemory | { readonly problem: unknown };
  try {
    tls = openTls();
  } catch (problem) {
    tls = { problem };
  }
  return new UringTransport(openKernel(), tls, size);
}

type User = { complete(kind: number, result: number, flags: number): void };

export class UringTransport implements ServerTransport {
  readonly name = 'uring';
  readonly nowMs: () => number;
  readonly tlsProblem: unknown;
  readonly #openSsl: OpenSslMemory | undefined;
  readonly #kernel: Kernel;
  readonly #ring: Ring;
  readonly #turns: RingTurns;
  readonly #host: UringHost;
  readonly #users: (User | undefined)[] = [];
  readonly #freeUsers: number[] = [];
  readonly #oneAt: bigint;
  readonly #addressAt: bigint;
  readonly #addressLengthAt: bigint;
  #scheduled: UringConnection[] = [];
  #settling: UringConnection[] = [];
  #unconfirmed: UringConnection[] = [];
  #confirming: UringConnection[] = [];

  /** @param tls what decrypts clients' TLS, or why node:tls does */
  constructor(kernel: Kernel, tls: OpenSslMemory | { readonly problem: unknown }, size: RingSize) {
    if (tls instanceof OpenSslMemory) this.#openSsl = tls;
    else this.tlsProblem = tls.problem;
    this.#kernel = kernel;
    this.#ring = new Ring(kernel, size);
    lend(this.#ring.readMemory);
    this.#oneAt = kernel.addressOf(one);
    this.#addressAt = kernel.addressOf(addressBytes);
    this.#addressLengthAt = kernel.addressOf(addressLength);
    this.#turns = new RingTurns(kernel, this.#ring, {
      flush: () => this.#flush(),
      complete: (user, kind, result, flags) => {
        this.#users[user]?.complete(kind, result, flags);
      },
      awaitsConfirmation: () => this.#unconfirmed.some((connection) => connection.awaitsConfirmation),
      confirm: () => this.#confirm(),
    });
    this.nowMs = this.#turns.nowMs;
    this.#host = {
      ring: this.#ring,
      buffersHeld: 0,
      sendMemory: new SendMemory(kernel.addressOf),
      schedule: (connection) => {
        connection.scheduled = true;
        this.#scheduled.push(connection);
        this.#turns.wake();
      },
      confirmLater: (connection) => {
        this.#unconfirmed.push(connection);
      },
      shutdown: (fd) => {
        kernel.libc.shutdown(fd, SHUT_WR); // fails only if the peer is gone, which reading tells
      },
      endsOf: (fd) => {
        const remote = this.#addressOf(fd, 'getpeername');
        const local = this.#addressOf(fd, 'getsockname');
        return remote.host === '' || local.host === ''
          ? undefined
          : {
              remote: { address: remote.host, port: remote.port },
              local: { address: local.host, port: local.port },
            };
      },
      forget: ({ user }) => this.#removeUser(user),
    };
  }

  connect(
    address: string,
    port: number,
    handler: ConnectionHandler,
    tls?: ConnectTls,
    preamble?: Buffer,
  ): Connection {
    if (tls !== undefined) return netTransport.connect(address, port, handler, tls, preamble);
    const user = this.#nextUser();
    const connection = new UringConnection(this.#host, user, -1, address);
    this.#users[user] = connection;
    this.#turns.addUser();
    connection.belongTo(handler);
    if (preamble !== undefined) connection.write(preamble);
    if (isIP(address) !== 0) this.#connectTo(connection, address, port);
    else {
      lookup(address).then(
        (found) => this.#connectTo(connection, found.address, port),
        (error: unknown) => connection.failBeforeOpen(codeOf(error)),
      );
    }
    return connection;
  }

  #connectTo(connection: UringConnection, address: string, port: number): void {
    const { libc, lastError } = this.#kernel;
    const fd = libc.socket(isIP(address) === 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      connection.failBeforeOpen(errorName(lastError()));
      return;
    }
    if (!connection.attach(fd)) {
      libc.close(fd); // given up while its name was looked up
      return;
    }
    this.#kernel.byAddress.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, this.#oneAt, 4);
    connection.connect(encodeSocketAddress(address, port));
    this.#turns.wake();
  }

  async listen(at: ListenAt, acceptor: Acceptor, options: ListenOptions): Promise<Listener> {
    const { tls, proxyProtocol } = options;
    if (tls !== undefined && this.#openSsl === undefined) return listenNet(at, acceptor, options);
    let taking = acceptor;
    if (tls !== undefined && this.#openSsl !== undefined) {
      taking = acceptTls(acceptor, this.#openSsl, tls, options);
      if (proxyProtocol !== undefined) taking = acceptProxied(taking, proxyProtocol);
    }
    const fd = at.kind === 'fd' ? this.#adopt(at.fd) : await this.#bind(at.host, at.port);
    const listener = new UringListener(this.#ring, this.#nextUser(), fd, {
      accepted: (socket) => this.#accepted(socket, taking),
      close: (socket) => this.#kernel.libc.close(socket),
      wake: () => this.#turns.wake(),
      failed: (error) => options.onError(new Error(`cannot accept a connection: ${error}`)),
      forget: (user) => this.#removeUser(user),
    });
    this.#users[listener.user] = listener;
    this.#turns.addUser();
    listener.start();
    return { port: this.#addressOf(fd, 'getsockname').port, close: () => listener.close() };
  }

  #adopt(fd: number): number {
    if (this.#kernel.libc.listen(fd, backlog) !== 0) throw this.#kernel.failed(`listen on descriptor ${fd}`);
    this.#kernel.libc.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, one, 4);
    return fd;
  }

  async #bind(host: string, port: number): Promise<number> {
    const { libc, failed } = this.#kernel;
    const address = isIP(host) === 0 ? (await lookup(host)).address : host;
    const family = isIP(address) === 6 ? AF_INET6 : AF_INET;
    const fd = libc.socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) throw failed('socket');
    libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one, 4);
    libc.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, one, 4); // accepted sockets inherit it
    const where = encodeSocketAddress(address, port);
    if (libc.bind(fd, where, where.length) === 0 && libc.listen(fd, backlog) === 0) return fd;
    const error = failed(`listen on ${host}:${port}`);
    libc.close(fd);
    throw error;
  }

  #accepted(fd: number, acceptor: Acceptor): void {
    const user = this.#nextUser();
    const { host } = this.#addressOf(fd, 'getpeername');
    const connection = new UringConnection(this.#host, user, fd, host);
    this.#users[user] = connection;
    this.#turns.addUser();
    const handler = acceptor.accept(connection, fromHttp);
    if (handler === undefined) connection.destroy();
    else connection.open(handler);
  }

  #addressOf(
    fd: number,
    which: 'getsockname' | 'getpeername',
  ): { readonly host: string; readonly port: number } {
    addressLength.writeUInt32LE(socketAddressBytesMax, 0);
    const status = this.#kernel.byAddress[which](fd, this.#addressAt, this.#addressLengthAt);
    return status === 0 ? decodeSocketAddress(addressBytes) : { host: '', port: 0 }; // gone already
  }

  #nextUser(): number {
    return this.#freeUsers.pop() ?? this.#users.push(undefined) - 1;
  }

  #removeUser(user: number): void {
    this.#users[user] = undefined;
    this.#freeUsers.push(user);
    this.#turns.removeUser();
  }

  /** Settles connections until none is left: settling one may schedule others. */
  #flush(): boolean {
    if (this.#scheduled.length === 0) return false;
    while (this.#scheduled.length > 0) {
      const batch = this.#scheduled;
      this.#scheduled = this.#settling;
      this.#settling = batch;
      for (const connection of batch) {
        connection.settle();
      }
      batch.length = 0;
    }
    return true;
  }

  #confirm(): void {
    if (this.#unconfirmed.length === 0) return;
    const batch = this.#unconfirmed;
    this.#unconfirmed = this.#confirming;
    this.#confirming = batch;
    for (const connection of batch) {
      connection.confirmSent();
    }
    batch.length = 0;
  }

  close(): void {
    this.#turns.close();
  }
}

type ListenerHooks = {
  accepted(fd: number): void;
  close(fd: number): void;
  wake(): void;
  failed(error: string): void;
  forget(user: number): void;
};

class UringListener implements User {
  readonly user: number;
  readonly #ring: Ring;
  readonly #fd: number;
  readonly #hooks: ListenerHooks;
  #requests = 0;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #retry: NodeJS.Timeout | undefined;
  readonly #closed = Promise.withResolvers<void>();

  constructor(ring: Ring, user: number, fd: number, hooks: ListenerHooks) {
    this.#ring = ring;
    this.user = user;
    this.#fd = fd;
    this.#hooks = hooks;
  }

  start(): void {
    this.#retry = undefined;
    if (this.#state !== 'open') return;
    this.#requests += 1;
    this.#ring.accept(this.#fd, this.user);
    this.#hooks.wake();
  }

  complete(kind: number, result: number, flags: number): void {
    if ((flags & COMPLETION_MORE) === 0) this.#requests -= 1;
    if (kind === KIND_ACCEPT) {
      if (result >= 0) this.#hooks.accepted(result);
      else if (result !== -ECANCELED) this.#hooks.failed(errorName(-result));
      if ((flags & COMPLETION_MORE) === 0 && this.#state === 'open') this.#again(-result);
    }
    if (this.#state === 'closing') this.#closeWhenQuiet();
  }

  #closeWhenQuiet(): void {
    if (this.#requests > 0) return;
    this.#state = 'closed';
    this.#hooks.close(this.#fd); // by now, and not with the next turn: its port is free when `close` resolves
    this.#hooks.forget(this.user);
    this.#closed.resolve();
  }

  #again(errno: number): void {
    if (errno <= 0) this.start();
    else
      this.#retry = setTimeout(() => this.start(), errno === EMFILE || errno === ENFILE ? acceptRetryMs : 1);
  }

  close(): Promise<void> {
    if (this.#state !== 'open') return this.#closed.promise;
    this.#state = 'closing';
    clearTimeout(this.#retry);
    this.#ring.cancel(this.user, KIND_ACCEPT);
    this.#hooks.wake();
    this.#closeWhenQuiet();
    return this.#closed.promise;
  }
}

// Their addresses are kept, so they must stay where they are: not in Node's pool.
const one = Buffer.allocUnsafeSlow(4).fill(0).fill(1, 0, 1);
const fromHttp = { scheme: 'http', protocol: '' } as const;
const addressBytes = Buffer.allocUnsafeSlow(socketAddressBytesMax).fill(0);
const addressLength = Buffer.allocUnsafeSlow(4);

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : 'ENOTFOUND';
}
