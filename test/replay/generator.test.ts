import { gunzipSync } from 'node:zlib';
import test from 'ava';
import { familyNames, quietFamilies } from '../../replay/generator/families.js';
import { generateIncident, type Incident } from '../../replay/generator/index.js';
import type { Named } from '../../replay/generator/truth.js';
import { scoreIncident } from '../../replay/score/run.js';
import { boundsMissed, rowsOf, tableText } from '../../replay/score/table.js';
import { causes } from '../../services/correlate/causes/index.js';
import { KINDS } from '../../shared/finding.js';

for (const family of familyNames) {
  test.serial(
    `${family}: a seed always makes the same incident, another seed another one, with a consistent truth`,
    (t) => {
      const [once, again, other] = [1, 1, 2].map((seed) => generateIncident(family, seed)) as [
        Incident,
        Incident,
        Incident,
      ];
      t.deepEqual(once.truth, again.truth);
      t.deepEqual([...once.files.keys()], [...again.files.keys()]);
      for (const [path, content] of once.files) t.true(content.equals(again.files.get(path)!), path);
      t.false(textOf(once) === textOf(other));
      for (const incident of [once, other]) consistent(t, incident);
    },
  );

  test.serial(`${family}: nothing is invented, no decoy is blamed, no quiet night is disturbed`, async (t) => {
    const scored = await scoreIncident(family, 1);
    t.is(scored.quarantined, 0);
    t.true(scored.rows > 1000 && scored.rows < 40_000, `${scored.rows} rows`);
    t.deepEqual(
      scored.notes.filter((note) => /^(invented|blamed)/.test(note)),
      [],
    );
    t.is(scored.quietDisturbed, 0);
  });
}

test.serial('the table fits a terminal, and says which bounds are missed', async (t) => {
  const scored = [await scoreIncident('quiet-steady', 1), await scoreIncident('slow-disk', 1)];
  const rows = rowsOf(scored);
  t.deepEqual(
    rows.map(({ family }) => family),
    ['quiet-steady', 'slow-disk', 'total'],
  );
  t.true(
    tableText(rows)
      .split('\n')
      .every((line) => line.length <= 100),
  );
  const total = rows.at(-1)!;
  t.deepEqual(boundsMissed({ ...total, precision: 1, recall: 1 }), []);
  t.is(
    boundsMissed({ ...total, precision: 0.9, recall: 0.5, decoysBlamed: 1, quietDisturbed: 1, falseConfirmed: 2 })
      .length,
    5,
  );
});

function consistent(t: { true: (value: boolean, says?: string) => unknown }, incident: Incident): void {
  const { truth, name } = incident;
  const text = textOf(incident);
  const links = [...truth.chains.flatMap((chain) => chain.links), ...truth.faint];
  for (const { rule, cause, effect } of links) {
    const known = causes.find((one) => one.rule === rule);
    t.true(
      known?.from === cause.kind && known.to === effect.kind,
      `${name}: ${rule} leads from ${cause.kind} to ${effect.kind}`,
    );
  }
  const named = [
    ...links.flatMap(({ cause, effect }) => [cause, effect]),
    ...truth.decoys,
    ...truth.decoys.flatMap(({ effect }) => effect ?? []),
    ...truth.absent,
  ];
  for (const { kind, subject } of named) {
    t.true((KINDS as readonly string[]).includes(kind), `${name}: ${kind} is a kind`);
    if (subject !== undefined)
      t.true(text.includes(subject.replace(/^[a-z]+:(?:.*\/)?/, '')), `${name}: ${subject} is in the evidence`);
  }
  for (const { root, links: own } of truth.chains)
    for (const { cause } of own) {
      const led = same(cause, root) || own.some(({ effect }) => same(effect, cause));
      t.true(led, `${name}: the root ${root.kind} leads to ${cause.kind}`);
    }
  const quiet = quietFamilies.has(name.replace(/-\d+$/, '') as (typeof familyNames)[number]);
  t.true(!quiet || truth.chains.length === 0, `${name}: a quiet night has no chain`);
}

const same = (a: Named, b: Named): boolean => a.kind === b.kind && a.subject === b.subject;

/** All evidence as text, with the names of its files. */
function textOf({ files }: Incident): string {
  return [...files]
    .map(([path, content]) => `${path}\n${(path.endsWith('.gz') ? gunzipSync(content) : content).toString()}`)
    .join('\n');
}
