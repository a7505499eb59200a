import { correlate } from '../../services/correlate/index.js';
import { openStore } from '../../shared/store/store.js';
import { goThrough, nightInSteps } from './night-in-steps.js';

/** A running Causeline that is killed in one step of a night. Its arguments are the store, the step, and where in it. */
const [, , db, step, where] = process.argv;
const steps = nightInSteps();
const store = await openStore(db!);
await goThrough(store, steps.slice(0, Number(step)), false);
const die = async (): Promise<never> => {
  process.kill(process.pid, 'SIGKILL');
  return new Promise(() => undefined);
};
await store.commit(steps[Number(step)]!);
if (where === 'before') await die();
const run = store.connection.run.bind(store.connection);
if (where === 'inside')
  store.connection.run = (sql, ...values) =>
    sql.startsWith('INSERT INTO _store.correlated') ? die() : run(sql, ...values);
const ledger = { ...store.ledger, append: die };
await correlate({ ...store, ledger }, { endOfInput: false });
