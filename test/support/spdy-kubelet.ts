import { createServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { constants, inflateSync } from 'node:zlib';
import { dataFrame, synStreamWriter } from '../../src/apiserver/spdy.ts';
import type { TestPki } from './pki.ts';

/** Stands in for a kubelet with a streaming server: exec, attach and port-forward by SPDY/3.1, nothing behind it. */
export type SpdyKubelet = {
  readonly port: number;
  /** `UPGRADE URL` of each upgrade. */
  readonly seen: string[];
  stop(): Promise<void>;
};

type Streams = {
  write(type: string, data: string | Buffer, fin?: boolean): void;
  end(): void;
};

/**
 * The command decides what "runs": `cat` copies stdin to stdout until its end, `exit N` fails with that code, `size`
 * prints the first terminal size and ends, `die` cuts the connection, all else is printed on both outputs. Forwarded
 * ports are copied to `forwardTo` on 127.0.0.1.
 */
export async function startSpdyKubelet(pki: TestPki, forwardTo: number): Promise<SpdyKubelet> {
  const pair = await pki.serving('system:node:n1');
  const seen: string[] = [];
  const sockets = new Set<Duplex>();
  const kubelet = createServer({
    cert: pair.certificate,
    key: pair.key,
    ca: pki.server.caCert,
    requestCert: true,
    rejectUnauthorized: true,
  });
  // What is no stream is answered with what was asked, and a refused upgrade stays open for more.
  kubelet.on('request', (request, response) => response.end(`kubelet ${request.method} ${request.url}`));
  kubelet.on('upgrade', (request, socket) => {
    seen.push(`${request.headers.upgrade} ${request.url}`);
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    if (request.url?.includes('command=refuse') === true) {
      socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
      socket.on('data', () => seen.push('smuggled'));
      return;
    }
    const [protocol = ''] = String(request.headers['x-stream-protocol-version'] ?? '').split(',');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${protocol.trim()}\r\n\r\n`,
    );
    const url = new URL(request.url ?? '/', 'https://kubelet');
    if (url.pathname.startsWith('/portForward/')) serveForward(socket, forwardTo);
    else serveCommand(socket, url);
  });
  await new Promise<void>((resolve) => void kubelet.listen(0, '127.0.0.1', resolve));
  return {
    port: (kubelet.address() as AddressInfo).port,
    seen,
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        kubelet.closeAllConnections();
        kubelet.close(() => resolve());
      }),
  };
}

function serveCommand(socket: Duplex, url: URL): void {
  const command = url.searchParams.getAll('command');
  const flag = (name: string): boolean => url.searchParams.get(name) === 'true';
  const wanted =
    1 + ['stdin', 'stdout', 'tty'].filter(flag).length + (flag('stderr') && !flag('tty') ? 1 : 0);
  const ids = new Map<string, number>();
  const streams: Streams = {
    write: (type, data, fin = false) => {
      const id = ids.get(type);
      if (id !== undefined) socket.write(dataFrame(id, Buffer.from(data), fin));
    },
    end: () => socket.end(),
  };
  readFrames(socket, {
    opened(id, headers) {
      ids.set(headers['streamtype'] ?? '', id);
      if (ids.size === wanted) started(streams, command);
    },
    data(id, data, fin) {
      if (id === ids.get('stdin')) {
        streams.write('stdout', data);
        if (fin && command[0] === 'cat') finish(streams, 0);
      }
      if (id === ids.get('resize') && command[0] === 'size' && data.length > 0) {
        streams.write('stdout', data);
        finish(streams, 0);
      }
    },
  });
}

function started(streams: Streams, command: readonly string[]): void {
  const [verb, argument = ''] = command;
  if (verb === 'cat' || verb === 'size') return;
  if (verb === 'die') {
    streams.end();
    return;
  }
  streams.write('stdout', `out:${command.join(' ')}\n`);
  streams.write('stderr', 'err\n');
  finish(streams, verb === 'exit' ? Number(argument) : 0);
}

function finish(streams: Streams, code: number): void {
  const status =
    code === 0
      ? { metadata: {}, status: 'Success' }
      : {
          metadata: {},
          status: 'Failure',
          message: `command terminated with non-zero exit code: ${code}`,
          reason: 'NonZeroExitCode',
          details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
        };
  streams.write('error', JSON.stringify(status), true);
  streams.write('stdout', '', true);
  streams.write('stderr', '', true);
  streams.end();
}

/** Each pair of streams, of type error and data, is one TCP connection. */
function serveForward(socket: Duplex, port: number): void {
  const targets = new Map<number, ReturnType<typeof connect>>();
  const errors = new Map<string, number>(); // by request
  readFrames(socket, {
    opened(id, headers) {
      const request = headers['requestid'] ?? '';
      if (headers['streamtype'] !== 'data') {
        errors.set(request, id);
        return;
      }
      const target = connect(port, '127.0.0.1');
      targets.set(id, target);
      target.on('data', (chunk: Buffer) => void socket.write(dataFrame(id, chunk, false)));
      target.once('end', () => {
        socket.write(dataFrame(id, Buffer.of(), true));
        socket.write(dataFrame(errors.get(request) ?? 0, Buffer.of(), true));
      });
      target.on('error', () => target.destroy());
    },
    data(id, data, fin) {
      const target = targets.get(id);
      if (data.length > 0) target?.write(data);
      if (fin) target?.end();
    },
  });
  socket.once('close', () => {
    for (const target of targets.values()) target.destroy();
  });
}

/** Reads what a client sends; answers SYN_STREAM. Header blocks are inflated from the connection's first on. */
function readFrames(
  socket: Duplex,
  on: {
    opened(id: number, headers: Readonly<Record<string, string>>): void;
    data(id: number, data: Buffer, fin: boolean): void;
  },
): void {
  let rest: Buffer = Buffer.of();
  const blocks: Buffer[] = [];
  const write = synStreamWriter();
  let inflated = 0;
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 8 && rest.length >= 8 + rest.readUIntBE(5, 3)) {
      const frame = rest.subarray(0, 8 + rest.readUIntBE(5, 3));
      rest = rest.subarray(frame.length);
      if (frame.readUInt32BE(0) < 2 ** 31) {
        on.data(frame.readUInt32BE(0), frame.subarray(8), (frame.readUInt8(4) & 1) !== 0);
      } else if (frame.readUInt16BE(2) === 1) {
        blocks.push(frame.subarray(18));
        const plain = inflate(Buffer.concat(blocks));
        const id = frame.readUInt32BE(8);
        socket.write(synReply(write, id));
        on.opened(id, parseHeaders(plain.subarray(inflated)));
        inflated = plain.length;
      }
    }
  });
}

/** kubectl compresses with the dictionary of the SPDY specification; what we read of it are only stream types. */
function inflate(bytes: Buffer): Buffer {
  return inflateSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH, dictionary: spdyDictionary });
}

/** SYN_REPLY without headers: the block is the one that a SYN_STREAM would have, behind the stream's number alone. */
function synReply(write: ReturnType<typeof synStreamWriter>, id: number): Buffer {
  const block = write(id, {}).subarray(18);
  const head = Buffer.alloc(12);
  head.writeUInt32BE(0x80030002, 0);
  head.writeUIntBE(4 + block.length, 5, 3);
  head.writeUInt32BE(id, 8);
  return Buffer.concat([head, block]);
}

function parseHeaders(plain: Buffer): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  let at = 4;
  const text = (): string => {
    const length = plain.readUInt32BE(at);
    const value = plain.subarray(at + 4, at + 4 + length).toString();
    at += 4 + length;
    return value;
  };
  for (let left = plain.readUInt32BE(0); left > 0; left--) {
    const name = text();
    headers[name] = text();
  }
  return headers;
}

/** The dictionary of SPDY/3 (draft-mbelshe-httpbis-spdy-00 §2.6.10.1): words with their length, then texts. */
const spdyWords =
  'options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization cache-control connection content-base content-encoding content-language content-length content-location content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin';
const spdyTexts =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';
const spdyDictionary = Buffer.concat([
  ...spdyWords.split(' ').map((word) => {
    const bytes = Buffer.from(word.replace('_', ' '));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  }),
  Buffer.from(spdyTexts),
]);
