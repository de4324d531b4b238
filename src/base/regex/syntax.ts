/**
 * The part of the usual regular expressions that can be matched in time linear in the text: no back-references, no
 * look-around. Texts are those of HTTP heads: one byte a character.
 */
export type RegexNode =
  | { readonly kind: 'set'; readonly set: CharacterSet }
  | { readonly kind: 'sequence'; readonly items: readonly RegexNode[] }
  | { readonly kind: 'choice'; readonly options: readonly RegexNode[] }
  | {
      readonly kind: 'repeat';
      readonly item: RegexNode;
      readonly min: number;
      /** undefined: without end. */
      readonly max: number | undefined;
      readonly greedy: boolean;
    }
  | { readonly kind: 'group'; readonly item: RegexNode; readonly index: number }
  | { readonly kind: 'assert'; readonly what: 'start' | 'end' | 'word' | 'not-word' };

/** 1 for each of the 256 characters that belong to it. */
export type CharacterSet = Uint8Array;

export type ParsedRegex =
  | { readonly ok: true; readonly node: RegexNode; readonly groups: number }
  | { readonly ok: false; readonly problem: string };

/** Characters of a pattern. Longer ones are refused. */
export const patternLengthMax = 1024;
const repeatMax = 100;
const depthMax = 32;

/** `(?i)` in front of the pattern stands for `ignoreCase`. */
export function parseRegex(pattern: string, ignoreCase: boolean): ParsedRegex {
  if (pattern.length > patternLengthMax) return { ok: false, problem: `longer than ${patternLengthMax}` };
  const flagged = pattern.startsWith('(?i)');
  const parser = new RegexParser(flagged ? pattern.slice(4) : pattern, ignoreCase || flagged);
  try {
    return { ok: true, node: parser.parse(), groups: parser.groups };
  } catch (error) {
    if (error instanceof RegexSyntaxError) return { ok: false, problem: error.message };
    throw error;
  }
}

class RegexSyntaxError extends Error {
  override readonly name = 'RegexSyntaxError';
}

function setOf(...ranges: readonly (readonly [from: number, to: number])[]): CharacterSet {
  const set = new Uint8Array(256);
  for (const [from, to] of ranges) set.fill(1, from, to + 1);
  return set;
}

function inverted(set: CharacterSet): CharacterSet {
  return set.map((member) => 1 - member);
}

const digits = setOf([0x30, 0x39]);
const wordCharacters = setOf([0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]);
const spaces = setOf([0x09, 0x0d], [0x20, 0x20], [0xa0, 0xa0]);
const anyCharacter = inverted(setOf([0x0a, 0x0a], [0x0d, 0x0d]));

export function isWordCharacter(code: number): boolean {
  return code < 256 && wordCharacters[code] === 1;
}

const classes: Readonly<Record<string, CharacterSet>> = {
  d: digits,
  D: inverted(digits),
  w: wordCharacters,
  W: inverted(wordCharacters),
  s: spaces,
  S: inverted(spaces),
};

const controls: Readonly<Record<string, number>> = { n: 0x0a, r: 0x0d, t: 0x09, f: 0x0c, v: 0x0b };

class RegexParser {
  groups = 0;
  readonly #text: string;
  readonly #ignoreCase: boolean;
  #at = 0;
  #depth = 0;

  constructor(text: string, ignoreCase: boolean) {
    this.#text = text;
    this.#ignoreCase = ignoreCase;
  }

  parse(): RegexNode {
    const node = this.#choice();
    if (this.#at < this.#text.length) throw this.#error('an unopened )');
    return node;
  }

  #error(what: string): RegexSyntaxError {
    return new RegexSyntaxError(`${what} at character ${this.#at + 1}`);
  }

  #peek(): string {
    return this.#text[this.#at] ?? '';
  }

  #take(): string {
    const character = this.#peek();
    this.#at += 1;
    return character;
  }

  #eat(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #choice(): RegexNode {
    this.#depth += 1;
    if (this.#depth > depthMax) throw this.#error(`more than ${depthMax} groups within each other`);
    const options = [this.#sequence()];
    while (this.#eat('|')) options.push(this.#sequence());
    this.#depth -= 1;
    return options.length === 1 ? options[0]! : { kind: 'choice', options };
  }

  #sequence(): RegexNode {
    const items: RegexNode[] = [];
    while (this.#at < this.#text.length && this.#peek() !== '|' && this.#peek() !== ')') {
      items.push(this.#repeated(this.#atom()));
    }
    return items.length === 1 ? items[0]! : { kind: 'sequence', items };
  }

  #repeated(item: RegexNode): RegexNode {
    const bounds = this.#bounds();
    if (bounds === undefined) return item;
    if (item.kind === 'assert') throw this.#error('nothing to repeat');
    const greedy = !this.#eat('?');
    if (this.#peek() === '+') throw this.#error('possessive repeats are not known');
    if (this.#bounds() !== undefined) throw this.#error('nothing to repeat');
    return { kind: 'repeat', item, ...bounds, greedy };
  }

  #bounds(): { readonly min: number; readonly max: number | undefined } | undefined {
    if (this.#eat('*')) return { min: 0, max: undefined };
    if (this.#eat('+')) return { min: 1, max: undefined };
    if (this.#eat('?')) return { min: 0, max: 1 };
    const match = /^\{(\d{1,4})(,(\d{0,4}))?\}/.exec(this.#text.slice(this.#at, this.#at + 12));
    if (match === null) return undefined;
    this.#at += match[0].length;
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === '' ? undefined : Number(match[3]);
    if (min > repeatMax || (max ?? 0) > repeatMax) throw this.#error(`a repeat beyond ${repeatMax}`);
    if (max !== undefined && max < min) throw this.#error('a repeat with its bounds the wrong way round');
    return { min, max };
  }

  #atom(): RegexNode {
    const character = this.#take();
    switch (character) {
      case '(':
        return this.#group();
      case '[':
        return { kind: 'set', set: this.#folded(this.#bracket()) };
      case '.':
        return { kind: 'set', set: anyCharacter };
      case '^':
        return { kind: 'assert', what: 'start' };
      case '$':
        return { kind: 'assert', what: 'end' };
      case '\\':
        return this.#escape();
      case '*':
      case '+':
      case '?':
        throw this.#error('nothing to repeat');
      default:
        return this.#literal(character.charCodeAt(0));
    }
  }

  #literal(code: number): RegexNode {
    if (code > 255) throw this.#error('a character that no HTTP head has');
    return { kind: 'set', set: this.#folded(setOf([code, code])) };
  }

  #folded(set: CharacterSet): CharacterSet {
    if (!this.#ignoreCase) return set;
    const folded = set.slice();
    for (let upper = 0x41; upper <= 0x5a; upper += 1) {
      const either = (set[upper] ?? 0) | (set[upper + 0x20] ?? 0);
      folded[upper] = either;
      folded[upper + 0x20] = either;
    }
    return folded;
  }

  #group(): RegexNode {
    let index = -1;
    if (this.#eat('?')) {
      if (this.#eat('<') && /[A-Za-z_]/.test(this.#peek())) {
        while (/\w/.test(this.#peek())) this.#at += 1;
        if (!this.#eat('>')) throw this.#error('a group name without >');
        this.groups += 1;
        index = this.groups;
      } else if (!this.#eat(':')) throw this.#error('look-around and flags within a pattern are not known');
    } else {
      this.groups += 1;
      index = this.groups;
    }
    const item = this.#choice();
    if (!this.#eat(')')) throw this.#error('an unclosed (');
    return index === -1 ? item : { kind: 'group', item, index };
  }

  #escape(): RegexNode {
    const character = this.#take();
    if (character === 'b') return { kind: 'assert', what: 'word' };
    if (character === 'B') return { kind: 'assert', what: 'not-word' };
    const set = classes[character];
    if (set !== undefined) return { kind: 'set', set };
    return this.#literal(this.#escapedCode(character));
  }

  #escapedCode(character: string): number {
    const control = controls[character];
    if (control !== undefined) return control;
    if (character === 'x') {
      const digits = /^[0-9a-fA-F]{2}/.exec(this.#text.slice(this.#at, this.#at + 2))?.[0];
      if (digits === undefined) throw this.#error('\\x without two digits');
      this.#at += 2;
      return Number.parseInt(digits, 16);
    }
    if (/[1-9]/.test(character)) throw this.#error('back-references are not known');
    if (character === '' || /[0-9A-Za-z]/.test(character)) throw this.#error(`\\${character} is not known`);
    return character.charCodeAt(0);
  }

  #bracket(): CharacterSet {
    const negated = this.#eat('^');
    const set = new Uint8Array(256);
    let first = true;
    while (first || this.#peek() !== ']') {
      if (this.#at >= this.#text.length) throw this.#error('an unclosed [');
      first = false;
      const from = this.#member(set);
      if (from === undefined || this.#peek() !== '-' || this.#text[this.#at + 1] === ']') continue;
      this.#at += 1;
      const to = this.#member(set);
      if (to === undefined || to < from) throw this.#error('a range that is none');
      set.fill(1, from, to + 1);
    }
    this.#at += 1;
    return negated ? inverted(this.#folded(set)) : set;
  }

  /** Adds it; its code if a range may begin with it. */
  #member(set: CharacterSet): number | undefined {
    const character = this.#take();
    if (character === '[' && /[:.=]/.test(this.#peek())) throw this.#error('named classes are not known');
    if (character !== '\\') return this.#addCode(set, character.charCodeAt(0));
    const escaped = this.#take();
    const known = classes[escaped];
    if (known === undefined) return this.#addCode(set, escaped === 'b' ? 0x08 : this.#escapedCode(escaped));
    for (let code = 0; code < 256; code += 1) set[code] = (set[code] ?? 0) | (known[code] ?? 0);
    return undefined;
  }

  #addCode(set: CharacterSet, code: number): number {
    if (!(code < 256)) throw this.#error('a character that no HTTP head has');
    set[code] = 1;
    return code;
  }
}
