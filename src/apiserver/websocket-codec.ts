/** How a protocol's messages are written. A message here is a byte for its channel and the data behind it. */
export type ChannelCodec = {
  readonly isText: boolean;
  encode(message: Buffer): Buffer;
  /** Undefined for what is no message of the protocol. */
  decode(bytes: Buffer): Buffer | undefined;
};

const raw: ChannelCodec = { isText: false, encode: (message) => message, decode: (bytes) => bytes };

const base64Form = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const digitZero = 0x30;

/** A text for clients that have no bytes: the channel as a digit, then base64. */
const base64: ChannelCodec = {
  isText: true,
  encode: (message) => Buffer.from(`${message[0] ?? 0}${message.toString('base64', 1)}`, 'latin1'),
  decode(bytes) {
    const channel = (bytes[0] ?? 0) - digitZero;
    const text = bytes.toString('latin1', 1);
    if (channel < 0 || channel > 9 || !base64Form.test(text)) return undefined;
    return Buffer.concat([Buffer.of(channel), Buffer.from(text, 'base64')]);
  },
};

/** Of a protocol of exec and attach, such as `base64.channel.k8s.io`. */
export function channelCodec(protocol: string): ChannelCodec {
  return protocol.includes('base64.') ? base64 : raw;
}
