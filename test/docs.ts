import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { topicSources } from '../services/collect/sources/index.js';
import { causes } from '../services/correlate/causes/index.js';
import { detectors } from '../services/correlate/detectors/index.js';
import { settingsOf } from '../shared/config/settings.js';

/** README with its tables of components made anew from the indexes. */
export function documented(readme: string): string {
  const found = detectors.map(({ kind, subject, over, meaning }) => [
    `\`${kind}\``,
    [...new Set([subject, ...(over?.includes(subject) ? over : [])])].map((type) => `\`${type}:\``).join(', '),
    meaning,
  ]);
  const judged = causes.map(({ from, to, rule, mechanism }) => [`\`${from}\``, `\`${to}\``, `\`${rule}\``, mechanism]);
  const detectorTable = table(['finding', 'subject', 'fires when'], found);
  const causeTable = table(['cause', 'effect', 'rule', 'mechanism'], judged);
  const tables = { detectors: detectorTable, causes: causeTable, settings: settingTable() };
  return Object.entries(tables).reduce((text, [name, body]) => between(text, name, body), readme);
}

function settingTable(): string {
  const rows = settingsOf(topicSources).map(({ variable, key, default: usual, meaning }) => [
    `\`${variable}\``,
    `\`${key}\``,
    usual === undefined ? '' : `\`${usual}\``,
    meaning,
  ]);
  return table(['variable', 'key of the YAML file', 'default', 'is'], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function between(text: string, name: string, body: string): string {
  return text.replace(
    new RegExp(`(<!-- ${name}: [^>]*-->\\n)[\\s\\S]*?(<!-- /${name} -->)`),
    (_, open: string, shut: string) => `${open}\n${body}\n\n${shut}`,
  );
}

if (process.argv[2] === '--write') {
  const file = join(import.meta.dirname, '../../README.md');
  writeFileSync(file, documented(readFileSync(file, 'utf8')));
}
