export const annotationPrefix = 'fairlead.dev/';

/** Reads annotations by name and collects what is wrong with them. */
export class AnnotationReader {
  readonly #annotations: Readonly<Record<string, string>>;
  readonly #origins: ReadonlyMap<string, string>;
  readonly #known = new Set<string>();
  readonly #problems: string[] = [];

  /** @param origins for problems: the names that people wrote, where they are not ours */
  constructor(
    annotations: Readonly<Record<string, string>>,
    origins: ReadonlyMap<string, string> = new Map(),
  ) {
    this.#annotations = annotations;
    this.#origins = origins;
  }

  /** undefined: absent or bad; bad ones are noted. `allowed` completes "allowed: …". */
  read<T>(name: string, allowed: string, parse: (value: string) => T | undefined): T | undefined {
    this.#known.add(name);
    const value = this.#annotations[`${annotationPrefix}${name}`];
    if (value === undefined) return undefined;
    const parsed = parse(value.trim());
    if (parsed === undefined) this.bad(name, value, `allowed: ${allowed}`);
    return parsed;
  }

  /** For a value that another family reads. */
  peek(name: string): string | undefined {
    return this.#annotations[`${annotationPrefix}${name}`]?.trim();
  }

  has(name: string): boolean {
    return this.#annotations[`${annotationPrefix}${name}`] !== undefined;
  }

  flag(name: string): boolean {
    return (
      this.read(name, '"true" or "false"', (value) =>
        value === 'true' ? true : value === 'false' ? false : undefined,
      ) ?? false
    );
  }

  bad(name: string, value: string, why: string): void {
    const shown = value.length > 80 ? `${value.slice(0, 80)}…` : value;
    const written = this.#origins.get(name) ?? `${annotationPrefix}${name}`;
    this.#problems.push(`metadata.annotations[${written}]: ${JSON.stringify(shown)}: ${why}`);
  }

  /** All problems, those of names that nobody has read among them. */
  finish(): readonly string[] {
    for (const [name, value] of Object.entries(this.#annotations)) {
      const short = name.slice(annotationPrefix.length);
      if (!name.startsWith(annotationPrefix) || this.#known.has(short)) continue;
      this.bad(
        short,
        value,
        `there is no such annotation; allowed: ${[...this.#known].toSorted().join(', ')}`,
      );
    }
    return this.#problems;
  }
}
