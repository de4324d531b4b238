import { type Entry, isStoreError, type Store, type Turn } from '../store/store.ts';

/** Writes that are judged by many objects together, on a store that other servers write to as well. */

/** Times that a write is made again because another server's was first. */
const attemptsMax = 20;

/**
 * Judges and writes, again when another server wrote with this turn meanwhile: what is written was judged by all that came
 * before. Throws what `judge` and `write` throw; after `attemptsMax` a StoreError `Overtaken`.
 */
export async function takeTurn(
  store: Store,
  name: string,
  judge: () => void,
  write: (turn: Turn) => Promise<Entry>,
): Promise<Entry> {
  for (let attempt = 1; ; attempt++) {
    const turn = { name, seen: store.revision };
    judge();
    try {
      return await write(turn);
    } catch (error) {
      if (!isStoreError(error, 'Overtaken') || attempt === attemptsMax) throw error;
    }
  }
}

/**
 * Runs work of one name after the other: those of one server would only overtake each other. Nothing is kept of names that
 * nobody waits for; the requests that a server takes at once bound how many wait.
 */
export function createTurns(): <T>(name: string, work: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<void>>();
  return async (name, work) => {
    const before = last.get(name);
    const { promise, resolve } = Promise.withResolvers<void>();
    last.set(name, promise);
    await before;
    try {
      return await work();
    } finally {
      if (last.get(name) === promise) last.delete(name);
      resolve();
    }
  };
}
