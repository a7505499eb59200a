import type { ExecutionContext } from 'ava';

/**
 * Says aloud that a test could not run on this machine, and why. Under `CI=true` that is a failure: a machine that is there to
 * run the tests and lacks a server would otherwise pass by testing nothing.
 */
export function notRun(t: ExecutionContext, reason: string): false {
  const words = `NOT RUN: ${t.title}: ${reason}`;
  process.stderr.write(`${words}\n`);
  t.log(words);
  if (process.env['CI'] === 'true') t.fail(words);
  else t.pass();
  return false;
}
