/**
 * Cron schedules as CronJobs have them: five fields (minute, hour, day of month, month, day of week) or a macro such as
 * `@hourly`. Pure; times are given and returned in milliseconds since the epoch.
 */
export type CronSchedule = {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** Either of the two day fields suffices when both are given, as in every cron. */
  readonly anyDay: boolean;
  /** `@every 90s`: a fixed distance instead of fields, ms. */
  readonly everyMs: number | undefined;
};

const macros: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

const monthNames = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const dayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

type Bounds = { readonly min: number; readonly max: number; readonly names?: readonly string[] };

const fieldBounds: readonly Bounds[] = [
  { min: 0, max: 59 },
  { min: 0, max: 23 },
  { min: 1, max: 31 },
  { min: 1, max: 12, names: monthNames },
  { min: 0, max: 7, names: dayNames },
];

/** Reads a schedule; a text is what is wrong with it. */
export function parseCron(text: string): CronSchedule | string {
  const trimmed = text.trim();
  if (trimmed.startsWith('@every ')) return parseEvery(trimmed.slice('@every '.length));
  const fields = (macros[trimmed] ?? trimmed).split(/\s+/);
  if (fields.length !== 5) {
    return trimmed.startsWith('@')
      ? `unrecognized descriptor: ${trimmed}`
      : `expected exactly 5 fields, found ${trimmed === '' ? 0 : fields.length}: [${trimmed}]`;
  }
  const sets: ReadonlySet<number>[] = [];
  for (const [at, field] of fields.entries()) {
    const parsed = parseField(field, fieldBounds[at] ?? { min: 0, max: 0 });
    if (typeof parsed === 'string') return parsed;
    sets.push(parsed);
  }
  const [minutes, hours, days, months, weekdays] = sets;
  if (!minutes || !hours || !days || !months || !weekdays) return `malformed schedule: ${trimmed}`;
  return {
    minutes,
    hours,
    days,
    months,
    weekdays: new Set([...weekdays].map((day) => day % 7)),
    anyDay: isWildcard(fields[2]) || isWildcard(fields[4]),
    everyMs: undefined,
  };
}

function isWildcard(field: string | undefined): boolean {
  return field === '?' || field?.startsWith('*') === true;
}

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000 };

function parseEvery(text: string): CronSchedule | string {
  let everyMs = 0;
  const rest = text.replaceAll(/(\d+(?:\.\d+)?)([hms])/g, (_part, number: string, unit: string) => {
    everyMs += Number(number) * (unitMs[unit] ?? 0);
    return '';
  });
  if (rest !== '' || everyMs < 1000) return `failed to parse duration @every ${text}`;
  const none: ReadonlySet<number> = new Set();
  const rounded = Math.floor(everyMs / 1000) * 1000;
  return {
    ...{ minutes: none, hours: none, days: none, months: none, weekdays: none },
    anyDay: true,
    everyMs: rounded,
  };
}

function parseField(field: string, bounds: Bounds): ReadonlySet<number> | string {
  const values = new Set<number>();
  for (const part of field.split(',')) {
    const [range = '', stepText, ...more] = part.split('/');
    if (more.length > 0) return `too many slashes: ${part}`;
    const step = stepText === undefined ? 1 : parseNumber(stepText, undefined);
    if (step === undefined) return `failed to parse int from ${stepText ?? ''}`;
    if (step === 0) return `step of range should be a positive number: ${part}`;
    const ends = parseRange(range, bounds, stepText !== undefined);
    if (typeof ends === 'string') return ends;
    for (let value = ends.from; value <= ends.to; value += step) values.add(value);
  }
  return values;
}

function parseRange(
  range: string,
  { min, max, names }: Bounds,
  stepped: boolean,
): { readonly from: number; readonly to: number } | string {
  if (range === '*' || range === '?') return { from: min, to: max === 7 ? 6 : max };
  const [low = '', high, ...more] = range.split('-');
  if (more.length > 0) return `too many hyphens: ${range}`;
  const from = parseNumber(low, names);
  const to = high === undefined ? (stepped ? max : from) : parseNumber(high, names);
  if (from === undefined || to === undefined) return `failed to parse int from ${range}`;
  if (from < min) return `beginning of range (${from}) below minimum (${min}): ${range}`;
  if (to > max) return `end of range (${to}) above maximum (${max}): ${range}`;
  if (from > to) return `beginning of range (${from}) beyond end of range (${to}): ${range}`;
  return { from, to };
}

function parseNumber(text: string, names: readonly string[] | undefined): number | undefined {
  const name = names?.indexOf(text.toLowerCase()) ?? -1;
  // Months are counted from 1, days of the week from 0.
  if (name >= 0) return names === monthNames ? name + 1 : name;
  return /^\d{1,4}$/.test(text) ? Number(text) : undefined;
}

/** Whether the time zone is one that this machine knows ("Europe/Berlin"). */
export function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false; // RangeError: an unknown zone is the caller's answer
  }
}

/** How far ahead a time is looked for: 29 February falls on each day of the week within 28 years. */
const searchYearsMax = 28;
const minuteMs = 60_000;

/** The first time after `afterMs` at which the schedule is due; undefined: never (30 February). */
export function nextTime(schedule: CronSchedule, afterMs: number, timeZone: string): number | undefined {
  if (schedule.everyMs !== undefined) {
    return Math.floor(afterMs / 1000) * 1000 + schedule.everyMs;
  }
  const local = zoneClock(timeZone);
  const limit = afterMs + searchYearsMax * 366 * 86_400_000;
  let at = Math.floor(afterMs / minuteMs) * minuteMs + minuteMs;
  while (at < limit) {
    const { month, day, weekday, hour, minute } = local(at);
    if (!schedule.months.has(month) || !dayMatches(schedule, day, weekday)) {
      // To the next local midnight; an hour less where a clock change may lie between.
      at += hour < 22 ? ((23 - hour) * 60 - minute) * minuteMs : (60 - minute) * minuteMs;
      continue;
    }
    if (!schedule.hours.has(hour)) {
      at += (60 - minute) * minuteMs;
      continue;
    }
    if (schedule.minutes.has(minute)) return at;
    at += minuteMs;
  }
  return undefined;
}

function dayMatches(schedule: CronSchedule, day: number, weekday: number): boolean {
  const byDay = schedule.days.has(day);
  const byWeekday = schedule.weekdays.has(weekday);
  return schedule.anyDay ? byDay && byWeekday : byDay || byWeekday;
}

type LocalTime = {
  readonly month: number;
  readonly day: number;
  readonly weekday: number;
  readonly hour: number;
  readonly minute: number;
};

function zoneClock(timeZone: string): (ms: number) => LocalTime {
  if (timeZone === 'UTC' || timeZone === '') return (ms) => wallTime(ms);
  const format = new Intl.DateTimeFormat('en-US', {
    ...{ timeZone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric' },
    ...{ hour: 'numeric', minute: 'numeric' },
  } as const);
  return (ms) => {
    const parts: Record<string, number> = {};
    for (const { type, value } of format.formatToParts(ms)) parts[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0 } = parts;
    return wallTime(Date.UTC(year, month - 1, day, hour, minute));
  };
}

function wallTime(ms: number): LocalTime {
  const date = new Date(ms);
  return {
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    weekday: date.getUTCDay(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
  };
}
