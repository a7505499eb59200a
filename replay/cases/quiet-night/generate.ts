import { night, nightCut, nightTraffic, sampledAll, server } from '../../generate/config-night.js';
import { cutScrapes, type Files, writeWhenRun } from '../../generate/files.js';
import { random } from '../../generate/random.js';
import { traceFiles } from '../../generate/spans.js';

/** The traces of a minute in which nothing is wrong: the avalanche's traffic before its avalanche. */
export function files(): Files {
  const chance = random(0x0111);
  const traffic = nightTraffic(chance, night.lastQuietScrapeMs);
  const startMs = night.firstScrapeMs + 31_415;
  const served = { method: 'GET', route: '/v1/export', status: 500 };
  const trace = { traceId: chance.hex(16), traceState: sampledAll };
  const lone = server('api-gateway', trace, chance.hex(8), undefined, startMs, startMs + 12, served);
  return traceFiles([...traffic, lone], 'prod');
}

/** The scrapes, as etcd gave them. */
export function recorded(folder: string): Files {
  return cutScrapes(folder, nightCut(night.lastQuietScrapeMs));
}

writeWhenRun(import.meta.url, 'quiet-night', files, recorded);
