import { assert } from '../assert.ts';
import { type CharacterSet, isWordCharacter, parseRegex, type RegexNode } from './syntax.ts';

export type RegexOptions = {
  readonly ignoreCase: boolean;
  /** Must match from the first character on; else anywhere. It need not reach the end in either case. */
  readonly fromStart: boolean;
};

export type CompiledRegex =
  | { readonly ok: true; readonly regex: Regex }
  | { readonly ok: false; readonly problem: string };

/** Instructions of a program. A pattern that needs more is refused. A match costs at most this times the text's length. */
export const instructionsMax = 500;
const groupsMax = 20;

/** `problem` completes "…: ", and names the place. */
export function compileRegex(pattern: string, options: RegexOptions): CompiledRegex {
  const parsed = parseRegex(pattern, options.ignoreCase);
  if (!parsed.ok) return parsed;
  if (parsed.groups > groupsMax) return { ok: false, problem: `more than ${groupsMax} groups` };
  const builder = new ProgramBuilder();
  builder.add(parsed.node);
  builder.instruction(MATCH);
  if (builder.size > instructionsMax) return { ok: false, problem: 'too large' };
  return { ok: true, regex: new Regex(builder, options.fromStart, parsed.groups) };
}

const SET = 0; // a: index of the set
const SPLIT = 1; // a before b
const JUMP = 2; // a
const SAVE = 3; // a: slot
const ASSERT = 4; // a: index of the kind
const MATCH = 5;

const asserts = ['start', 'end', 'word', 'not-word'] as const;

class ProgramBuilder {
  readonly codes: number[] = [];
  readonly a: number[] = [];
  readonly b: number[] = [];
  readonly sets: CharacterSet[] = [];

  get size(): number {
    return this.codes.length;
  }

  instruction(code: number, a = 0, b = 0): number {
    if (this.size > instructionsMax) return this.size; // it will be refused; repeats within repeats must not fill memory first
    this.codes.push(code);
    this.a.push(a);
    this.b.push(b);
    return this.size - 1;
  }

  add(node: RegexNode): void {
    if (this.size > instructionsMax) return;
    switch (node.kind) {
      case 'set':
        this.sets.push(node.set);
        this.instruction(SET, this.sets.length - 1);
        return;
      case 'sequence':
        for (const item of node.items) this.add(item);
        return;
      case 'choice':
        this.#choice(node.options);
        return;
      case 'repeat':
        this.#repeat(node);
        return;
      case 'group':
        this.instruction(SAVE, node.index * 2);
        this.add(node.item);
        this.instruction(SAVE, node.index * 2 + 1);
        return;
      case 'assert':
        this.instruction(ASSERT, asserts.indexOf(node.what));
    }
  }

  #choice(options: readonly RegexNode[]): void {
    const ends: number[] = [];
    for (const [index, option] of options.entries()) {
      const last = index === options.length - 1;
      const split = last ? -1 : this.instruction(SPLIT, this.size + 1);
      this.add(option);
      if (last) break;
      ends.push(this.instruction(JUMP));
      this.b[split] = this.size;
    }
    for (const end of ends) this.a[end] = this.size;
  }

  #repeat({ item, min, max, greedy }: Extract<RegexNode, { kind: 'repeat' }>): void {
    for (let count = 0; count < min; count += 1) this.add(item);
    if (max === undefined) {
      const split = this.instruction(SPLIT);
      this.add(item);
      this.instruction(JUMP, split);
      this.#aim(split, split + 1, this.size, greedy);
      return;
    }
    const splits: number[] = [];
    for (let count = min; count < max; count += 1) {
      splits.push(this.instruction(SPLIT));
      this.add(item);
    }
    for (const split of splits) this.#aim(split, split + 1, this.size, greedy);
  }

  #aim(split: number, inside: number, outside: number, greedy: boolean): void {
    this.a[split] = greedy ? inside : outside;
    this.b[split] = greedy ? outside : inside;
  }
}

/** Threads that stand at one character, in the order of their preference, each with what its groups have caught. */
type Threads = { readonly at: number[]; readonly slots: Int32Array[] };

/**
 * A pattern as a program whose threads all walk over the text together (Thompson, Pike): no text makes it slow, so it may
 * come from anybody who may write an Ingress. Of several ways to match, the one that Perl and JavaScript prefer is taken.
 */
export class Regex {
  readonly groups: number;
  readonly #codes: Uint8Array;
  readonly #a: Int32Array;
  readonly #b: Int32Array;
  readonly #sets: readonly CharacterSet[];
  readonly #fromStart: boolean;
  /** Number of the last character at which an instruction was reached: that happens once a character. */
  readonly #reached: Int32Array;
  /** Number of the text's first character. */
  #base = 1;

  constructor(program: ProgramBuilder, fromStart: boolean, groups: number) {
    this.#codes = Uint8Array.from(program.codes);
    this.#a = Int32Array.from(program.a);
    this.#b = Int32Array.from(program.b);
    this.#sets = program.sets;
    this.#fromStart = fromStart;
    this.#reached = new Int32Array(program.size);
    this.groups = groups;
  }

  test(text: string): boolean {
    return this.#run(text, 0) !== undefined;
  }

  /** The whole match and its groups; those that took no part are ''. undefined: no match. */
  match(text: string): readonly string[] | undefined {
    const found = this.#run(text, (this.groups + 1) * 2);
    if (found === undefined) return undefined;
    return Array.from({ length: this.groups + 1 }, (_, group) => {
      const start = found[group * 2] ?? -1;
      const end = found[group * 2 + 1] ?? -1;
      return start === -1 || end === -1 ? '' : text.slice(start, end);
    });
  }

  /** The slots of the preferred match. With no slots, the first match that is found is enough. */
  #run(text: string, slotCount: number): Int32Array | undefined {
    this.#base += text.length + 2; // beyond all numbers of the run before
    if (this.#base > 0x3fff_0000) {
      this.#reached.fill(0);
      this.#base = 1;
    }
    let now: Threads = { at: [], slots: [] };
    let next: Threads = { at: [], slots: [] };
    let found: Int32Array | undefined;
    for (let index = 0; index <= text.length; index += 1) {
      if (found === undefined && (index === 0 || !this.#fromStart)) {
        const slots = new Int32Array(slotCount).fill(-1);
        if (slotCount > 0) slots[0] = index;
        this.#enter(now, 0, slots, text, index);
      }
      if (now.at.length === 0 && (this.#fromStart || found !== undefined)) break;
      const code = text.charCodeAt(index); // NaN at the end: in no set
      for (let thread = 0; thread < now.at.length; thread += 1) {
        const at = now.at[thread]!;
        const slots = now.slots[thread]!;
        if (this.#codes[at] === MATCH) {
          if (slotCount === 0) return slots;
          found = slots.slice();
          found[1] = index;
          break; // the threads behind it are less preferred
        }
        if (this.#sets[this.#a[at]!]![code] === 1) this.#enter(next, at + 1, slots, text, index + 1);
      }
      [now, next] = [next, now];
      next.at.length = 0;
      next.slots.length = 0;
    }
    return found;
  }

  /** Follows all that needs no character. */
  #enter(threads: Threads, at: number, slots: Int32Array, text: string, index: number): void {
    if (this.#reached[at] === this.#base + index) return;
    this.#reached[at] = this.#base + index;
    const a = this.#a[at]!;
    switch (this.#codes[at]) {
      case JUMP:
        this.#enter(threads, a, slots, text, index);
        return;
      case SPLIT:
        this.#enter(threads, a, slots, text, index);
        this.#enter(threads, this.#b[at]!, slots, text, index);
        return;
      case SAVE: {
        let own = slots;
        if (a < slots.length) {
          own = slots.slice();
          own[a] = index;
        }
        this.#enter(threads, at + 1, own, text, index);
        return;
      }
      case ASSERT:
        if (holds(a, text, index)) this.#enter(threads, at + 1, slots, text, index);
        return;
      default:
        threads.at.push(at);
        threads.slots.push(slots);
    }
  }
}

function holds(kind: number, text: string, index: number): boolean {
  const what = asserts[kind];
  assert(what !== undefined, 'the program asserts something unknown');
  if (what === 'start') return index === 0;
  if (what === 'end') return index === text.length;
  const before = index > 0 && isWordCharacter(text.charCodeAt(index - 1));
  const after = index < text.length && isWordCharacter(text.charCodeAt(index));
  return (before !== after) === (what === 'word');
}
