import { createSocket, type Socket } from 'node:dgram';
import type { Logger } from '../base/log.ts';
import { openPingSocket } from '../base/sockets.ts';
import {
  icmpPackets,
  type Packet,
  parsePacket,
  parseUdp,
  protocols,
  type Unreachable,
  udpPackets,
  unreachablePackets,
} from './ip-packet.ts';

/** Bounds of the relay. Packets that would need one more flow, and those that find their flow's queue full, are lost. */
export const datagramLimits = {
  flowsMax: 4096,
  /** Of one sender, which is a node: it gives its Pods' packets its own address. */
  flowsPerNodeMax: 1024,
  /** Datagrams of a flow that wait for its socket, or that the kernel has not taken yet. */
  queuedMax: 64,
  /** As long as the kernel remembers flows (nf_conntrack_udp_timeout and …_stream): without any answer, and with one. */
  unansweredIdleMs: 30_000,
  idleMs: 120_000,
} as const;

export type DatagramRelayOptions = {
  /** Sends a packet to the nodes; may lose it. */
  readonly write: (packet: Buffer) => void;
  /** Who may send. Others' packets are lost: answers would not find back. */
  readonly isNode: (address: string) => boolean;
  /** Addresses that nobody is led to. */
  readonly isRefused: (address: string) => boolean;
  readonly log: Logger;
};

/** What a packet wants of us. */
type Wish = {
  /** The flow that it belongs to, among all of them: one client's talk with one port, or its echo requests of one id to one address. */
  readonly key: string;
  /** Undefined: this machine does not let us (ping). */
  readonly open: () => Socket | undefined;
  readonly port: number;
  readonly message: Buffer;
  /** The packets that carry an answer to the client. */
  readonly answer: (message: Buffer, id: number) => readonly Buffer[];
};

type Flow = {
  readonly socket: Socket;
  readonly node: string;
  /** Of the newest packet, which errors that come later quote. */
  last: Packet;
  /** Undefined: the socket can send. */
  waiting: Buffer[] | undefined;
  isAnswered: boolean;
  timer: NodeJS.Timeout;
};

/**
 * Leads UDP datagrams and pings on by sockets of this machine, one for each flow, whose answers go back in packets of their own. What
 * cannot be reached is told by ICMP, as routers do.
 */
export class DatagramRelay {
  readonly #options: DatagramRelayOptions;
  readonly #flows = new Map<string, Flow>();
  readonly #flowsOfNode = new Map<string, number>(); // bound: those of #flows
  #lastId = 0;

  constructor(options: DatagramRelayOptions) {
    this.#options = options;
  }

  get flowCount(): number {
    return this.#flows.size;
  }

  /** Takes a packet that is on its way to the world. */
  receive(bytes: Buffer): void {
    const packet = parsePacket(bytes);
    if (packet === undefined || !this.#options.isNode(packet.source) || isMulticast(packet.destination))
      return;
    const isIcmp = packet.protocol === protocols.icmp || packet.protocol === protocols.icmpv6;
    const wish = wishOf(packet);
    if (wish === undefined || this.#options.isRefused(packet.destination)) {
      // Nothing of ICMP but a request is answered by an error (RFC 1122, 3.2.2).
      if (wish !== undefined || !isIcmp) this.#refuse(packet, 'prohibited');
      return;
    }
    const flow = this.#flows.get(wish.key) ?? this.#open(packet, wish);
    if (flow === undefined) return;
    flow.last = packet;
    flow.timer.refresh();
    if (flow.waiting === undefined) {
      if (flow.socket.getSendQueueCount() < datagramLimits.queuedMax) flow.socket.send(wish.message);
    } else if (flow.waiting.length < datagramLimits.queuedMax) {
      flow.waiting.push(wish.message);
    }
  }

  close(): void {
    for (const key of this.#flows.keys()) this.#end(key);
  }

  #open(packet: Packet, wish: Wish): Flow | undefined {
    const { source, destination } = packet;
    const ofNode = this.#flowsOfNode.get(source) ?? 0;
    if (this.#flows.size >= datagramLimits.flowsMax || ofNode >= datagramLimits.flowsPerNodeMax) {
      this.#options.log.debug('a datagram out of the cluster was lost: too many flows', {
        source,
        destination,
      });
      return undefined;
    }
    const socket = wish.open();
    if (socket === undefined) {
      this.#refuse(packet, 'prohibited');
      return undefined;
    }
    const timer = setTimeout(() => this.#end(wish.key), datagramLimits.unansweredIdleMs);
    const flow: Flow = { socket, node: source, last: packet, waiting: [], isAnswered: false, timer };
    this.#flows.set(wish.key, flow);
    this.#flowsOfNode.set(source, ofNode + 1);
    socket.on('message', (message) => {
      this.#heard(wish.key, flow);
      this.#write(wish.answer(message, this.#nextId()));
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#options.log.debug('a datagram out of the cluster failed', {
        destination,
        port: wish.port,
        error,
      });
      this.#refuse(flow.last, reasonOf(error));
      this.#end(wish.key);
    });
    // Connected: the kernel drops what others send and reports a refusal.
    socket.connect(wish.port, destination, () => {
      if (this.#flows.get(wish.key) !== flow) return; // it ended meanwhile
      for (const message of flow.waiting ?? []) socket.send(message);
      flow.waiting = undefined;
    });
    return flow;
  }

  #heard(key: string, flow: Flow): void {
    if (flow.isAnswered) {
      flow.timer.refresh();
      return;
    }
    flow.isAnswered = true;
    clearTimeout(flow.timer);
    flow.timer = setTimeout(() => this.#end(key), datagramLimits.idleMs);
  }

  #end(key: string): void {
    const flow = this.#flows.get(key);
    if (flow === undefined) return;
    const { node, socket, timer } = flow;
    this.#flows.delete(key);
    const left = (this.#flowsOfNode.get(node) ?? 1) - 1;
    if (left === 0) this.#flowsOfNode.delete(node);
    else this.#flowsOfNode.set(node, left);
    clearTimeout(timer);
    socket.close();
  }

  #refuse(packet: Packet, why: Unreachable): void {
    this.#write(unreachablePackets(packet, why, this.#nextId()));
  }

  #write(packets: readonly Buffer[]): void {
    for (const packet of packets) this.#options.write(packet);
  }

  #nextId(): number {
    this.#lastId = (this.#lastId + 1) % 0x1_0000_0000;
    return this.#lastId;
  }
}

/** Undefined: nothing that could be led on. */
function wishOf(packet: Packet): Wish | undefined {
  if (packet.protocol === protocols.udp) return datagramOf(packet);
  const { request, protocol } = echoTypes[packet.family];
  return packet.protocol === protocol && packet.payload[0] === request ? echoOf(packet) : undefined;
}

function datagramOf({ family, source, destination, payload }: Packet): Wish | undefined {
  const datagram = parseUdp(payload);
  if (datagram === undefined || datagram.destinationPort === 0) return undefined;
  const { sourcePort, destinationPort, data } = datagram;
  return {
    key: `udp ${source} ${sourcePort} ${destination} ${destinationPort}`,
    open: () => createSocket(family === 4 ? 'udp4' : 'udp6'),
    port: destinationPort,
    message: data,
    answer: (message, id) =>
      udpPackets(
        { source: destination, destination: source },
        { sourcePort: destinationPort, destinationPort: sourcePort, data: message },
        id,
      ),
  };
}

const echoTypes = {
  4: { protocol: protocols.icmp, request: 8 },
  6: { protocol: protocols.icmpv6, request: 128 },
} as const;
const echoHeaderBytes = 8;

/** The kernel puts the socket's own id into what it sends, and takes answers to that alone. */
function echoOf({ family, source, destination, payload }: Packet): Wish | undefined {
  if (payload.length < echoHeaderBytes) return undefined;
  const clientId = payload.readUInt16BE(4);
  return {
    key: `echo ${source} ${clientId} ${destination}`,
    open: () => {
      const fd = openPingSocket(family);
      if (fd === undefined) return undefined;
      const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
      return socket.bind({ fd, exclusive: true });
    },
    port: 1, // there are none; connect() wants to be given one
    message: payload,
    answer: (message, id) => {
      if (message.length < echoHeaderBytes) return [];
      message.writeUInt16BE(clientId, 4);
      return icmpPackets({ source: destination, destination: source }, message, id);
    },
  };
}

function isMulticast(address: string): boolean {
  return address.includes(':') ? address.startsWith('ff') : Number(address.split('.')[0]) >= 224;
}

/** What the kernel found out, of which it is mostly told by such an error itself. */
function reasonOf({ code }: NodeJS.ErrnoException): Unreachable {
  if (code === 'ECONNREFUSED') return 'port';
  return code === 'EACCES' || code === 'EPERM' ? 'prohibited' : 'host';
}
