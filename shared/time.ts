import { CauselineError } from './errors.js';

/** An ISO 8601 time as microseconds since 1970; without a zone it is UTC, as all times here are. Throws `bad_usage` that names the flag. */
export function parseMicros(text: string, flag: string): bigint {
  const [, day = '', clock = '00:00', fraction = '', zone = 'Z'] = TIME.exec(text) ?? [];
  const time = new Date(`${day}T${clock}${zone}`);
  if (Number.isNaN(time.getTime()) || !isDay(day))
    throw new CauselineError(
      'bad_usage',
      'time',
      `--${flag} takes an ISO 8601 time such as 2024-03-17T03:05:00Z, not '${text}'.`,
      { field: flag },
    );
  return BigInt(time.getTime()) * 1000n + BigInt(fraction.slice(1).padEnd(6, '0'));
}

const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?)?$/;

/** Date takes 30 February for 1 March. */
function isDay(day: string): boolean {
  return new Date(`${day}T00:00Z`).toISOString().startsWith(day);
}
