import { DuckDBConnection } from '@duckdb/node-api';
import kafkajs from 'kafkajs';

/**
 * Loaded before the program (`node --import`): the process kills itself at the nth time that it comes by the point that it is armed for. Nothing of the program knows of it.
 *
 * | CAUSELINE_KILL_AT | when                                                                            |
 * |-------------------|---------------------------------------------------------------------------------|
 * | begin             | before a transaction begins                                                     |
 * | rows              | a commit's rows were written, its offsets were not                              |
 * | commit            | before COMMIT                                                                   |
 * | committed         | after COMMIT, before anybody was told                                           |
 * | checkpoint        | inside a CHECKPOINT that follows a COMMIT, after CAUSELINE_KILL_AFTER_US        |
 * | offsets           | before the offsets are committed to Kafka                                       |
 */
const point = process.env['CAUSELINE_KILL_AT'];
let left = Number(process.env['CAUSELINE_KILL_NTH'] ?? 1);

function pass(): boolean {
  left -= 1;
  return left <= 0;
}

function die(): void {
  process.kill(process.pid, 'SIGKILL');
  for (;;); // the signal comes before anything else is done
}

function dieAfter(micros: number): void {
  const end = process.hrtime.bigint() + BigInt(micros) * 1000n;
  while (process.hrtime.bigint() < end);
  die();
}

const run = DuckDBConnection.prototype.run;

DuckDBConnection.prototype.run = async function armed(this: DuckDBConnection, ...args: Parameters<typeof run>) {
  const [sql] = args;
  if (point === 'begin' && sql === 'BEGIN' && pass()) die();
  if (point === 'rows' && sql.startsWith('UPDATE _store.kafka_positions') && pass()) die();
  if (point === 'commit' && sql === 'COMMIT' && pass()) die();
  const result = await run.apply(this, args);
  if (point === 'committed' && sql === 'COMMIT' && pass()) die();
  if (point === 'checkpoint' && sql === 'COMMIT' && pass()) {
    run.call(this, 'CHECKPOINT').catch(() => {});
    dieAfter(Number(process.env['CAUSELINE_KILL_AFTER_US'] ?? 0));
  }
  return result;
};

const consumer = kafkajs.Kafka.prototype.consumer;

kafkajs.Kafka.prototype.consumer = function armed(...args) {
  const made = consumer.apply(this, args);
  const commit = made.commitOffsets;
  made.commitOffsets = async (offsets) => {
    if (point === 'offsets' && pass()) die();
    await commit(offsets);
  };
  return made;
};
