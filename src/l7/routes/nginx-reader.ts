import type { Ingress } from '../../api/gen/networking-v1.ts';

/** What an Ingress written for ingress-nginx says, in our words. */
export type NginxReading = {
  /** Ours, with their prefix. */
  readonly annotations: Readonly<Record<string, string>>;
  /** For each of ours, without its prefix, the whole name of the one that it stands for. */
  readonly origins: ReadonlyMap<string, string>;
  /** What has no equal. */
  readonly problems: readonly string[];
  /** Names in lower case that custom-headers may set. */
  readonly allowedHeaders: ReadonlySet<string>;
  /** All paths of its hosts are regular expressions. */
  readonly readsRegex: boolean;
};

/**
 * Reads the annotations of ingress-nginx; undefined: there are none. A function that is handed in, so that whoever does not
 * honour them does not load what knows them.
 */
export type NginxReader = (ingress: Ingress) => NginxReading | undefined;

export type NginxOptions = {
  /** undefined answer: the annotations of ingress-nginx are not honoured. */
  readonly nginxAnnotations: boolean;
  /** What custom-headers may set, as global-allowed-response-headers of ingress-nginx. */
  readonly nginxAllowedHeaders: readonly string[];
};

/** The reader if it is wanted; else undefined. */
export async function loadNginxReader(options: NginxOptions): Promise<NginxReader | undefined> {
  if (!options.nginxAnnotations) return undefined;
  const { createNginxReader } = await import('../nginx/translations.ts');
  return createNginxReader(options.nginxAllowedHeaders);
}
