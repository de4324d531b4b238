import type { Logger } from '../../base/log.ts';
import { netTransport, type ServerTransport } from './net-transport.ts';

/** `auto`: `uring` where it can be had, else `net`. */
export type TransportChoice = 'auto' | 'uring' | 'net';

async function openUring(): Promise<ServerTransport> {
  const { openUringTransport } = await import('./uring-transport.ts');
  return openUringTransport();
}

/**
 * The transport to use. `net` serves where io_uring cannot be had; what was chosen and why is logged, as a warning only where io_uring was
 * asked for by name.
 */
export async function chooseTransport(
  choice: TransportChoice,
  log: Logger,
  open: () => Promise<ServerTransport> = openUring,
): Promise<ServerTransport> {
  if (choice === 'net') {
    log.info('transport chosen', { transport: 'net', reason: 'it was asked for' });
    return netTransport;
  }
  try {
    const transport = await open();
    const reason = choice === 'uring' ? 'it was asked for' : 'the kernel has what it needs';
    log.info('transport chosen', { transport: 'uring', reason });
    const { tlsProblem: error } = transport;
    if (error !== undefined)
      log.warn('TLS of clients stays on node:tls: OpenSSL cannot be called', { error });
    return transport;
  } catch (error) {
    const level = choice === 'uring' ? 'warn' : 'info';
    log[level]('transport chosen', { transport: 'net', reason: 'io_uring cannot be used here', error });
    return netTransport;
  }
}
