import { groupBy } from '../../shared/group.js';
import type { TrailVersion } from '../../shared/store/trail.js';
import { trailKey } from '../../shared/trail-keys.js';
import type { BadFile, Judged } from './judge.js';
import type { Stored } from './words.js';

/**
 * What a versioned bucket remembers, beside what was judged of what lies in it: older versions of files that are missing or changed, which can still be
 * read by their id, and files that a delete marker hides though no digest misses them (its digest may be hidden as well). An older version of a file that
 * is as it was signed changes nothing. Pure.
 */
export function withHistory({ intervals, files }: Judged, { logs, digests, versions }: Stored): Judged {
  const byObject = groupBy(versions, objectOf);
  const read = new Set([...logs, ...digests].map(({ archive, bucket, path }) => nameOf(archive, `${bucket}/${path}`)));
  const known = new Set(files.map(({ archive, object }) => nameOf(archive, object)));
  const told = files.map((file): BadFile => {
    const own = versions.filter(({ archive, path }) => archive === file.archive && path === file.object);
    return own.length === 0 ? file : { ...file, reason: `${file.reason}; ${remembered(own)}` };
  });
  const hidden = [...byObject.values()].flatMap((own): BadFile[] => {
    const [{ archive, bucket, path } = own[0]!] = own;
    const key = trailKey(path);
    const isHidden = own.some(({ deleted, latest }) => deleted && latest);
    if (!key || !isHidden || read.has(nameOf(archive, `${bucket}/${path}`)) || known.has(nameOf(archive, path)))
      return [];
    const { account, region, atMicros } = key;
    return [
      { archive, account, region, object: path, state: 'missing', reason: remembered(own), digest: null, atMicros },
    ];
  });
  return { intervals, files: [...told, ...hidden] };
}

const nameOf = (archive: string, object: string): string => `${archive}\n${object}`;
const objectOf = ({ archive, bucket, path }: TrailVersion): string => nameOf(archive, `${bucket}/${path}`);

/** `a delete marker of 2024-03-17T04:00:00Z hides it; 2 older versions can still be read, the last of 2024-03-17T03:05:00Z`. */
function remembered(versions: readonly TrailVersion[]): string {
  const marker = versions.find(({ deleted, latest }) => deleted && latest);
  const older = versions.filter(({ deleted }) => !deleted);
  const last = Math.max(...older.map(({ atMicros }) => atMicros));
  const count = older.length === 1 ? '1 older version' : `${older.length} older versions`;
  return [
    ...(marker ? [`a delete marker of ${iso(marker.atMicros)} hides it`] : []),
    older.length > 0 ? `${count} can still be read, the last of ${iso(last)}` : 'no older version is left',
  ].join('; ');
}

const iso = (micros: number): string => `${new Date(micros / 1000).toISOString().slice(0, 19)}Z`;
