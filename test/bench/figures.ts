/** What must hold, by the figure that it is about. */
export type Bounds = Readonly<Record<string, { readonly least?: number; readonly most?: number }>>;

type Figures = Readonly<Record<string, number>>;

/** Of each round, so that what else the machine does falls on both. */
export function ratio<Step>(other: readonly Step[], own: readonly Step[], of: (step: Step) => number): number {
  return median(other.map((step, round) => of(step) / of(own[round]!)));
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle) - 1]!) / 2;
}

/** Prints the figures as one line of JSON, and says which bounds they do not meet: the exit code is 1 then. */
export function report(figures: Figures, bounds: Bounds): void {
  process.stdout.write(`${JSON.stringify(rounded(figures))}\n`);
  for (const broken of unmet(figures, bounds)) {
    say(broken);
    process.exitCode = 1;
  }
}

function rounded(figures: Figures): Figures {
  return Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [name, Number(value.toFixed(value < 100 ? 3 : 0))]),
  );
}

function* unmet(figures: Figures, bounds: Bounds): Generator<string> {
  for (const [name, { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY }] of Object.entries(bounds)) {
    const value = figures[name]!;
    if (!(value >= least)) yield `not met: ${name} is ${value}, at least ${least} is asked`;
    if (!(value <= most)) yield `not met: ${name} is ${value}, at most ${most} is asked`;
  }
}

export function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}
