/** Tells a person what goes on, one line a step, on standard error. */
export type Progress = {
  /** A step begins: shown at once on a terminal. */
  readonly begin: (what: string) => void;
  /** A step is done; `tookMs` since the command began. */
  readonly done: (what: string) => void;
  /** A remark of its own. */
  readonly note: (text: string) => void;
};

export type ProgressOutput = {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
};

/** On a terminal the running step is rewritten in place, elsewhere only finished steps are printed. */
export function createProgress(output: ProgressOutput, elapsedMs: () => number): Progress {
  const live = output.isTTY === true;
  let pending = '';
  const clear = (): void => {
    if (pending !== '') output.write('\r\x1b[2K');
  };
  const time = (): string => `${(elapsedMs() / 1000).toFixed(2)} s`.padStart(8);
  return {
    begin(what) {
      if (!live) return;
      clear();
      pending = what;
      output.write(`${time()}  … ${what}`);
    },
    done(what) {
      clear();
      pending = '';
      output.write(`${time()}  ✓ ${what}\n`);
    },
    note(text) {
      clear();
      output.write(`${' '.repeat(10)}${text}\n`);
      if (pending !== '') output.write(`${time()}  … ${pending}`);
    },
  };
}
