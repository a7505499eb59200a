import { readFileSync } from 'node:fs';
import type { DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';
import { CauselineError } from '../../shared/errors.js';
import { parseMicros } from '../../shared/time.js';
import { type DestructiveRecorded, destructiveRecorded } from '../correlate/cloudtrail/destructive.js';
import type { Trail } from '../correlate/cloudtrail/recorded.js';
import { readSelectors, type Selectors } from '../correlate/cloudtrail/selectors.js';
import { type Since, stateAt } from '../correlate/cloudtrail/trail-history.js';
import { loadTrails } from '../correlate/refresh-coverage.js';
import { type Page, paint, wrap } from './draw.js';
import { printable } from './printable.js';

/** Of one trail, or of selectors that were given: which destructive operations it records. */
export interface TrailOperations {
  /** An ARN, or the name of the file that the selectors were read from. */
  readonly trail: string;
  /** Whether it was logging then: `unknown`, `on`, `stopped`, `deleted`, or `absent` before it was made and started; null for selectors from a file. */
  readonly logging: string | null;
  readonly logging_since: string | null;
  /** When its selectors were put; null where they are not in evidence. */
  readonly selectors_since: string | null;
  /** `all`, `home` or `unknown`; null for selectors from a file. */
  readonly regions: string | null;
  /** Null where the trail's selectors are not in evidence. */
  readonly operations: readonly DestructiveRecorded[] | null;
}

/** The trails in evidence as they stood at a moment (ISO 8601), or as they stand. */
export async function readOperations(connection: DuckDBConnection, at?: string): Promise<TrailOperations[]> {
  const atMicros = at === undefined ? Number.MAX_SAFE_INTEGER : Number(parseMicros(at, 'to'));
  const trails = await loadTrails(connection);
  return trails.filter(({ history }) => history.length > 1).map((trail) => ofTrail(trail, atMicros));
}

function ofTrail({ arn, history }: Trail, atMicros: number): TrailOperations {
  const { logging, loggingSince, selectors, selectorsSince, reach } = stateAt(history, atMicros);
  return {
    trail: arn,
    logging,
    logging_since: sinceText(loggingSince),
    selectors_since: sinceText(selectorsSince),
    regions: reach.allRegions === null ? 'unknown' : reach.allRegions ? 'all' : 'home',
    operations: selectors && destructiveRecorded(selectors, arn.split(':')[1]),
  };
}

const sinceText = (since: Since | null): string | null =>
  since && `${since.eventName} at ${new Date(since.atMicros / 1000).toISOString().slice(0, 19)}Z (${since.evidenceId})`;

/* ---- selectors from a file ---- */

const texts = z.array(z.string());

/** What `aws cloudtrail get-event-selectors` prints (API reference, GetEventSelectors). */
const Document = z
  .strictObject({
    TrailARN: z.string().optional(),
    EventSelectors: z
      .array(
        z.strictObject({
          ReadWriteType: z.enum(['All', 'ReadOnly', 'WriteOnly']).default('All'),
          IncludeManagementEvents: z.boolean().default(true),
          DataResources: z.array(z.strictObject({ Type: z.string(), Values: texts.default([]) })).default([]),
          ExcludeManagementEventSources: texts.default([]),
        }),
      )
      .nullish(),
    AdvancedEventSelectors: z
      .array(
        z.strictObject({
          Name: z.string().default(''),
          FieldSelectors: z
            .array(
              z.strictObject({
                Field: z.string(),
                Equals: texts.optional(),
                StartsWith: texts.optional(),
                EndsWith: texts.optional(),
                NotEquals: texts.optional(),
                NotStartsWith: texts.optional(),
                NotEndsWith: texts.optional(),
              }),
            )
            .min(1),
        }),
      )
      .nullish(),
  })
  .refine(
    ({ EventSelectors, AdvancedEventSelectors }) =>
      (EventSelectors ?? []).length + (AdvancedEventSelectors ?? []).length > 0,
    {
      error: 'it has neither EventSelectors nor AdvancedEventSelectors',
    },
  );

/** The operations of the selectors in a file. Throws `unreadable_input` that names what is wrong, and where. */
export function operationsOfFile(path: string): TrailOperations[] {
  const { trail, selectors } = selectorsIn(path);
  const nothing = { logging: null, logging_since: null, selectors_since: null, regions: null };
  return [{ trail: trail ?? path, ...nothing, operations: destructiveRecorded(selectors, trail?.split(':')[1]) }];
}

function selectorsIn(path: string): { trail: string | undefined; selectors: Selectors } {
  const refuse = (why: string) =>
    new CauselineError(
      'unreadable_input',
      'coverage',
      `${path} is not what 'aws cloudtrail get-event-selectors' prints: ${why}.`,
      { field: 'selectors' },
    );
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw refuse((cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!);
  }
  const read = Document.safeParse(document);
  if (!read.success) {
    const [issue] = read.error.issues;
    const where = issue!.path.length === 0 ? '' : `${issue!.path.join('.')}: `;
    throw refuse(`${where}${issue!.message}`);
  }
  const { TrailARN, ...selectors } = read.data;
  return { trail: TrailARN, selectors: readSelectors(camelCase(selectors) as Readonly<Record<string, unknown>>)! };
}

/** Names as CloudTrail records them. */
function camelCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCase);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [`${name[0]!.toLowerCase()}${name.slice(1)}`, camelCase(inner)]),
  );
}

/* ---- for people ---- */

export function operationsText(trails: readonly TrailOperations[], page: Page): string {
  if (trails.length === 0)
    return wrap(
      'No event in evidence changed a trail, so nothing is known of what any of them records; --selectors takes what `aws cloudtrail get-event-selectors` prints.',
      page.width,
    ).join('\n');
  const several =
    trails.length > 1 ? ['', ...wrap('An operation is unrecorded where every trail leaves it out.', page.width)] : [];
  return [
    ...trails.flatMap((trail, index) => [...(index > 0 ? [''] : []), ...trailText(trail, page)]),
    ...several,
  ].join('\n');
}

function trailText(trail: TrailOperations, page: Page): string[] {
  const { operations } = trail;
  const head = [
    paint(page, 'bold', printable(trail.trail)),
    ...wrap(stateWords(trail), page.width - 2).map((line) => `  ${line}`),
  ];
  if (operations === null) return [...head, '  Its selectors are not in evidence.'];
  const notes = [...new Set(operations.map(({ because }) => because.join('\n')))];
  return [
    ...head,
    `  ${'recorded?'.padEnd(13)}${'operation'.padEnd(37)}event`,
    ...operations.map((one) => operationText(one, notes.indexOf(one.because.join('\n')) + 1, page)),
    ...notes.flatMap((note, index) => noteText(`[${index + 1}]`, note, page)),
  ];
}

function stateWords({ logging, logging_since, selectors_since, regions }: TrailOperations): string {
  if (logging === null) return '';
  const where = {
    all: 'it records all regions',
    home: 'it records its home region alone',
    unknown: 'which regions it records is not in evidence',
  };
  return [
    `${LOGGING[logging] ?? logging}${logging_since === null ? '' : ` since ${logging_since}`}`,
    selectors_since === null ? null : `its selectors are those of ${selectors_since}`,
    where[(regions ?? 'unknown') as keyof typeof where],
  ]
    .filter((one) => one !== null)
    .join('; ');
}

const LOGGING: Readonly<Record<string, string>> = {
  unknown: 'whether it is logging is not in evidence',
  on: 'logging',
  stopped: 'it records nothing: stopped',
  deleted: 'it records nothing: deleted',
  absent: 'it was not made, or not started, yet',
};

function operationText({ operation, event, recorded }: DestructiveRecorded, note: number, page: Page): string {
  const style = recorded === 'yes' ? 'green' : recorded === 'partly' ? 'yellow' : 'red';
  return `  ${paint(page, style, recorded)}${` [${note}]`.padEnd(13 - recorded.length)}${operation.padEnd(37)}${event ?? ''}`.trimEnd();
}

function noteText(mark: string, note: string, page: Page): string[] {
  const lines = note.split('\n').flatMap((line) => wrap(line, page.width - 7));
  return lines.map((line, index) => `  ${(index === 0 ? mark : '').padEnd(5)}${line}`);
}
