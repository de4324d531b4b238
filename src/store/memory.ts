import { type EngineOptions, StoreEngine } from './engine.ts';
import type { Store } from './store.ts';

/** A store that is gone with the process: for tests and for trying things out. */
export function openMemoryStore(options: EngineOptions = {}): Store {
  return new StoreEngine({ commit: () => {}, close: () => {} }, [], 0, options);
}
