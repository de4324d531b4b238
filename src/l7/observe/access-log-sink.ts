/** Files, pipes and terminals to which the access log is written. A shell: no write here can block the event loop. */
import { constants, fstatSync, openSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import { UserError } from '../../base/user-error.ts';
import type { LineSink } from './access-log.ts';

/** How often a file is looked after: one that was moved away, as by logrotate, is opened anew. */
const reopenMs = 1_000;

/**
 * @param path "-" for standard output
 * @param onError told once for as long as writing fails
 */
export async function openAccessLogSink(path: string, onError: (error: unknown) => void): Promise<LineSink> {
  if (path === '-') return isPipe(1) ? pipeSink(pipeOfOurOwn(1), onError) : fileSink(undefined, onError);
  try {
    return await fileSink(path, onError);
  } catch (error) {
    throw new UserError(`--access-log: ${path} cannot be opened: ${String(error)}`);
  }
}

function isPipe(fd: number): boolean {
  const stats = fstatSync(fd);
  return stats.isFIFO() || stats.isSocket();
}

/** Whether writes block is a matter of the open file and not of the descriptor, and others have our standard output open, too. */
function pipeOfOurOwn(fd: number): number {
  if (fstatSync(fd).isSocket()) return fd;
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return fd; // of another user: then the one that we have
  }
}

/** Bytes that go into a pipe as a whole or not at all (PIPE_BUF of Linux), so that lines of several workers do not mix. */
const atomicBytes = 4_096;

/** Whole lines, as many as fit; a longer line is a piece of its own. Lines are ASCII but for the host and path of the request. */
export function piecesOf(text: string): readonly string[] {
  const pieces: string[] = [];
  let piece = '';
  for (const line of text.split(/(?<=\n)/)) {
    if (piece !== '' && Buffer.byteLength(piece) + Buffer.byteLength(line) > atomicBytes) {
      pieces.push(piece);
      piece = '';
    }
    piece += line;
  }
  if (piece !== '') pieces.push(piece);
  return pieces;
}

/** By the event loop: a pipe that nobody reads leaves its write unfinished and nothing else. */
export function pipeSink(fd: number, onError: (error: unknown) => void): LineSink {
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.unref();
  let failed = false;
  socket.on('error', (error) => {
    if (!failed) onError(error);
    failed = true;
  });
  const writePiece = (piece: string): Promise<boolean> =>
    new Promise((resolve) => {
      if (failed || socket.destroyed) resolve(false);
      else socket.write(piece, (error) => resolve(error === undefined || error === null));
    });
  return {
    write: async (text) => {
      let written = true;
      for (const piece of piecesOf(text)) written = (await writePiece(piece)) && written;
      return written;
    },
    close: () => {
      socket.destroy();
    },
  };
}

/** By the thread pool, one write at a time. undefined: standard output. */
async function fileSink(path: string | undefined, onError: (error: unknown) => void): Promise<LineSink> {
  let file: FileHandle = await open(path ?? '/proc/self/fd/1', 'a');
  let lookedMs = performance.now();
  let failing = false;
  const follow = async (): Promise<void> => {
    if (path === undefined || performance.now() - lookedMs < reopenMs) return;
    lookedMs = performance.now();
    const there = await stat(path).catch(() => undefined);
    const ours = await file.stat();
    if (there !== undefined && there.ino === ours.ino && there.dev === ours.dev) return;
    const next = await open(path, 'a');
    await file.close();
    file = next;
  };
  return {
    write: async (text) => {
      try {
        await follow();
        await file.appendFile(text);
        failing = false;
        return true;
      } catch (error) {
        if (!failing) onError(error);
        failing = true;
        return false;
      }
    },
    close: () => {
      file.close().catch(onError);
    },
  };
}
