/** A DNS server for tests of forwarding: another implementation of the protocol, on loopback, UDP and TCP at one port. */
import { createSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';
import packet from 'dns-packet';

export type TestUpstream = {
  readonly port: number;
  /** Questions in order of arrival: "udp www.example.com A". */
  readonly asked: string[];
  close(): Promise<void>;
};

/** What is said to a question; undefined: nothing at all. */
export type Reply = (
  name: string,
  type: string,
  protocol: 'udp' | 'tcp',
) => Partial<packet.Packet> | undefined;

export async function startUpstream(reply: Reply): Promise<TestUpstream> {
  const asked: string[] = [];
  const answer = (query: Buffer, protocol: 'udp' | 'tcp'): Buffer | undefined => {
    const { id, questions = [] } = packet.decode(query);
    const [question] = questions;
    if (question === undefined) return undefined;
    asked.push(`${protocol} ${question.name} ${question.type}`);
    const told = reply(question.name, question.type, protocol);
    if (told === undefined) return undefined;
    const bits = packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | (told.flags ?? 0);
    return packet.encode({ ...told, type: 'response', id: id ?? 0, questions, flags: bits });
  };
  const open = new Set<Socket>();
  const tcp = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      const told = answer(chunk.subarray(2), 'tcp'); // a test's query comes in one piece
      if (told === undefined) return;
      const length = Buffer.alloc(2);
      length.writeUInt16BE(told.length);
      socket.write(Buffer.concat([length, told]));
    });
  });
  await new Promise<void>((done) => tcp.listen(0, '127.0.0.1', done));
  const address = tcp.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const udp = createSocket('udp4');
  udp.on('message', (query, peer) => {
    const told = answer(query, 'udp');
    if (told !== undefined) udp.send(told, peer.port, peer.address);
  });
  await new Promise<void>((done) => udp.bind(port, '127.0.0.1', done));
  return {
    port,
    asked,
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise<void>((done) => tcp.close(() => done()));
      await new Promise<void>((done) => udp.close(() => done()));
    },
  };
}
