/** Robust statistics on sorted numbers. */

export function median(sorted: ArrayLike<number>): number {
  return quantile(sorted, 0.5);
}

/** Linear interpolation between closest ranks; NaN for no values. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return Number.NaN;
  const rank = q * (sorted.length - 1);
  const below = Math.floor(rank);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (high - low) * (rank - below);
}

/** Median absolute deviation from `center`, scaled by 1.4826 to equal the standard deviation of normal noise (Rousseeuw & Croux 1993). */
export function scaledMad(values: ArrayLike<number>, center: number): number {
  return 1.4826 * median(Float64Array.from(values, (value) => Math.abs(value - center)).sort());
}

/**
 * A quantile of a histogram, as Prometheus' histogram_quantile computes it: linear inside the bucket, the last finite bound when it falls into +Inf.
 * `bounds` are n upper bounds, `counts` n+1 counts per bucket (not cumulative).
 */
export function histogramQuantile(bounds: readonly number[], counts: readonly number[], q: number): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0 || bounds.length === 0) return Number.NaN;
  let rank = q * total;
  for (let i = 0; i < bounds.length; i++) {
    const count = counts[i] ?? 0;
    if (rank <= count && count > 0) {
      const lower = i === 0 ? 0 : bounds[i - 1]!;
      return lower + ((bounds[i]! - lower) * rank) / count;
    }
    rank -= count;
  }
  return bounds.at(-1)!;
}
