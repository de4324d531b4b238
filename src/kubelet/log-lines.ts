/** One line of a container's log file. Spec: CRI logging format, "TIME STREAM TAGS TEXT". */
export type LogLine = {
  /** RFC 3339 with nanoseconds, as written. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** The runtime has cut a long line here; the next entry of the stream goes on with it. */
  readonly isPartial: boolean;
  readonly text: Buffer;
};

const space = 0x20;

/** `line` without its newline. Undefined: not of that format, which a line cut off by a crash may be. */
export function parseLogLine(line: Buffer): LogLine | undefined {
  const first = line.indexOf(space);
  const second = line.indexOf(space, first + 1);
  const third = line.indexOf(space, second + 1);
  if (first <= 0 || second === -1 || third === -1) return undefined;
  const stream = line.toString('latin1', first + 1, second);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const tags = line.toString('latin1', second + 1, third).split(':');
  return {
    time: line.toString('latin1', 0, first),
    stream,
    isPartial: tags[0] === 'P',
    text: line.subarray(third + 1),
  };
}

/** The query of /containerLogs, parsed. */
export type LogQuery = {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  readonly tailLines: number | undefined;
  readonly limitBytes: number | undefined;
  /** Lines before this time are left out, ms since the epoch. */
  readonly sinceMs: number | undefined;
};

/** Throws RangeError, with a message for the user, where a value is no number or no time. */
export function parseLogQuery(query: URLSearchParams, nowMs: number): LogQuery {
  const flag = (name: string) => query.get(name) === 'true' || query.get(name) === '1';
  const count = (name: string) => {
    const text = query.get(name);
    if (text === null || text === '') return undefined;
    if (!/^\d+$/.test(text))
      throw new RangeError(`${name}: ${JSON.stringify(text)} must be a whole number of at least 0`);
    return Number(text);
  };
  const sinceSeconds = count('sinceSeconds');
  const sinceTime = query.get('sinceTime');
  const sinceTimeMs = sinceTime === null || sinceTime === '' ? undefined : Date.parse(sinceTime);
  if (Number.isNaN(sinceTimeMs))
    throw new RangeError(
      `sinceTime: ${JSON.stringify(sinceTime)} must be a time such as 2026-01-31T12:00:00Z`,
    );
  return {
    follow: flag('follow'),
    previous: flag('previous'),
    timestamps: flag('timestamps'),
    tailLines: count('tailLines'),
    limitBytes: count('limitBytes'),
    sinceMs: sinceSeconds === undefined ? sinceTimeMs : nowMs - sinceSeconds * 1000,
  };
}

/** Turns the file's lines into what the client gets. Keeps whether each stream is inside a cut line. */
export class LogFormatter {
  readonly #query: LogQuery;
  readonly #isOpen = { stdout: false, stderr: false };

  constructor(query: LogQuery) {
    this.#query = query;
  }

  /** Pieces to send; none where the line is too old. */
  format(line: LogLine): readonly Buffer[] {
    const { sinceMs, timestamps } = this.#query;
    if (sinceMs !== undefined && Date.parse(line.time) < sinceMs) return [];
    const isContinued = this.#isOpen[line.stream];
    this.#isOpen[line.stream] = line.isPartial;
    const prefix = timestamps && !isContinued ? [Buffer.from(`${line.time} `)] : [];
    return [...prefix, line.text, ...(line.isPartial ? [] : [newline])];
  }
}

const newline = Buffer.from('\n');
