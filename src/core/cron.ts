/**
 * Cron expressions and their next slot in a time zone, as arithmetic: no timers, no clock of its own.
 *
 * Five fields (minute hour day-of-month month day-of-week) with `*`, lists, ranges, steps and English names; `@hourly`,
 * `@daily`, `@weekly`, `@monthly`. As in POSIX, when both days are restricted either of them suffices.
 *
 * Around clock changes a slot at a fixed hour happens exactly once: in a skipped hour at the moment the clock moves on,
 * in a repeated hour the first time. With `*` as the hour the expression means "every so many minutes", so it follows
 * elapsed time: nothing extra for a skipped hour, and again in a repeated one.
 */
import { RollcallError } from './errors.ts';

export type Cron = {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly daysOfMonth: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  /** 0 is Sunday. */
  readonly daysOfWeek: ReadonlySet<number>;
  readonly isEitherDay: boolean;
  readonly followsElapsedTime: boolean;
};

type Field = { readonly name: string; readonly min: number; readonly max: number; readonly names: readonly string[] };

const monthNames = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const dayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

const fields = {
  minute: { name: 'minute', min: 0, max: 59, names: [] },
  hour: { name: 'hour', min: 0, max: 23, names: [] },
  dayOfMonth: { name: 'day of the month', min: 1, max: 31, names: [] },
  month: { name: 'month', min: 1, max: 12, names: monthNames },
  dayOfWeek: { name: 'day of the week', min: 0, max: 7, names: dayNames },
} satisfies Record<string, Field>;

const shorthands: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
};

/** Throws `invalid_input` with a sentence that names the field. */
export function parseCron(text: string): Cron {
  const expression = shorthands[text.trim().toLowerCase()] ?? text.trim();
  const parts = expression.split(/\s+/);
  if (parts.length !== 5) {
    throw fault(text, 'it has to have five fields: minute hour day-of-month month day-of-week');
  }
  const [minute = '', hour = '', dayOfMonth = '', month = '', dayOfWeek = ''] = parts;
  const hours = parseField(hour, fields.hour, text);
  return {
    minutes: parseField(minute, fields.minute, text),
    hours,
    daysOfMonth: new Set(parseField(dayOfMonth, fields.dayOfMonth, text)),
    months: new Set(parseField(month, fields.month, text)),
    daysOfWeek: new Set(parseField(dayOfWeek, fields.dayOfWeek, text).map((day) => day % 7)),
    isEitherDay: !dayOfMonth.startsWith('*') && !dayOfWeek.startsWith('*'),
    followsElapsedTime: hours.length === 24,
  };
}

function fault(text: string, why: string): RollcallError {
  return new RollcallError('invalid_input', `"${text}" is not a schedule: ${why}.`, {
    remedy: 'Write it like "0 2 * * *" (every day at 2:00) or "*/15 * * * *" (every 15 minutes).',
  });
}

function parseField(text: string, field: Field, whole: string): number[] {
  const values = new Set<number>();
  for (const item of text.split(',')) {
    const match = /^(\*|[0-9A-Za-z]+(?:-[0-9A-Za-z]+)?)(?:\/(\d{1,2}))?$/.exec(item);
    if (match === null) throw fault(whole, `"${item}" is no ${field.name}`);
    const [, range = '', stepText] = match;
    const step = stepText === undefined ? 1 : Number(stepText);
    if (step === 0) throw fault(whole, `a step of 0 never gets anywhere`);
    const [from, to] = boundsOf(range, stepText !== undefined, field, whole);
    for (let value = from; value <= to; value += step) values.add(value);
  }
  return [...values].toSorted((a, b) => a - b);
}

function boundsOf(range: string, hasStep: boolean, field: Field, whole: string): readonly [number, number] {
  if (range === '*') return [field.min, field.max === 7 ? 6 : field.max];
  const [first = '', last] = range.split('-');
  const from = numberOf(first, field, whole);
  // "5/10" means from 5 on in steps of 10
  const to = last === undefined ? (hasStep ? field.max : from) : numberOf(last, field, whole);
  if (from > to) throw fault(whole, `the range ${range} of the ${field.name} runs backwards`);
  return [from, to];
}

function numberOf(text: string, field: Field, whole: string): number {
  const named = field.names.indexOf(text.toLowerCase());
  const value = named >= 0 ? named + (field.min === 1 ? 1 : 0) : /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value) || value < field.min || value > field.max) {
    throw fault(whole, `${text} is no ${field.name} (${field.min} to ${field.max})`);
  }
  return value;
}

function isTimeZone(name: string): boolean {
  try {
    formatOf(name);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** Throws `invalid_input` for a name the IANA database does not have. */
export function requireTimeZone(name: string): void {
  if (isTimeZone(name)) return;
  throw new RollcallError('invalid_input', `"${name}" is not a time zone.`, {
    remedy: 'Write it like Europe/Berlin, America/New_York or UTC.',
  });
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** 29 February comes back after eight years at the latest (2096 to 2104). */
const horizonDays = 366 * 9;

/** The first slot strictly after `after`; null when there is none (30 February). */
export function nextSlot(cron: Cron, timeZone: string, after: Date): Date | null {
  const afterMs = after.getTime();
  const localAfter = afterMs + offsetMs(timeZone, afterMs);
  const firstDay = Math.floor(localAfter / dayMs) - 1;
  for (let day = firstDay; day < firstDay + horizonDays; day += 1) {
    if (!isDay(cron, new Date(day * dayMs))) continue;
    for (const hour of cron.hours) {
      const localHour = day * dayMs + hour * hourMs;
      // no zone is further west than 12 hours, so this whole hour lies in the past
      if (localHour + 13 * hourMs <= afterMs) continue;
      const slot = firstInHour(cron, timeZone, localHour, afterMs);
      if (slot !== null) return new Date(slot);
    }
  }
  return null;
}

function isDay(cron: Cron, date: Date): boolean {
  if (!cron.months.has(date.getUTCMonth() + 1)) return false;
  const isOfMonth = cron.daysOfMonth.has(date.getUTCDate());
  const isOfWeek = cron.daysOfWeek.has(date.getUTCDay());
  return cron.isEitherDay ? isOfMonth || isOfWeek : isOfMonth && isOfWeek;
}

function firstInHour(cron: Cron, timeZone: string, localHour: number, afterMs: number): number | null {
  let first: number | null = null;
  for (const minute of cron.minutes) {
    for (const instant of instantsOf(cron, timeZone, localHour + minute * minuteMs)) {
      if (instant > afterMs && (first === null || instant < first)) first = instant;
    }
  }
  return first;
}

/** When a clock on the wall of that zone shows this time (`local`: the wall time as if it were UTC). */
function instantsOf(cron: Cron, timeZone: string, local: number): number[] {
  // offsets a day before and after are those on either side of any change in between
  const before = offsetMs(timeZone, local - dayMs);
  const later = offsetMs(timeZone, local + dayMs);
  const candidates = before === later ? [local - before] : [local - before, local - later];
  const shown = candidates
    .filter((instant) => instant + offsetMs(timeZone, instant) === local)
    .toSorted((a, b) => a - b);
  if (cron.followsElapsedTime) return shown;
  if (shown.length > 0) return shown.slice(0, 1);
  return [changeBetween(timeZone, local - Math.max(before, later), local - Math.min(before, later))];
}

/** First minute in (from, to] at which another offset holds than at `from`. */
function changeBetween(timeZone: string, from: number, to: number): number {
  const known = offsetMs(timeZone, from);
  let low = from;
  let high = to;
  while (high - low > minuteMs) {
    const middle = low + Math.floor((high - low) / 2 / minuteMs) * minuteMs;
    if (offsetMs(timeZone, middle) === known) low = middle;
    else high = middle;
  }
  return high;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  formats.set(timeZone, made);
  return made;
}

/** Local time minus UTC at this instant. */
function offsetMs(timeZone: string, instant: number): number {
  const parts: Record<string, number> = {};
  for (const part of formatOf(timeZone).formatToParts(instant)) parts[part.type] = Number(part.value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(instant / 1000) * 1000;
}
