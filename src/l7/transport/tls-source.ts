/** What transports that decrypt clients' TLS have in common: what it is decrypted with, and what is allowed. */
import type { KeyPair } from '../../base/certificates.ts';
import type { ClientHello } from '../passthrough/client-hello.ts';
import type { ClientTls } from './transport.ts';

/** How TLS connections are decrypted. What is known is given at once: a handshake that waits for a promise costs more. */
export type TlsSource = {
  /** What a handshake that names that host, or none, is shown: one that can be used, and the same object as long as it is the same. */
  pairFor(serverName: string | undefined): KeyPair | Promise<KeyPair>;
  /** 48 bytes that sign and encrypt session tickets: who has the same ones takes up each other's sessions. Another object: other keys. */
  ticketKeys(): Buffer;
  /** Some connections may not be for us to decrypt, so that each is asked about when its ClientHello has come. */
  readonly looksAtHellos: boolean;
  /** True: it goes to the acceptor as it comes. */
  passesThrough(hello: ClientHello): boolean;
  /** How clients that name that host, or none, show who they are; undefined: they are not asked. Its texts can be used. */
  clientTlsFor(serverName: string | undefined): ClientTls | undefined;
};

/** What clients may use: forward secret and authenticated ciphers only. */
export const serverTlsOptions = {
  minVersion: 'TLSv1.2',
  ciphers: [
    'TLS_AES_128_GCM_SHA256',
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-CHACHA20-POLY1305',
  ].join(':'),
} as const;

/** Of the sessions of one worker and those of another, so that they may be taken up. Node's default differs by process. */
export const sessionIdContext = 'fairlead-ingress';

/** A client that does not come through its handshake by then is cut, ms. */
export const handshakeMs = 10_000;
