import test from 'ava';
import { makeCertificates } from '../../infra/launch/certificates.js';
import { startKafka } from '../../infra/launch/kafka.js';
import type { SecuredListener } from '../../infra/launch/kafka-properties.js';
import { kafkaCanStart } from '../helpers/kafka.js';
import { accountedFor, Produced, record } from '../helpers/produced.js';
import { catchUp, placeIn, startService } from '../helpers/service.js';
import { temporaryFolder } from '../helpers/store.js';

test('it reads where clients log in (PLAIN, SCRAM), over TLS, and with a certificate; a wrong password is said', async (t) => {
  if (!(await kafkaCanStart(t))) return;
  const certificates = await makeCertificates(temporaryFolder(t));
  const kafka = await startKafka({ security: { users: { alice: 'wonder land' }, certificates } });
  t.teardown(() => kafka.stop());
  const open = placeIn(temporaryFolder(t), kafka.brokers, (word) => word);
  const produced = await Produced.start(t, open);
  await produced.send([record('one'), record('two')]);

  const ca = { CAUSELINE_KAFKA_SSL_CA: certificates.ca };
  const login = (mechanism: string) => ({
    CAUSELINE_KAFKA_SASL_MECHANISM: mechanism,
    CAUSELINE_KAFKA_SASL_USERNAME: 'alice',
    CAUSELINE_KAFKA_SASL_PASSWORD: 'wonder land',
  });
  const certificate = {
    CAUSELINE_KAFKA_SSL_CERT: certificates.clientCertificate,
    CAUSELINE_KAFKA_SSL_KEY: certificates.clientKey,
  };
  const ways: [SecuredListener, Record<string, string>][] = [
    ['sasl', login('plain')],
    ['sasl', login('scram-sha-256')],
    ['saslTls', { ...login('scram-sha-512'), ...ca }],
    ['tls', ca],
    ['mutualTls', { ...ca, ...certificate }],
  ];
  for (const [index, [listener, env]] of ways.entries()) {
    const way = placeIn(temporaryFolder(t), [kafka.secured![listener]], (word) => word);
    const place = { ...way, group: `way-${index}` };
    await catchUp(t, place, env);
    await accountedFor(t, place.db, produced.at);
  }

  const place = placeIn(temporaryFolder(t), [kafka.secured!.sasl], (word) => word);
  const wrong = startService(t, place, { env: { ...login('plain'), CAUSELINE_KAFKA_SASL_PASSWORD: 'wonderland' } });
  t.regex(await wrong.saw('the broker does not answer'), /[Aa]uthentication/);
});
