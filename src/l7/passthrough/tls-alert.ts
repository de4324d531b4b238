/** Of TLS (RFC 8446 §6), those that we send in place of an endpoint that cannot be asked. */
export const alerts = { accessDenied: 49, internalError: 80, unrecognizedName: 112 } as const;

const ALERT = 21;
const FATAL = 2;

/** A record that any version understands before its handshake. */
export function renderAlert(alert: number): Buffer {
  return Buffer.from([ALERT, 3, 1, 0, 2, FATAL, alert]);
}
