import type { FindingDraft } from '../../../shared/finding.js';
import type { Act } from '../cloudtrail/act.js';
import { trail } from '../cloudtrail/examples.js';
import {
  type AdvancedSelector,
  type FieldSelector,
  type LostOperation,
  lost,
  OBJECT,
  presumedBefore,
  resourcesNamed,
  type Selectors,
} from '../cloudtrail/selectors.js';
import { shortName } from '../cloudtrail/spree.js';
import { type Lasting, trailFinding } from '../cloudtrail/trail-finding.js';
import { detector } from '../detector.js';

interface Blind extends Lasting {
  readonly before: Selectors;
  readonly beforeKnown: boolean;
  after: Selectors;
}

interface State {
  /** What the trail's selectors are, from the first that were put in evidence. */
  selectors: Selectors | null;
  open: Blind | null;
}

/**
 * New event selectors leave operations unrecorded that the ones before recorded (selectors.ts evaluates both), until others record them again. Where the
 * selectors before are not in evidence, only what the new ones leave out in words counts. Of what became invisible, only what destroys or changes
 * something makes a blind spot. A selector against a name that CloudTrail never writes (`DeleteObjectVersion`) hides nothing.
 */
export const auditBlindSpot = detector<State>({
  kind: 'audit.blind_spot',
  version: 1,
  meaning: 'new event selectors leave writes or deletions unrecorded that the trail recorded before',
  subject: 'trail',
  inputs: [{ of: 'acts' }],
  start: () => ({ selectors: null, open: null }),
  step(state, item, { subject }) {
    if (item.type !== 'act' || item.error !== null || item.detail?.of !== 'trail') return [];
    const { change, selectors } = item.detail;
    if (change !== 'selectors' || !selectors) return [];
    const { open } = state;
    const before = open?.before ?? state.selectors ?? presumedBefore(selectors);
    const beforeKnown = open ? open.beforeKnown : state.selectors !== null;
    state.selectors = selectors;
    if (destroying(before, selectors).length === 0) {
      state.open = null;
      return open ? [draft(open, subject, item.atMicros)] : [];
    }
    if (open) {
      open.after = selectors;
      open.lastMicros = item.atMicros;
      if (open.ids.length < 20) open.ids.push(item.evidenceId);
      return [];
    }
    const ids = [item.evidenceId];
    state.open = { act: item, before, beforeKnown, after: selectors, lastMicros: item.atMicros, ids };
    return [];
  },
  end: ({ open }, { subject }) => (open ? [draft(open, subject, null)] : []),
  examples: [
    {
      title: 'deletions left out by name',
      given: [put(0, except('eventName', 'DeleteObject', 'DeleteObjects'))],
      fires: true,
    },
    {
      title: 'a name that CloudTrail never writes',
      given: [put(0, except('eventName', 'DeleteObjectVersion'))],
      fires: false,
    },
    { title: 'only reads', given: [put(0, advanced({ ...field('readOnly'), equals: ['true'] }))], fires: true },
    {
      title: 'one bucket left out',
      given: [put(0, advanced({ ...field('resources.ARN'), notStartsWith: ['arn:aws:s3:::example/'] }))],
      fires: true,
    },
    {
      title: 'data events that are no longer taken, where they were',
      given: [put(0, basic('All', ['arn:aws:s3'])), put(60, basic('All', []))],
      fires: true,
    },
    { title: 'no data events, as by default', given: [put(0, basic('All', []))], fires: false },
    { title: 'management events left out', given: [put(0, { ...basic('ReadOnly', []) })], fires: true },
    {
      title: 'one bucket more',
      given: [put(0, basic('All', [])), put(60, basic('All', ['arn:aws:s3:::example/']))],
      fires: false,
    },
    {
      title: 'selectors that were refused',
      given: [trail(0, 'selectors', { error: 'AccessDenied' }, except('eventName', 'DeleteObject'))],
      fires: false,
    },
  ],
});

function destroying(before: Selectors, after: Selectors): LostOperation[] {
  return lost(before, after, resourcesNamed(before, after)).filter(({ destructive }) => destructive);
}

function draft(blind: Blind, subject: string, untilMicros: number | null): FindingDraft {
  const { act, before, beforeKnown, after } = blind;
  const gone = lost(before, after, resourcesNamed(before, after));
  const named = [...new Set(gone.map(({ what, resource }) => (resource === '' ? what : `${what} on ${resource}`)))];
  return trailFinding(blind, subject, untilMicros, {
    summary: `${shortName(act.who.principal)} put selectors under which ${subject.slice('trail:'.length)} no longer records ${named.slice(0, 4).join(', ')}${
      named.length > 4 ? ` and ${named.length - 4} more` : ''
    }`,
    measured: { unrecorded: named.slice(0, 50), before_known: beforeKnown, selectors: JSON.stringify(after) },
  });
}

/* ---- examples ---- */

function put(seconds: number, selectors: Selectors): Act {
  return trail(seconds, 'selectors', {}, selectors);
}

function field(name: string): FieldSelector {
  return { field: name, equals: [], startsWith: [], endsWith: [], notEquals: [], notStartsWith: [], notEndsWith: [] };
}

/** All management events, and S3 objects' data events as far as this field agrees. */
function advanced(one: FieldSelector): Selectors {
  const category = (name: string): FieldSelector => ({ ...field('eventCategory'), equals: [name] });
  const data: AdvancedSelector = {
    name: 'objects',
    fieldSelectors: [category('Data'), { ...field('resources.type'), equals: [OBJECT] }, one],
  };
  return { basic: [], advanced: [{ name: 'management', fieldSelectors: [category('Management')] }, data] };
}

function except(name: string, ...values: readonly string[]): Selectors {
  return advanced({ ...field(name), notEquals: values });
}

function basic(readWriteType: 'All' | 'ReadOnly', values: readonly string[]): Selectors {
  const dataResources = values.length > 0 ? [{ type: OBJECT, values }] : [];
  return {
    basic: [{ readWriteType, includeManagementEvents: true, excludeManagementEventSources: [], dataResources }],
    advanced: [],
  };
}
