import type { Ingress } from '../../api/gen/networking-v1.ts';

/** What an Ingress written for ingress-nginx says, in our words. */
export type NginxReading = {
  /** Ours, with their prefix. */
  readonly annotations: Readonly<Record<string, string>>;
  /** For each of ours, without its prefix, the whole name of the one that it stands for. */
  readonly origins: ReadonlyMap<string, string>;
  /** What has no equal. */
  readonly problems: readonly string[];
  /** All paths of its hosts are regular expressions. */
  readonly readsRegex: boolean;
};

/**
 * Reads the annotations of ingress-nginx; undefined: there are none. A function that is handed in, so that whoever does not
 * honour them does not load what knows them.
 */
export type NginxReader = (ingress: Ingress) => NginxReading | undefined;

/** The reader if it is wanted; else undefined. */
export async function loadNginxReader(wanted: boolean): Promise<NginxReader | undefined> {
  return wanted ? (await import('../nginx/translations.ts')).nginxReader : undefined;
}
