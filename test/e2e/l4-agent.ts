/**
 * A process inside one namespace of the L4 test: serves TCP and UDP at the given ports, telling its name and who asks, at all but
 * the first as `NAME:PORT`, and dials where standard input tells it to. One JSON object a line, both ways.
 */
import { createSocket } from 'node:dgram';
import { get } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

export type AgentRequest = { readonly id: number } & (
  | { readonly op: 'tcp'; readonly host: string; readonly port: number; readonly waitMs: number }
  | { readonly op: 'udp'; readonly host: string; readonly port: number; readonly localPort: number }
  /** GET; the answer is `STATUS BODY`. */
  | { readonly op: 'http'; readonly host: string; readonly port: number; readonly waitMs: number }
  /** Dials and keeps the connection under `name`. */
  | { readonly op: 'open'; readonly host: string; readonly port: number; readonly name: string }
  /** Sends a line over a kept connection and answers with what comes back. */
  | { readonly op: 'say'; readonly name: string; readonly text: string }
);
/** `text` is the answer, or the error's code: ECONNREFUSED, ETIMEDOUT. */
export type AgentReply = { readonly id: number; readonly text: string };

/** For an answer that is to come, however busy the machine is, ms. */
export const answerTimeoutMs = 30_000;
/** The same over UDP, where a packet that is lost stays lost. */
const datagramTimeoutMs = 5000;

const [, , agentName = '', ...servePorts] = process.argv;
const kept = new Map<string, Socket>();

function serve(port: number, as = agentName): void {
  createServer((socket) => {
    socket.on('error', () => {});
    socket.write(`${as} ${plain(socket.remoteAddress ?? '')}\n`);
    socket.on('data', (chunk) => socket.write(`${as} ${chunk.toString()}`));
  }).listen(port, '::');
  const udp = createSocket('udp6'); // both families, as the address :: takes them
  udp.on('message', (_message, from) => udp.send(`${as} ${plain(from.address)}\n`, from.port, from.address));
  udp.bind(port);
}

function plain(address: string): string {
  return address.replace(/^::ffff:/, '');
}

function nextLine(socket: Socket, waitMs: number): Promise<string> {
  return new Promise((resolve) => {
    const done = (text: string): void => {
      socket.removeAllListeners('data');
      socket.removeAllListeners('error');
      socket.removeAllListeners('close');
      socket.setTimeout(0);
      socket.on('error', () => {});
      resolve(text.trim());
    };
    socket.setTimeout(waitMs, () => done('ETIMEDOUT'));
    socket.on('data', (chunk) => done(chunk.toString()));
    socket.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'error'));
    if (socket.closed) done('closed');
    else socket.on('close', () => done('closed'));
  });
}

function dial(
  host: string,
  port: number,
  waitMs: number,
): { readonly socket: Socket; readonly line: Promise<string> } {
  const socket = connect({ host, port });
  return { socket, line: nextLine(socket, waitMs) };
}

function askUdp(host: string, port: number, localPort: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', reuseAddr: true });
    const done = (text: string): void => {
      clearTimeout(timer);
      socket.close();
      resolve(text.trim());
    };
    const timer = setTimeout(() => done('ETIMEDOUT'), datagramTimeoutMs);
    socket.on('message', (message) => done(message.toString()));
    socket.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'error'));
    socket.bind(localPort, () => {
      // Connected, so that an ICMP error comes back as one of this socket.
      socket.connect(port, host, () => socket.send('hello'));
    });
  });
}

/** Over a connection of its own. */
function ask(host: string, port: number, waitMs: number): Promise<string> {
  return new Promise((resolve) => {
    const request = get({ host, port, agent: false, timeout: waitMs }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
      response.on('end', () => resolve(`${response.statusCode} ${body.trim()}`));
    });
    request.on('timeout', () => request.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
  });
}

async function answer(request: AgentRequest): Promise<string> {
  switch (request.op) {
    case 'tcp': {
      const { socket, line } = dial(request.host, request.port, request.waitMs);
      const text = await line;
      socket.destroy();
      return text;
    }
    case 'udp':
      return askUdp(request.host, request.port, request.localPort);
    case 'http':
      return ask(request.host, request.port, request.waitMs);
    case 'open': {
      const { socket, line } = dial(request.host, request.port, answerTimeoutMs);
      kept.set(request.name, socket);
      return line;
    }
    case 'say': {
      const socket = kept.get(request.name);
      if (socket === undefined) return 'no such connection';
      const line = nextLine(socket, answerTimeoutMs);
      socket.write(`${request.text}\n`);
      return line;
    }
    default:
      return 'unknown request';
  }
}

if (import.meta.main) {
  const [first, ...more] = servePorts.map(Number);
  if (first !== undefined) serve(first);
  for (const port of more) serve(port, `${agentName}:${port}`);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const request = JSON.parse(line) as AgentRequest;
    void answer(request).then((text) => {
      process.stdout.write(`${JSON.stringify({ id: request.id, text } satisfies AgentReply)}\n`);
    });
  });
  lines.on('close', () => process.exit(0));
  process.stdout.write(`${JSON.stringify({ id: 0, text: 'ready' } satisfies AgentReply)}\n`);
}
