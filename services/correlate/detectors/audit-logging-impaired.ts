import type { FindingDraft } from '../../../shared/finding.js';
import type { Act } from '../cloudtrail/act.js';
import { trail } from '../cloudtrail/examples.js';
import { shortName } from '../cloudtrail/spree.js';
import { type Lasting, trailFinding } from '../cloudtrail/trail-finding.js';
import { detector } from '../detector.js';

/** A trail that records less since, until it records again. */
interface Impaired extends Lasting {
  readonly how: string;
}

interface State {
  open: Impaired | null;
}

/**
 * A trail was stopped, deleted, or updated to record less, and the call succeeded. What failed (TrailNotFoundException, AccessDenied) changed nothing. It
 * lasts until logging starts again; until then nothing says how long, and `until` is null.
 */
export const auditLoggingImpaired = detector<State>({
  kind: 'audit.logging_impaired',
  version: 1,
  meaning: 'a trail is stopped, deleted, or updated to record less',
  subject: 'trail',
  inputs: [{ of: 'acts' }],
  start: () => ({ open: null }),
  step(state, item, { subject }) {
    if (item.type !== 'act' || item.error !== null || item.detail?.of !== 'trail') return [];
    const how = impairs(item);
    const { open } = state;
    if (open && how !== undefined) {
      open.lastMicros = item.atMicros;
      if (open.ids.length < 20) open.ids.push(item.evidenceId);
      return [];
    }
    if (how !== undefined) {
      state.open = { act: item, how, lastMicros: item.atMicros, ids: [item.evidenceId] };
      return [];
    }
    if (!open || !restores(open, item)) return [];
    state.open = null;
    return [draft(open, subject, item.atMicros)];
  },
  end: ({ open }, { subject }) => (open ? [draft(open, subject, null)] : []),
  examples: [
    { title: 'logging stopped', given: [trail(0, 'stop')], fires: true },
    { title: 'a trail deleted', given: [trail(0, 'delete')], fires: true },
    {
      title: 'a trail that is not there',
      given: [trail(0, 'stop', { error: 'TrailNotFoundException' })],
      fires: false,
    },
    { title: 'logging started', given: [trail(0, 'start')], fires: false },
  ],
});

function impairs({ detail }: Act): string | undefined {
  if (detail?.of !== 'trail') return undefined;
  if (detail.change === 'stop') return 'stopped logging';
  if (detail.change === 'delete') return 'deleted the trail';
  return detail.switchedOff.length > 0 ? `updated the trail: ${detail.switchedOff.join('; ')}` : undefined;
}

/** Logging that was stopped starts; a trail that was deleted is made again. What an update switched off stays off until another one. */
function restores({ how }: Impaired, { detail }: Act): boolean {
  const change = detail?.of === 'trail' ? detail.change : undefined;
  if (how.startsWith('stopped')) return change === 'start';
  return how.startsWith('deleted') ? change === 'create' : change === 'update';
}

function draft(impaired: Impaired, subject: string, untilMicros: number | null): FindingDraft {
  const { act, how } = impaired;
  return trailFinding(impaired, subject, untilMicros, {
    summary: `${shortName(act.who.principal)} ${how} of ${subject.slice('trail:'.length)}`,
    measured: { how, all_events: !how.startsWith('updated') },
  });
}
