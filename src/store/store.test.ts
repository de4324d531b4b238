import { join } from 'node:path';
import { storeConformance } from '../../test/support/store-conformance.ts';
import { openMemoryStore } from './memory.ts';
import { openSqliteStore } from './sqlite.ts';

storeConformance('memory', (historyEventsMax) => openMemoryStore({ historyEventsMax }));
storeConformance('sqlite', (historyEventsMax, folder) =>
  openSqliteStore(join(folder, 'state.db'), { historyEventsMax }),
);
