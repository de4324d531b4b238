import ffi from 'node:ffi';

/** OpenSSL's functions, which the runtime has in itself and shows to whom asks, called through FFI. Each has a man page of its name. */
export type OpenSsl = ReturnType<typeof openOpenSsl>;

/** Handles and addresses are `uint64`, for those are converted quickest. 0n is NULL. */
const signatures = {
  OpenSSL_version_num: { arguments: [], return: 'uint64' },
  ERR_peek_error: { arguments: [], return: 'uint64' },
  ERR_clear_error: { arguments: [], return: 'void' },
  ERR_reason_error_string: { arguments: ['uint64'], return: 'uint64' },

  BIO_s_mem: { arguments: [], return: 'uint64' },
  BIO_new: { arguments: ['uint64'], return: 'uint64' },
  BIO_new_mem_buf: { arguments: ['uint64', 'int32'], return: 'uint64' },
  BIO_ctrl: { arguments: ['uint64', 'int32', 'int64', 'uint64'], return: 'int64' },
  BIO_read: { arguments: ['uint64', 'uint64', 'int32'], return: 'int32' },
  BIO_up_ref: { arguments: ['uint64'], return: 'int32' },
  BIO_free: { arguments: ['uint64'], return: 'int32' },

  PEM_read_bio_X509_AUX: { arguments: ['uint64', 'uint64', 'uint64', 'uint64'], return: 'uint64' },
  PEM_read_bio_X509_CRL: { arguments: ['uint64', 'uint64', 'uint64', 'uint64'], return: 'uint64' },
  PEM_read_bio_PrivateKey: { arguments: ['uint64', 'uint64', 'uint64', 'uint64'], return: 'uint64' },
  X509_free: { arguments: ['uint64'], return: 'void' },
  X509_CRL_free: { arguments: ['uint64'], return: 'void' },
  EVP_PKEY_free: { arguments: ['uint64'], return: 'void' },
  i2d_X509: { arguments: ['uint64', 'uint64'], return: 'int32' },
  X509_STORE_add_cert: { arguments: ['uint64', 'uint64'], return: 'int32' },
  X509_STORE_add_crl: { arguments: ['uint64', 'uint64'], return: 'int32' },
  X509_STORE_set_flags: { arguments: ['uint64', 'uint64'], return: 'int32' },
  OPENSSL_sk_num: { arguments: ['uint64'], return: 'int32' },
  OPENSSL_sk_value: { arguments: ['uint64', 'int32'], return: 'uint64' },

  TLS_server_method: { arguments: [], return: 'uint64' },
  SSL_CTX_new: { arguments: ['uint64'], return: 'uint64' },
  SSL_CTX_free: { arguments: ['uint64'], return: 'void' },
  SSL_CTX_ctrl: { arguments: ['uint64', 'int32', 'int64', 'uint64'], return: 'int64' },
  SSL_CTX_set_options: { arguments: ['uint64', 'uint64'], return: 'uint64' },
  SSL_CTX_set_cipher_list: { arguments: ['uint64', 'string'], return: 'int32' },
  SSL_CTX_set_ciphersuites: { arguments: ['uint64', 'string'], return: 'int32' },
  SSL_CTX_set_session_id_context: { arguments: ['uint64', 'string', 'uint32'], return: 'int32' },
  SSL_CTX_set_num_tickets: { arguments: ['uint64', 'uint64'], return: 'int32' },
  SSL_CTX_set_alpn_select_cb: { arguments: ['uint64', 'uint64', 'uint64'], return: 'void' },
  SSL_CTX_use_certificate: { arguments: ['uint64', 'uint64'], return: 'int32' },
  SSL_CTX_use_PrivateKey: { arguments: ['uint64', 'uint64'], return: 'int32' },
  SSL_CTX_check_private_key: { arguments: ['uint64'], return: 'int32' },
  SSL_CTX_set_verify: { arguments: ['uint64', 'int32', 'uint64'], return: 'void' },
  SSL_CTX_get_cert_store: { arguments: ['uint64'], return: 'uint64' },
  SSL_CTX_add_client_CA: { arguments: ['uint64', 'uint64'], return: 'int32' },

  SSL_new: { arguments: ['uint64'], return: 'uint64' },
  SSL_free: { arguments: ['uint64'], return: 'void' },
  SSL_set_bio: { arguments: ['uint64', 'uint64', 'uint64'], return: 'void' },
  SSL_accept: { arguments: ['uint64'], return: 'int32' },
  SSL_read: { arguments: ['uint64', 'uint64', 'int32'], return: 'int32' },
  SSL_write: { arguments: ['uint64', 'uint64', 'int32'], return: 'int32' },
  SSL_shutdown: { arguments: ['uint64'], return: 'int32' },
  SSL_get_error: { arguments: ['uint64', 'int32'], return: 'int32' },
  SSL_get0_alpn_selected: { arguments: ['uint64', 'uint64', 'uint64'], return: 'void' },
  SSL_version: { arguments: ['uint64'], return: 'int32' },
  SSL_get1_peer_certificate: { arguments: ['uint64'], return: 'uint64' },
  SSL_get_verify_result: { arguments: ['uint64'], return: 'int64' },
  SSL_get0_verified_chain: { arguments: ['uint64'], return: 'uint64' },
} as const;

/** BIO_ctrl(3), BIO_s_mem(3). */
export const BIO_C_GET_BUF_MEM_PTR = 115;
export const BIO_C_SET_BUF_MEM_EOF_RETURN = 130;
/** SSL_get_error(3). */
export const SSL_ERROR_WANT_READ = 2;
export const SSL_ERROR_ZERO_RETURN = 6;
/** SSL_CTX_set_alpn_select_cb(3). */
export const SSL_TLSEXT_ERR_OK = 0;
export const SSL_TLSEXT_ERR_ALERT_FATAL = 2;
/** What SSL_version(3) says, by the names that node:tls has for it. */
export const versionNames: ReadonlyMap<number, string> = new Map([
  [0x0303, 'TLSv1.2'],
  [0x0304, 'TLSv1.3'],
]);

/**
 * Throws where the runtime was built in another way: with an OpenSSL of another major version, or without showing its functions.
 */
export function openOpenSsl(library = new ffi.DynamicLibrary(null)) {
  const functions = library.getFunctions(signatures);
  const major = functions.OpenSSL_version_num() >> 28n;
  if (major !== 3n) throw new Error(`OpenSSL ${major} is not the 3 that is known`);
  return {
    ...functions,
    /** For SSL_CTX_set_alpn_select_cb. It lives as long as the process. */
    alpnCallback: (choose: AlpnChoice): bigint =>
      library.registerCallback(
        {
          arguments: ['uint64', 'uint64', 'uint64', 'uint64', 'uint32', 'uint64'],
          return: 'int32',
        },
        (_, out, outLength, offered, offeredLength) =>
          choose(ffi.toBuffer(offered, offeredLength), (address, length) => {
            ffi.setUint64(out, 0, address);
            ffi.setUint8(outLength, 0, length);
          }),
      ),
    /** For SSL_CTX_set_verify: goes on whatever is wrong, which SSL_get_verify_result tells. It lives as long as the process. */
    goOnCallback: (): bigint =>
      library.registerCallback({ arguments: ['int32', 'uint64'], return: 'int32' }, () => 1),
  };
}

/**
 * @param offered by the client, each name behind a byte with its length
 * @param choose takes where the chosen name lies, and its length
 */
type AlpnChoice = (offered: Buffer, choose: (address: bigint, length: number) => void) => number;

/** The address of memory that must not move, and not be freed while OpenSSL knows it. */
export function addressOf(memory: Buffer): bigint {
  return ffi.getRawPointer(memory);
}

/** Memory of OpenSSL's own, to be read or written. */
export function memoryAt(address: bigint, length: number): ArrayBuffer {
  return ffi.toArrayBuffer(address, length, false);
}

/** A constant text of OpenSSL's; '' for NULL. */
export function textAt(address: bigint): string {
  return ffi.toString(address) ?? '';
}
