import { record } from '../../services/correlate/record.js';
import { openStore } from '../../shared/store/store.js';
import { chainsOf, change } from './chains.js';
import { finding } from './findings.js';

/** A process that is killed when a revision is committed and not yet in the ledger. Its argument is the store. */
const storm = finding('storm', 'retry.storm', 0, { subject: 'service:sync' });
const puts = finding('puts', 'etcd.put_surge', 5);
const store = await openStore(process.argv[2]!);
const ledger = {
  ...store.ledger,
  append: async (): Promise<void> => void process.kill(process.pid, 'SIGKILL'),
};
const findings = [storm, puts];
const judged = change({ findings, chains: chainsOf(findings, [['storm', 'puts']]) });
await record({ connection: store.connection, ledger }, async () => judged, 'rules', { endOfInput: true });
