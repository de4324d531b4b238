import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type EngineOptions, type Medium, StoreEngine } from './engine.ts';
import { type Entry, type Store, StoreError, type StoreEvent } from './store.ts';

export type SqliteOptions = EngineOptions & {
  /**
   * What an acknowledged write survives. `process` (default): kill -9 and every crash of ours; the operating system
   * holds the bytes. `power`: loss of power too, at the price of one fsync a commit on the event loop.
   */
  readonly durability?: 'process' | 'power';
};

/** The write-ahead log is folded into the file when it has so many pages of 4 KiB. */
const walPagesMax = 2048;

/**
 * Opens or creates the database at `path`. Only the current state is on disk; all reads come from memory, so the file
 * is read once, here. Watch history does not survive a restart: a watch from before it either resumes at exactly the
 * current revision or gets `Expired`.
 */
export function openSqliteStore(path: string, options: SqliteOptions = {}): Store {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const database = open(path, options.durability ?? 'process');
  const entries: Entry[] = [];
  for (const row of database.prepare('SELECT key, revision, value FROM objects').iterate()) {
    const { key, revision, value } = row;
    if (typeof key !== 'string' || typeof revision !== 'number' || !(value instanceof Uint8Array)) {
      throw new StoreError('Failed', `${path} holds a row that no version of Fairlead wrote: move it away`);
    }
    entries.push({
      key,
      revision,
      value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
    });
  }
  const head = database.prepare('SELECT revision FROM head').get();
  return new StoreEngine(sqliteMedium(database), entries, Number(head?.['revision'] ?? 0), options);
}

function open(path: string, durability: 'process' | 'power'): DatabaseSync {
  try {
    const database = new DatabaseSync(path);
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = ${durability === 'power' ? 'FULL' : 'NORMAL'};
      PRAGMA wal_autocheckpoint = ${walPagesMax};
      PRAGMA locking_mode = EXCLUSIVE;
      CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL);
      INSERT OR IGNORE INTO head VALUES (1, 0);
    `);
    return database;
  } catch (cause) {
    throw new StoreError(
      'Failed',
      `cannot open ${path}: is another API server using it, or the disk full or read-only?`,
      { cause },
    );
  }
}

function sqliteMedium(database: DatabaseSync): Medium {
  const begin = database.prepare('BEGIN IMMEDIATE');
  const commit = database.prepare('COMMIT');
  const put = database.prepare('INSERT OR REPLACE INTO objects (key, revision, value) VALUES (?, ?, ?)');
  const remove = database.prepare('DELETE FROM objects WHERE key = ?');
  const advance = database.prepare('UPDATE head SET revision = ?');
  return {
    commit(events: readonly StoreEvent[]): void {
      begin.run();
      try {
        for (const event of events) {
          if (event.type === 'put') put.run(event.key, event.revision, event.entry.value);
          else remove.run(event.key);
        }
        advance.run(events.at(-1)?.revision ?? 0);
        commit.run();
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK');
        throw error;
      }
    },
    close: () => database.close(),
  };
}
