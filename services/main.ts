#!/usr/bin/env -S node --min-semi-space-size=32 --max-semi-space-size=32
import { Command, CommanderError, Option } from 'commander';
import { databaseFile } from '../shared/config.js';
import { CauselineError } from '../shared/errors.js';
import { version } from '../shared/version.js';
import {
  chainsCommand,
  configCommand,
  coverageCommand,
  deletionsCommand,
  explainCommand,
  rebuildCommand,
  replayCommand,
  runCommand,
  sqlCommand,
  verifyCommand,
} from './commands.js';
import { CATEGORIES } from './query/coverage.js';
import { FORMATS } from './query/sql.js';

/** Wires the command line. Exit codes: 0 done, 1 the answer is no, 2 bad usage or unreadable input, 70 a bug. */
const program = new Command('causeline')
  .description('Turns CloudTrail records, OpenTelemetry traces and etcd metrics into proven causal chains in DuckDB.')
  .version(version(), '--version', 'print the version')
  .helpOption('-h, --help', 'print this help')
  .helpCommand(false)
  .configureHelp({ helpWidth: 80 })
  .configureOutput({ writeErr: () => {} })
  .exitOverride();

const db = () => new Option('--db <file>', 'the DuckDB file (default: CAUSELINE_DB, else ./causeline.duckdb)');
const config = () => new Option('--config <file>', 'a YAML file of settings');
const json = () => new Option('--json', 'print one JSON document and nothing else');

program
  .command('replay')
  .description('replay an archived incident: evidence, findings, links, chains')
  .argument('<case>', 'a case folder (it holds case.yaml), s3://bucket/prefix, cloudtrail:lookup or kafka:')
  .addOption(db())
  .option('--from <time>', 'not a case: from this time on (ISO 8601)')
  .option('--to <time>', 'not a case: up to this time')
  .option('--endpoint <url>', 'the S3-compatible server, or the LookupEvents API, to ask instead of AWS')
  .option('--to-kafka', "drive the case through Kafka's topics instead")
  .option('--speed <speed>', "to Kafka: 'max', or how many times as fast as it happened", 'max')
  .addOption(config())
  .addOption(json())
  .action(replayCommand);

program
  .command('chains')
  .description('list the causal chains')
  .addOption(db())
  .addOption(config())
  .option('--as-of <time>', 'what was known at a time (ISO 8601)')
  .addOption(json())
  .action(chainsCommand);

program
  .command('explain')
  .description('say why each link of a chain is believed, its rivals, what was not covered, how the answer changed')
  .argument('<chain-id>', 'the id, or as much of its beginning as is unique')
  .addOption(db())
  .addOption(config())
  .action(explainCommand);

program
  .command('sql')
  .description('answer one SELECT over evidence, findings and chains')
  .argument('<query>', 'the statement')
  .addOption(db())
  .addOption(config())
  .addOption(new Option('--format <format>', 'how rows are printed').choices(FORMATS).default('table'))
  .action(sqlCommand);

program
  .command('deletions')
  .description('say what was deleted, by whom, what of it is lost, and what could not be seen')
  .option('--bucket <name>', 'of this bucket alone')
  .addOption(db())
  .addOption(config())
  .addOption(json())
  .action(deletionsCommand);

program
  .command('verify')
  .description('say whether the evidence is whole and as it was delivered; exit code 1 if it is not')
  .addOption(db())
  .addOption(config())
  .addOption(json())
  .action(verifyCommand);

program
  .command('coverage')
  .description('say what could be seen: for which times the absence of a record means something')
  .addOption(db())
  .addOption(config())
  .option('--account <id>', 'CloudTrail of this account')
  .option('--region <name>', 'CloudTrail of this region')
  .addOption(new Option('--category <category>', "CloudTrail's events of one category").choices(CATEGORIES))
  .option('--resource <name>', 'data events of a bucket, or of an ARN or its beginning')
  .option('--from <time>', 'what holds at this time or later (ISO 8601)')
  .option('--to <time>', 'what holds at this time or before')
  .option('--operations', 'which destructive operations each trail in evidence records')
  .option('--selectors <file>', "the same of selectors: what 'aws cloudtrail get-event-selectors' prints")
  .addOption(json())
  .action(coverageCommand);

program
  .command('run')
  .description('read Kafka into the store and correlate, until it is stopped')
  .addOption(db())
  .addOption(config())
  .option('--services <names>', 'which parts run', 'collect,correlate,query')
  .option('--until-caught-up', 'end when what the topics hold now is stored and correlated')
  .action(runCommand);

program
  .command('rebuild')
  .description('make the store again, from raw evidence and the ledger of revisions')
  .addOption(db())
  .addOption(config())
  .action(rebuildCommand);

program
  .command('config')
  .description('print the effective configuration, secrets masked')
  .addOption(config())
  .action(configCommand);

// Flag, then environment variable, then YAML, then default, for every command that works on a file.
program.hook('preAction', (_, command) => {
  if (command.options.some(({ long }) => long === '--db')) command.setOptionValue('db', databaseFile(command.opts()));
});

program.addHelpText(
  'after',
  `
Examples:
  causeline replay replay/cases/storage-avalanche
  causeline chains --json
  causeline explain 3f2a
  causeline coverage --resource audit-logs
  causeline sql "SELECT started_at, kind, subject, message FROM timeline
                 WHERE chain_id IS NOT NULL ORDER BY started_at"`,
);

// Whoever reads our output may stop reading: `causeline sql … | head` is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program.parseAsync();
} catch (cause) {
  const code = report(cause);
  process.stdout.write('', () => process.exit(code)); // whatever a failed command still holds
}

function report(cause: unknown): number {
  if (cause instanceof CommanderError) {
    if (cause.exitCode === 0) return 0;
    const message = cause.code === 'commander.help' ? 'error: a command is expected' : cause.message.split('\n')[0];
    process.stderr.write(`${message}; see 'causeline --help'.\n`);
    return 2;
  }
  if (cause instanceof CauselineError && cause.code !== 'store_failed') {
    for (const line of cause.message.split('\n')) process.stderr.write(`error: ${line}\n`);
    return cause.code === 'not_found' ? 1 : 2;
  }
  process.stderr.write(
    `error: this is a bug in Causeline: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}\n`,
  );
  return 70;
}
