import type { Logger } from '../../base/log.ts';
import { netTransport, type ServerTransport } from './net-transport.ts';

/** `auto`: the best one that is proven for general use; at present always `net`. */
export type TransportChoice = 'auto' | 'uring' | 'net';

async function openUring(): Promise<ServerTransport> {
  const { openUringTransport } = await import('./uring-transport.ts');
  return openUringTransport();
}

/** The transport to use. `uring` falls back to `net` where it is refused; what was chosen and why is logged. */
export async function chooseTransport(
  choice: TransportChoice,
  log: Logger,
  open: () => Promise<ServerTransport> = openUring,
): Promise<ServerTransport> {
  if (choice !== 'uring') {
    const reason = choice === 'net' ? 'it was asked for' : 'io_uring is used only when asked for';
    log.info('transport chosen', { transport: 'net', reason });
    return netTransport;
  }
  try {
    const transport = await open();
    log.info('transport chosen', { transport: 'uring', reason: 'it was asked for' });
    return transport;
  } catch (error) {
    log.warn('transport chosen', { transport: 'net', reason: 'io_uring cannot be used here', error });
    return netTransport;
  }
}
