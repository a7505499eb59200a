import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** What a program prints when it is run; throws with its own words when it fails. */
export async function run(command: string, args: readonly string[], cwd?: string): Promise<string> {
  try {
    const { stdout, stderr } = await execute(command, args, { cwd, maxBuffer: 16 * 1024 * 1024 });
    return stdout + stderr;
  } catch (cause) {
    throw new Error(`\`${command} ${args[0]}\` failed: ${reasonOf(cause)}`, { cause });
  }
}

/** The same, and undefined when the program is not there or fails. */
export async function tryRun(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    return await run(command, args);
  } catch {
    return undefined;
  }
}

const REASON_LENGTH = 500;

function reasonOf(cause: unknown): string {
  const { stdout, stderr, message } = cause as { stdout?: string; stderr?: string; message: string };
  return ([stderr, stdout].find((text) => text?.trim()) ?? message).trim().slice(0, REASON_LENGTH);
}

/** A server that is installed and may be started, or why it cannot be. */
export type Installation<T> = ({ readonly missing: undefined } & T) | { readonly missing: string };
