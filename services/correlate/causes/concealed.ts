import type { Finding, Kind } from '../../../shared/finding.js';
import { type Cause, type CauseExample, type Judgement, passed, type Refuted, refuted, texts } from '../cause.js';
import { deletionOf, records, type Selectors } from '../cloudtrail/selectors.js';

/** Selectors and stopped trails stay as they are until somebody changes them: looked for is so long before, which is how long AWS's own event history goes back. */
const WITHIN = '2160h';

/**
 * What left a purge out of a trail: it hid the purge from whoever reads that trail, and brought nothing about. It is in evidence by another trail, or by
 * another way. Both kinds have one rule name: it marks what hid an effect.
 */
export const concealed: readonly Cause[] = [
  concealing(
    'audit.blind_spot',
    'A trail records a data event only where one of its selectors selects it (CloudTrail user guide, "Logging data events").',
    (blind, purge) => {
      const selectors = JSON.parse(texts(blind, 'selectors').join()) as Selectors;
      const arn = `arn:aws:s3:::${purge.subject.slice('bucket:'.length)}/${texts(purge, 'first_key')[0] ?? 'any-key'}`;
      return records(selectors, deletionOf(arn))
        ? refuted(`the trail's selectors record DeleteObject on ${arn}`)
        : passed(`evaluated, the trail's selectors leave DeleteObject on ${arn} unrecorded`);
    },
    {
      hides: { selectors: JSON.stringify({ basic: [], advanced: [] }), until: null },
      shows: {
        selectors: JSON.stringify({
          basic: [
            {
              readWriteType: 'All',
              includeManagementEvents: true,
              excludeManagementEventSources: [],
              dataResources: [{ type: 'AWS::S3::Object', values: ['arn:aws:s3'] }],
            },
          ],
          advanced: [],
        }),
        until: null,
      },
    },
  ),
  concealing(
    'audit.logging_impaired',
    'A trail that is stopped or deleted records nothing (CloudTrail user guide, StopLogging, DeleteTrail).',
    (impaired) =>
      impaired.measured['all_events'] === true
        ? passed(`${texts(impaired, 'how').join()}: it recorded nothing of that time`)
        : refuted(`${texts(impaired, 'how').join()}: data events of the bucket are still recorded`),
    {
      hides: { how: 'stopped logging', all_events: true, until: null },
      shows: { how: 'updated the trail', all_events: false, until: null },
    },
  ),
];

function concealing(
  from: Kind,
  mechanism: string,
  hides: (cause: Finding, purge: Finding) => Judgement | Refuted,
  examples: { readonly hides: Finding['measured']; readonly shows: Finding['measured'] },
): Cause {
  return {
    rule: 'concealed',
    version: 1,
    from,
    to: 's3.version_purge',
    within: WITHIN,
    shared: ['account'],
    mechanism,
    dose: 'none',
    role: 'concealment',
    explain(cause, purge) {
      const [until] = texts(cause, 'until');
      if (until !== undefined && Date.parse(until) * 1000 <= purge.startedMicros)
        return refuted(`it was undone at ${until}, before the purge`);
      return hides(cause, purge);
    },
    examples: examplesOf(examples),
  };
}

function examplesOf({
  hides,
  shows,
}: {
  hides: Finding['measured'];
  shows: Finding['measured'];
}): readonly CauseExample[] {
  const trail = { subject: 'trail:org', keys: ['trail:org', 'account:123456789012'] };
  const effect = { subject: 'bucket:logs', keys: ['bucket:logs', 'account:123456789012'] };
  return [
    { title: 'a trail that leaves the deletions out', cause: { ...trail, measured: hides }, effect, links: true },
    { title: 'a trail that records them all the same', cause: { ...trail, measured: shows }, effect, links: false },
    {
      title: 'one that was undone before',
      cause: { ...trail, measured: { ...hides, until: '2024-03-17T01:00:00Z' } },
      effect,
      links: false,
    },
    {
      title: "another account's trail",
      cause: { subject: 'trail:other', keys: ['trail:other', 'account:210987654321'], measured: hides },
      effect,
      links: false,
    },
  ];
}
