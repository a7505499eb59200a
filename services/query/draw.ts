import { styleText } from 'node:util';
import { humanMicros } from '../../shared/duration.js';
import { printable } from './printable.js';
import { conceals, type FindingRow, type LinkRow, type WholeChain } from './read.js';

/** How a page of text is laid out: its width in columns, and whether it may use colour. */
export interface Page {
  readonly width: number;
  readonly colour: boolean;
}

type Style = Parameters<typeof styleText>[0];

export function paint(page: Page, style: Style, text: string): string {
  return page.colour ? styleText(style, text) : text;
}

/** A chain as a tree: the root first, each effect under the cause that reaches it, with lag, verdict and the numbers behind the link. */
export function drawChain(chain: WholeChain, page: Page): string {
  const findings = new Map(chain.findings.map((finding) => [finding.finding_id, finding]));
  const drawn = new Set<string>();
  const lines = [
    `${paint(page, 'bold', 'chain')} ${chain.chain_id}  ${verdict(page, chain.verdict)}  ${clock(chain.started_at)} to ${clock(chain.ended_at)} UTC`,
    ...wrap(chain.title, page.width),
    '',
    ...finding(findings.get(chain.root_finding_id)!, '', page),
  ];
  drawn.add(chain.root_finding_id);
  lines.push(...branches(chain, chain.root_finding_id, findings, drawn, '', page));
  lines.push(...hidden(chain, findings, page));
  return lines.join('\n');
}

function branches(
  chain: WholeChain,
  cause: string,
  findings: ReadonlyMap<string, FindingRow>,
  drawn: Set<string>,
  indent: string,
  page: Page,
): string[] {
  const links = chain.links.filter((link) => link.cause_finding_id === cause && !conceals(link));
  return links.flatMap((link, index) => {
    const last = index === links.length - 1;
    const below = `${indent}${last ? '   ' : '│  '}`;
    const effect = findings.get(link.effect_finding_id)!;
    const seen = drawn.has(effect.finding_id);
    drawn.add(effect.finding_id);
    return [
      `${indent}│`,
      `${indent}${last ? '└─' : '├─'}▶ ${head(effect, page)}  ${lag(link, findings)}  ${verdict(page, link.verdict)}`,
      ...(seen ? [`${below}(above)`] : wrap(effect.summary, page.width - below.length).map((line) => below + line)),
      ...wrap(because(link), page.width - below.length - 2).map(
        (line, row) => `${below}${paint(page, 'dim', `${row === 0 ? '∵ ' : '  '}${line}`)}`,
      ),
      ...(seen ? [] : branches(chain, effect.finding_id, findings, drawn, below, page)),
    ];
  });
}

/** What hid some of it, under a line of its own: no branch of the tree, as it brought nothing about. */
function hidden(chain: WholeChain, findings: ReadonlyMap<string, FindingRow>, page: Page): string[] {
  const links = chain.links.filter(conceals);
  if (links.length === 0) return [];
  return [
    '',
    'Hidden by (no cause):',
    ...links.flatMap((link) => {
      const effect = findings.get(link.effect_finding_id)!;
      return [
        `┄ ${head(findings.get(link.cause_finding_id)!, page)} ┄┄ ${head(effect, page)}  ${verdict(page, link.verdict)}`,
        ...wrap(because(link), page.width - 4).map((line) => `  ${paint(page, 'dim', line)}`),
      ];
    }),
  ];
}

function finding(row: FindingRow, indent: string, page: Page): string[] {
  return [
    `${indent}● ${head(row, page)}`,
    ...wrap(row.summary, page.width - indent.length - 2).map((line) => `${indent}  ${line}`),
  ];
}

function head(row: FindingRow, page: Page): string {
  return `${paint(page, 'bold', row.kind)} ${printable(row.subject)}`;
}

const because = (link: LinkRow): string => link.basis.tests.find(({ test }) => test === 'mechanism')!.says;

/** The time between both onsets, and how far the scrape interval leaves it open. */
export function lag(link: LinkRow, findings: ReadonlyMap<string, FindingRow>): string {
  const open = [link.cause_finding_id, link.effect_finding_id].map((id) =>
    Number(findings.get(id)?.measured['onset_uncertainty_ms'] ?? 0),
  );
  const uncertainty = Math.max(...open);
  return `${link.lag_ms < 0 ? '' : '+'}${humanMicros(link.lag_ms * 1000)}${uncertainty > 0 ? ` ±${humanMicros(uncertainty * 1000)}` : ''}`;
}

export function verdict(page: Page, text: string): string {
  return paint(page, text === 'CONFIRMED' ? 'green' : text === 'LIKELY' ? 'yellow' : 'red', text);
}

/** `2024-03-17T03:05:00.123Z` as `2024-03-17 03:05:00`. */
export function clock(iso: string): string {
  return iso.slice(0, 19).replace('T', ' ');
}

/** Words in lines of at most `width` columns; a longer word stands alone. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of printable(text).split(' ')) {
    if (line !== '' && line.length + 1 + word.length > Math.max(20, width)) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return line === '' ? lines : [...lines, line];
}
