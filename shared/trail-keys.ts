/**
 * The names under which CloudTrail delivers to S3 (CloudTrail user guide, "Finding your log files" and "digest file structure"):
 *
 *   [prefix/]AWSLogs/[o-organisation/]<account>/CloudTrail/<region>/yyyy/mm/dd/<account>_CloudTrail_<region>_yyyymmddThhmmZ_<unique>.json.gz
 *   [prefix/]AWSLogs/[o-organisation/]<account>/CloudTrail-Digest/<region>/yyyy/mm/dd/<account>_CloudTrail-Digest_<region>_<trail>_<home region>_yyyymmddThhmmssZ[_backfill].json.gz
 */
interface TrailKey {
  /** What stands before `AWSLogs/`. */
  readonly before: string;
  /** From `AWSLogs/` on. */
  readonly tail: string;
  /** `AWSLogs/[o-organisation/]<account>/`. */
  readonly accountFolder: string;
  readonly account: string;
  readonly region: string;
  /** When the file was made, microseconds; of a digest the end of what it covers. */
  readonly atMicros: number;
}

export interface LogKey extends TrailKey {
  readonly kind: 'log';
}

export interface DigestKey extends TrailKey {
  readonly kind: 'digest';
  readonly trail: string;
  readonly homeRegion: string;
  /** A digest that names files which an earlier one should have named; it has a chain of its own. */
  readonly backfill: boolean;
}

/** What a path (an object key, or a path that ends as one) says of itself; undefined where CloudTrail does not deliver under such a name. */
export function trailKey(path: string): LogKey | DigestKey | undefined {
  const found = LAYOUT.exec(path)?.groups;
  if (!found) return undefined;
  const { before, account, folder, region, file } = found as Record<string, string>;
  const accountFolder = found['account_folder']!;
  const common = {
    before: before!,
    tail: path.slice(before!.length),
    accountFolder,
    account: account!,
    region: region!,
  };
  return folder === 'CloudTrail-Digest' ? digestKey(common, file!) : logKey(common, file!);
}

/** Files of Insights, network activity and aggregated events have folders of their own, and names like any log file. */
const LAYOUT =
  /^(?<before>.*?)(?<account_folder>AWSLogs\/(?:o-[a-z0-9]+\/)?(?<account>\d{12})\/)(?<folder>CloudTrail(?:-[A-Za-z]+)?)\/(?<region>[a-z0-9-]+)\/\d{4}\/\d\d\/\d\d\/(?<file>[^/]+)$/;

type Common = Omit<TrailKey, 'atMicros'>;

function logKey(common: Common, file: string): LogKey | undefined {
  const [, account, region, stamp] = LOG.exec(file) ?? [];
  const atMicros = stampMicros(stamp);
  if (account !== common.account || region !== common.region || atMicros === undefined) return undefined;
  return { ...common, kind: 'log', atMicros };
}

const LOG = /^(\d{12})_CloudTrail(?:-[A-Za-z]+)?_([a-z0-9-]+)_(\d{8}T\d{4}Z)_[^_/]+\.json(?:\.gz)?$/;

function digestKey(common: Common, file: string): DigestKey | undefined {
  const [, account, region, trail, homeRegion, stamp, backfill] = DIGEST.exec(file) ?? [];
  const atMicros = stampMicros(stamp);
  if (account !== common.account || region !== common.region || atMicros === undefined) return undefined;
  return {
    ...common,
    kind: 'digest',
    atMicros,
    trail: trail!,
    homeRegion: homeRegion!,
    backfill: backfill !== undefined,
  };
}

const DIGEST = /^(\d{12})_CloudTrail-Digest_([a-z0-9-]+)_(.+)_([a-z0-9-]+)_(\d{8}T\d{6}Z)(_backfill)?\.json(?:\.gz)?$/;

/** `20240317T0315Z` and `20240317T031500Z`, microseconds. */
function stampMicros(stamp: string | undefined): number | undefined {
  const [, year, month, day, hour, minute, second = '00'] = STAMP.exec(stamp ?? '') ?? [];
  const millis = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(millis) ? undefined : millis * 1000;
}

const STAMP = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)?Z$/;

/** What was looked through, so that what is absent from it is absent indeed. Microseconds; null where there is no bound. */
export interface TrailLook {
  readonly archive: string;
  readonly bucket: string | null;
  /** Object keys that begin so. */
  readonly prefix: string;
  /** Objects made from then on … */
  readonly fromMicros: number | null;
  /** … up to then. */
  readonly untilMicros: number | null;
  /** Digests should reach this time. */
  readonly dueMicros: number | null;
}
