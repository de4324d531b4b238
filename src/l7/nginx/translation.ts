/** The prefix of ingress-nginx's annotations. */
export const nginxPrefix = 'nginx.ingress.kubernetes.io/';

/**
 * `same`: means here what it means there. `differs`: works, but not in every respect as there; the text says how. `idle`:
 * nothing is lost without it. `none`: there is no equal.
 */
export type Verdict = 'same' | 'differs' | 'idle' | 'none';

/** What becomes of one annotation. */
export type Finding = {
  /** Without the prefix. */
  readonly annotation: string;
  readonly verdict: Verdict;
  /** '' for most of verdict `same`. */
  readonly text: string;
};

/** The annotations of one Ingress, told in ours. */
export type Translation = {
  /** Ours without their prefix. */
  readonly annotations: Readonly<Record<string, string>>;
  /** For each of ours, without its prefix, the whole name of the one that it stands for. */
  readonly origins: ReadonlyMap<string, string>;
  /** In the order of the annotations' names. */
  readonly findings: readonly Finding[];
  /** ingress-nginx then reads all paths of its hosts as regular expressions, whatever their type. */
  readonly readsRegex: boolean;
};

/** What translating needs to know of the Ingress around the annotations. */
export type IngressFacts = {
  readonly namespace: string;
  /** Some host has a certificate: ingress-nginx then redirects to HTTPS unless told otherwise. */
  readonly hasTls: boolean;
};

/** Collects a translation, annotation by annotation. */
export class Translator {
  readonly facts: IngressFacts;
  readsRegex = false;
  readonly #given: ReadonlyMap<string, string>;
  readonly #ours: Record<string, string> = {};
  readonly #origins = new Map<string, string>();
  readonly #findings = new Map<string, Finding>();

  /** @param given theirs without the prefix */
  constructor(given: ReadonlyMap<string, string>, facts: IngressFacts) {
    this.#given = given;
    this.facts = facts;
  }

  get names(): Iterable<string> {
    return this.#given.keys();
  }

  /** undefined: absent. */
  get(name: string): string | undefined {
    return this.#given.get(name)?.trim();
  }

  is(name: string, value: string): boolean {
    return this.get(name) === value;
  }

  told(name: string): boolean {
    return this.#findings.has(name);
  }

  /** One of ours, standing for theirs called `origin`. */
  set(ours: string, value: string, origin: string): void {
    this.#ours[ours] = value;
    this.#origins.set(ours, `${nginxPrefix}${origin}`);
  }

  /** The verdict about an annotation, if it is there. A later one replaces it. */
  tell(name: string, verdict: Verdict, text = ''): void {
    if (this.#given.has(name)) this.#findings.set(name, { annotation: name, verdict, text });
  }

  /** `theirs` is `ours` with the same values. */
  rename(theirs: string, ours = theirs): void {
    const value = this.get(theirs);
    if (value === undefined) return;
    this.set(ours, value, theirs);
    this.tell(theirs, 'same');
  }

  /** Something that keeps people out has no equal: without it they must not get in. */
  close(name: string, text: string): void {
    if (!this.#given.has(name)) return;
    this.#closedBy ??= name;
    this.tell(name, 'none', `${text}; nobody is let in`);
  }

  #closedBy: string | undefined;

  finish(): Translation {
    if (this.#closedBy !== undefined) {
      this.set('deny-source-range', '0.0.0.0/0, ::/0', this.#closedBy);
      delete this.#ours['satisfy'];
    }
    const findings = [...this.#findings.values()].toSorted((a, b) => (a.annotation < b.annotation ? -1 : 1));
    const annotations = Object.fromEntries(
      Object.entries(this.#ours).toSorted(([a], [b]) => (a < b ? -1 : 1)),
    );
    return { annotations, origins: this.#origins, findings, readsRegex: this.readsRegex };
  }
}
