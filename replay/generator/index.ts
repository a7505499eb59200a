import type { Files } from '../generate/files.js';
import { chanceOf } from './chance.js';
import { type Family, type FamilyName, families } from './families.js';
import { type Truth, TruthBook } from './truth.js';
import { World } from './world.js';

/** An incident as it was made: a case folder's files by path, and what is true of it. */
export interface Incident {
  readonly name: string;
  readonly files: Files;
  readonly truth: Truth;
}

/** Makes an incident of a family. Pure: the same family and seed give the same evidence and the same truth. */
export function generateIncident(family: FamilyName, seed: number): Incident {
  const { minutes, tell, goMetrics }: Family = families[family];
  const world = new World(chanceOf(family, seed), minutes, goMetrics);
  const book = new TruthBook();
  tell(world, book);
  const name = `${family}-${seed}`;
  return { name, files: new Map([['case.yaml', caseYaml(name, world)], ...world.files()]), truth: book.written() };
}

function caseYaml(name: string, world: World): Buffer {
  const window = [world.startMs, world.endMs].map((ms) => new Date(ms).toISOString());
  return Buffer.from(
    [
      `name: ${name}`,
      `title: A generated incident`,
      `window: { from: "${window[0]}", to: "${window[1]}" }`,
      `timezone: UTC`,
      `description: Synthetic; replay/generator made it from its family and seed.`,
      '',
    ].join('\n'),
  );
}
