/** DuckDB, or the file system, says so of a disk without room; what was under way is rolled back and can be tried again. */
export const isFull = (cause: unknown): boolean =>
  /no space left|could not (write|allocate).*disk|ENOSPC/i.test(String(cause));

/** Whoever else uses the store's memory has to give way. A result that broke off says no more than that: it is tried again as well. */
export const isOutOfMemory = (cause: unknown): boolean => /out of memory|broke off before its end/i.test(String(cause));

/** What holds the store up is tried again so often. */
export const RETRY_MS = 1_000;
