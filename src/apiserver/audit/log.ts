import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { ApiRequest, User } from '../exchange.ts';
import type { RequestInfo } from '../request-info.ts';
import { type AuditPolicy, decide } from './policy.ts';
import { AuditTrail } from './trail.ts';

/** Where events go: one JSON document a line. */

export type AuditLogOptions = {
  /** A file, or `-` for standard output. */
  readonly path: string;
  readonly policy: AuditPolicy;
  /** A file that has grown to this is put aside, bytes; 0: never. */
  readonly bytesMax: number;
  /** So many files that were put aside are kept; 0: all. */
  readonly backupsMax: number;
};

export type AuditLog = {
  /** Undefined: the policy wants nothing written of the request. */
  begin(request: ApiRequest, info: RequestInfo, user: User): AuditTrail | undefined;
  readonly counts: { events: number; errors: number };
  /** Writes what is left. */
  close(): Promise<void>;
};

/** Events that wait to be written, bytes. Beyond it they are left out, counted and told in the log of the server. */
export const waitingBytesMax = 16 * 1024 * 1024;

/** Rejects when the file cannot be opened. */
export async function openAuditLog(options: AuditLogOptions, clock: Clock, log: Logger): Promise<AuditLog> {
  const counts = { events: 0, errors: 0 };
  const sink = options.path === '-' ? standardOutput : await openFile(options, clock);
  let waiting: string[] = [];
  let bytes = 0;
  let writing: Promise<void> | undefined;

  async function writeAll(): Promise<void> {
    while (waiting.length > 0) {
      const lines = waiting;
      waiting = [];
      const text = lines.join('');
      try {
        await sink.write(text);
        counts.events += lines.length;
      } catch (error) {
        counts.errors += lines.length;
        log.error('events of the audit log could not be written', { events: lines.length, error });
      }
      bytes -= text.length;
    }
    writing = undefined;
  }
  function write(line: string): void {
    if (bytes + line.length > waitingBytesMax) {
      counts.errors += 1;
      if (counts.errors % 1000 === 1) log.error('the audit log is too slow; events are left out', counts);
      return;
    }
    waiting.push(line);
    bytes += line.length;
    writing ??= writeAll();
  }
  return {
    counts,
    begin(request, info, user) {
      const decision = decide(options.policy, user, info);
      return decision.level === 'None'
        ? undefined
        : new AuditTrail(clock, decision, { request, info, user }, write);
    },
    async close() {
      await writing;
      await sink.close();
    },
  };
}

type Sink = { write(text: string): Promise<void>; close(): Promise<void> };

const standardOutput: Sink = {
  write: (text) =>
    new Promise((resolve, reject) => {
      process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
    }),
  close: () => Promise.resolve(),
};

async function openFile({ path, bytesMax, backupsMax }: AuditLogOptions, clock: Clock): Promise<Sink> {
  const reopen = (): Promise<FileHandle> => open(path, 'a', 0o600);
  let file = await reopen();
  let { size } = await file.stat();
  return {
    async write(text) {
      await file.appendFile(text);
      size += Buffer.byteLength(text);
      if (bytesMax === 0 || size < bytesMax) return;
      await file.close();
      // As Kubernetes names them, so that tools which collect them find them.
      const stamp = new Date(clock.nowMs()).toISOString().replaceAll(':', '-').replace('Z', '');
      const { stem, extension } = partsOf(path);
      await rename(path, join(dirname(path), `${stem}-${stamp}${extension}`));
      file = await reopen();
      size = 0;
      if (backupsMax > 0) await removeOld(path, backupsMax);
    },
    close: () => file.close(),
  };
}

function partsOf(path: string): { readonly stem: string; readonly extension: string } {
  const [, stem = '', extension = ''] = /^(.+?)(\.[^.]*)?$/.exec(basename(path)) ?? [];
  return { stem, extension };
}

async function removeOld(path: string, backupsMax: number): Promise<void> {
  const { stem, extension } = partsOf(path);
  const isBackup = (name: string): boolean =>
    name.startsWith(`${stem}-`) &&
    name.endsWith(extension) &&
    /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}$/.test(
      name.slice(stem.length + 1, name.length - extension.length),
    );
  const backups = (await readdir(dirname(path))).filter(isBackup).toSorted();
  for (const name of backups.slice(0, Math.max(0, backups.length - backupsMax))) {
    await rm(join(dirname(path), name), { force: true });
  }
}
