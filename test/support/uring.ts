import type { ServerTransport } from '../../src/l7/transport/net-transport.ts';
import { openUringTransport } from '../../src/l7/transport/uring-transport.ts';

/**
 * A transport on io_uring, or why there is none here.
 * @param openTls as that of openUringTransport
 */
export function openUring(...openTls: Parameters<typeof openUringTransport>): ServerTransport | string {
  try {
    return openUringTransport(...openTls);
  } catch (error) {
    return `io_uring cannot be used: ${String(error)}`;
  }
}
