import type { ServerTransport } from '../../src/l7/transport/net-transport.ts';
import { openUringTransport } from '../../src/l7/transport/uring-transport.ts';

/**
 * A transport on io_uring, or why there is none here.
 * @param how as that of openUringTransport
 */
export function openUring(...how: Parameters<typeof openUringTransport>): ServerTransport | string {
  try {
    return openUringTransport(...how);
  } catch (error) {
    return `io_uring cannot be used: ${String(error)}`;
  }
}
