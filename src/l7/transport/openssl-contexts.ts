import type { KeyPair } from '../../base/certificates.ts';
import { serverTlsOptions, sessionIdContext } from './tls-source.ts';
import { addressOf, type OpenSsl, SSL_TLSEXT_ERR_ALERT_FATAL, SSL_TLSEXT_ERR_OK, textAt } from './openssl.ts';
import { ticketKeysOfOpenSsl } from './ticket-keys.ts';
import type { ClientTls } from './transport.ts';

// SSL_CTX_ctrl(3): what the macros of these names stand for.
const SSL_CTRL_MODE = 33;
const SSL_CTRL_SET_SESS_CACHE_MODE = 44;
const SSL_CTRL_SET_TLSEXT_TICKET_KEYS = 59;
const SSL_CTRL_CHAIN_CERT = 89;
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
const SSL_MODE_RELEASE_BUFFERS = 0x10n;
const SSL_SESS_CACHE_OFF = 0n;
const TLS1_2_VERSION = 0x0303n;
/** SSL_CTX_set_options(3). */
const SSL_OP_NO_TICKET = 1n << 14n;
const SSL_OP_CIPHER_SERVER_PREFERENCE = 1n << 22n;
const SSL_OP_NO_RENEGOTIATION = 1n << 30n;
/** SSL_CTX_set_verify(3), X509_VERIFY_PARAM_set_flags(3). */
const SSL_VERIFY_PEER = 1;
const X509_V_FLAG_CRL_CHECK = 0x4n;
const X509_V_FLAG_CRL_CHECK_ALL = 0x8n;

/** An SSL_CTX, and the ticket keys that it has; undefined: it makes no tickets. */
type Context = { readonly handle: bigint; ticketKeys: Buffer | undefined };

/**
 * The SSL_CTX for each certificate that is shown, and for each way to ask clients for theirs. One goes when the garbage collector takes the pair
 * that it was made of; connections keep theirs till they end.
 */
export class OpenSslContexts {
  readonly #openSsl: OpenSsl;
  readonly #freed: FinalizationRegistry<bigint>;
  /** By how clients are asked, or this itself: they are not. */
  readonly #contexts = new WeakMap<object, WeakMap<KeyPair, Context>>();
  readonly #alpn: bigint;
  readonly #goOn: bigint;

  /** @param protocols offered by ALPN, the best first. Make one for each listener: what OpenSSL may call stays for ever. */
  constructor(openSsl: OpenSsl, protocols: readonly string[]) {
    this.#openSsl = openSsl;
    this.#freed = new FinalizationRegistry((handle) => openSsl.SSL_CTX_free(handle));
    this.#goOn = openSsl.goOnCallback();
    const entries = protocols.map(alpnEntry);
    this.#alpn = openSsl.alpnCallback((offered, choose) => {
      const chosen = entries.find(({ bytes }) => isOffered(bytes, offered));
      if (chosen === undefined) return SSL_TLSEXT_ERR_ALERT_FATAL;
      choose(chosen.address, chosen.bytes.length - 1);
      return SSL_TLSEXT_ERR_OK;
    });
  }

  /**
   * Throws if the pair or the authorities cannot be used.
   * @param client how they are asked for a certificate; undefined: they are not
   */
  of(pair: KeyPair, client: ClientTls | undefined, ticketKeys: Buffer): bigint {
    const owner = client ?? this;
    const contexts = this.#contexts.get(owner) ?? new WeakMap<KeyPair, Context>();
    this.#contexts.set(owner, contexts);
    let context = contexts.get(pair);
    if (context === undefined) {
      context = { handle: this.#make(pair, client), ticketKeys: undefined };
      contexts.set(pair, context);
      this.#freed.register(context, context.handle);
    }
    if (client === undefined && context.ticketKeys !== ticketKeys) {
      const keys = ticketKeysOfOpenSsl(ticketKeys);
      this.#control(context.handle, SSL_CTRL_SET_TLSEXT_TICKET_KEYS, BigInt(keys.length), addressOf(keys));
      keys.fill(0); // OpenSSL has copied them
      context.ticketKeys = ticketKeys;
    }
    return context.handle;
  }

  #make(pair: KeyPair, client: ClientTls | undefined): bigint {
    const openSsl = this.#openSsl;
    openSsl.ERR_clear_error();
    const context = openSsl.SSL_CTX_new(openSsl.TLS_server_method());
    this.#check(context !== 0n);
    try {
      this.#setUp(context);
      this.#show(context, pair);
      if (client !== undefined) this.#ask(context, client);
      return context;
    } catch (error) {
      openSsl.SSL_CTX_free(context);
      throw error;
    }
  }

  #setUp(context: bigint): void {
    const openSsl = this.#openSsl;
    const ciphers = serverTlsOptions.ciphers.split(':');
    const isNew = (name: string): boolean => name.startsWith('TLS_');
    const old = ciphers.filter((name) => !isNew(name)).join(':');
    this.#check(openSsl.SSL_CTX_set_ciphersuites(context, ciphers.filter(isNew).join(':')) === 1);
    this.#check(openSsl.SSL_CTX_set_cipher_list(context, old) === 1);
    this.#check(this.#control(context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION) === 1n);
    openSsl.SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION);
    this.#control(context, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS);
    this.#control(context, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF);
    const { length } = sessionIdContext;
    this.#check(openSsl.SSL_CTX_set_session_id_context(context, sessionIdContext, length) === 1);
    openSsl.SSL_CTX_set_alpn_select_cb(context, this.#alpn, 0n);
  }

  /** The first certificate is the server's, the others stand between it and its authority. */
  #show(context: bigint, { certificate, key }: KeyPair): void {
    const openSsl = this.#openSsl;
    const [own, ...between] = this.#read(certificate, openSsl.PEM_read_bio_X509_AUX);
    const [privateKey] = this.#read(key, openSsl.PEM_read_bio_PrivateKey);
    try {
      this.#check(own !== undefined && openSsl.SSL_CTX_use_certificate(context, own) === 1);
      for (const one of between) {
        this.#check(this.#control(context, SSL_CTRL_CHAIN_CERT, 1n, one) === 1n);
      }
      this.#check(privateKey !== undefined && openSsl.SSL_CTX_use_PrivateKey(context, privateKey) === 1);
      this.#check(openSsl.SSL_CTX_check_private_key(context) === 1);
    } finally {
      for (const one of [own, ...between]) openSsl.X509_free(one ?? 0n); // the context has references of its own
      openSsl.EVP_PKEY_free(privateKey ?? 0n);
    }
  }

  /** Nobody is refused in the handshake, and no session is taken up: see `net-client-certificate.ts`. */
  #ask(context: bigint, { ca, crl }: ClientTls): void {
    const openSsl = this.#openSsl;
    const store = openSsl.SSL_CTX_get_cert_store(context);
    openSsl.SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    openSsl.SSL_CTX_set_num_tickets(context, 0n);
    openSsl.SSL_CTX_set_verify(context, SSL_VERIFY_PEER, this.#goOn);
    for (const authority of this.#read(ca, openSsl.PEM_read_bio_X509_AUX)) {
      openSsl.X509_STORE_add_cert(store, authority);
      openSsl.SSL_CTX_add_client_CA(context, authority);
      openSsl.X509_free(authority);
    }
    if (crl === undefined) return;
    for (const list of this.#read(crl, openSsl.PEM_read_bio_X509_CRL)) {
      openSsl.X509_STORE_add_crl(store, list);
      openSsl.X509_CRL_free(list);
    }
    openSsl.X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  }

  /** All objects of one kind in a PEM text, to be freed by the caller. */
  #read(pem: string, read: OpenSsl['PEM_read_bio_X509_AUX']): readonly bigint[] {
    const openSsl = this.#openSsl;
    const text = Buffer.from(`${pem}\0`, 'latin1');
    const end = addressOf(text) + BigInt(text.length - 1);
    const from = openSsl.BIO_new_mem_buf(addressOf(text), text.length - 1);
    this.#check(from !== 0n);
    const objects: bigint[] = [];
    for (;;) {
      const object = read(from, 0n, 0n, end); // an empty pass phrase: without one OpenSSL would ask at the terminal
      if (object === 0n) break;
      objects.push(object);
    }
    openSsl.BIO_free(from);
    openSsl.ERR_clear_error(); // there is no more
    text.fill(0); // it may hold a private key
    return objects;
  }

  #control(context: bigint, what: number, value: bigint, address = 0n): bigint {
    return this.#openSsl.SSL_CTX_ctrl(context, what, value, address);
  }

  #check(isGood: boolean): void {
    if (isGood) return;
    const openSsl = this.#openSsl;
    const reason = textAt(openSsl.ERR_reason_error_string(openSsl.ERR_peek_error()));
    openSsl.ERR_clear_error();
    throw new Error(
      `OpenSSL makes no context for a certificate: ${reason || 'its PEM texts cannot be read'}`,
    );
  }
}

/** A protocol behind its length, as clients offer it, in memory that stays where it is: OpenSSL keeps the address. */
function alpnEntry(name: string) {
  const bytes = Buffer.allocUnsafeSlow(1 + name.length);
  bytes.writeUInt8(name.length);
  bytes.write(name, 1, 'latin1');
  return { bytes, address: addressOf(bytes) + 1n };
}

function isOffered(entry: Buffer, offered: Buffer): boolean {
  for (let at = 0; at < offered.length; at += 1 + offered[at]!) {
    if (entry.equals(offered.subarray(at, at + entry.length))) return true;
  }
  return false;
}
