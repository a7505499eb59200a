import { AnswerServer } from '../../services/query/socket.js';
import { openStore } from '../../shared/store/store.js';

/** A writer that holds a store and answers for it, until it is killed. Its argument is the store; it says `ready` on stdout. */
const db = process.argv[2]!;
const store = await openStore(db);
await AnswerServer.listen(db, store.instance, `${db}.parquet`);
process.stdout.write('ready\n');
