import type { Chance } from './chance.js';
import {
  type Decoy,
  failingBuild,
  fullHeap,
  heartbeats,
  importAtHand,
  importElsewhere,
  licenceStorm,
  slowMail,
  smallStorm,
  upkeep,
} from './decoys.js';
import { avalanche, importFills, leaderLost, manyMembers, outside, quiet, slowDisk } from './stories.js';
import type { TruthBook } from './truth.js';
import type { World } from './world.js';

/** One kind of incident: what happens, and what stands beside it. */
export interface Family {
  readonly minutes: readonly [from: number, to: number];
  /** Members export what their Go runtime says of its collector. */
  readonly goMetrics?: boolean;
  readonly tell: (world: World, truth: TruthBook) => void;
}

const forms = ['siblings', 'linked roots', 'bare roots'] as const;
const incident = [10, 22] as const;

/** Every family, one entry each. Order means nothing. */
export const families = {
  'avalanche-siblings': {
    minutes: incident,
    tell: (world, truth) => {
      const told = avalanche(world, truth, { form: 'siblings', downloads: true, ends: 'quota' });
      beside(world, truth, told, [heartbeats, slowMail, licenceStorm], 2);
    },
  },
  'avalanche-linked': {
    minutes: incident,
    goMetrics: true,
    tell: (world, truth) => {
      const told = avalanche(world, truth, { form: 'linked roots', downloads: true, ends: 'quota' });
      beside(world, truth, told, [heartbeats, slowMail, failingBuild, importElsewhere], 2);
    },
  },
  'avalanche-bare': {
    minutes: incident,
    tell: (world, truth) => {
      const told = avalanche(world, truth, { form: 'bare roots', downloads: true, ends: 'quota' });
      beside(world, truth, told, [heartbeats, slowMail, licenceStorm], 2);
    },
  },
  'avalanche-fsync': {
    minutes: incident,
    tell: (world, truth) => {
      const form = world.chance.pick(forms);
      const told = avalanche(world, truth, { form, downloads: world.chance.yes(0.5), ends: 'fsync' });
      beside(world, truth, told, [heartbeats, slowMail, failingBuild, importElsewhere], 2);
    },
  },
  'storm-contained': {
    minutes: incident,
    tell: (world, truth) => {
      const form = world.chance.pick(forms);
      const told = avalanche(world, truth, { form, downloads: world.chance.yes(0.5), ends: 'nothing' });
      beside(world, truth, told, [heartbeats, slowMail, licenceStorm], 2);
    },
  },
  'slow-disk': {
    minutes: incident,
    goMetrics: true,
    tell: (world, truth) => {
      const told = slowDisk(world, truth);
      fullHeap(world, truth, told);
      beside(world, truth, told, [heartbeats, failingBuild, importElsewhere, licenceStorm, slowMail], 3);
    },
  },
  'busy-slow-disk': {
    minutes: incident,
    goMetrics: true,
    tell: (world, truth) => {
      const told = slowDisk(world, truth, { cluster: manyMembers(world) });
      importAtHand(world, truth, told);
      beside(world, truth, told, [heartbeats, failingBuild, slowMail], 1);
    },
  },
  'leader-lost': {
    minutes: incident,
    tell: (world, truth) => {
      const told = leaderLost(world, truth);
      beside(world, truth, told, [heartbeats, failingBuild, importElsewhere, licenceStorm], 2);
    },
  },
  'import-quota': {
    minutes: incident,
    goMetrics: true,
    tell: (world, truth) => {
      const told = importFills(world, truth);
      smallStorm(world, truth, told);
      beside(world, truth, told, [heartbeats, failingBuild, slowMail], 1);
    },
  },
  'two-incidents': {
    minutes: [10, 14],
    tell: (world, truth) => {
      const onsetMs = world.share(world.chance.between(0.4, 0.5));
      const near = () => ({ onsetMs: onsetMs + world.chance.between(-45_000, 45_000) });
      const stories = [
        () => slowDisk(world, truth, near()),
        () => importFills(world, truth, near()),
        () => leaderLost(world, truth, near()),
        () => avalanche(world, truth, { form: 'linked roots', downloads: true, ends: 'quota' }, near()),
      ];
      for (const story of world.chance.some(stories, 2)) story();
    },
  },
  'cause-outside': {
    minutes: incident,
    tell: (world, truth) => {
      const told = outside(world, truth);
      beside(world, truth, told, [heartbeats, failingBuild, importElsewhere, licenceStorm, upkeep[3]!], 3);
    },
  },
  'quiet-steady': {
    minutes: [10, 30],
    tell: (world, truth) => {
      const told = quiet(world, truth);
      beside(world, truth, told, [heartbeats, heartbeats, slowMail], 2);
    },
  },
  'quiet-upkeep': {
    minutes: [10, 30],
    tell: (world, truth) => {
      const told = quiet(world, truth);
      beside(world, truth, told, [...upkeep, failingBuild, heartbeats, licenceStorm], 4);
    },
  },
} as const satisfies Readonly<Record<string, Family>>;

export type FamilyName = keyof typeof families;

export const familyNames = Object.keys(families) as readonly FamilyName[];

/** Families in which nothing is wrong: any chain disturbs the night. */
export const quietFamilies: ReadonlySet<FamilyName> = new Set<FamilyName>(['quiet-steady', 'quiet-upkeep']);

function beside(
  world: World,
  truth: TruthBook,
  told: Parameters<Decoy>[2],
  decoys: readonly Decoy[],
  count: number,
): void {
  const { chance }: { chance: Chance } = world;
  for (const decoy of chance.some(decoys, count)) decoy(world, truth, told);
}
