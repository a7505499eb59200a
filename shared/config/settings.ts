/** What can be set: by a variable of the environment, or by a key of the YAML file (`kafka.brokers` is `brokers` under `kafka`). */
export interface Setting {
  readonly variable: string;
  readonly key: string;
  readonly meaning: string;
  readonly default?: string;
}

/** What configuration has to know of a source: its name, and the topic that it reads by default. */
export interface KnownSource {
  readonly name: string;
  readonly topic: string;
}

/** The table of all settings; those of topics follow from the sources. */
export function settingsOf(sources: readonly KnownSource[]): Setting[] {
  return [
    { variable: 'CAUSELINE_DB', key: 'db', default: './causeline.duckdb', meaning: 'the DuckDB file' },
    ...KAFKA,
    ...sources.map((source) => ({
      variable: `CAUSELINE_TOPIC_${topicKey(source).toUpperCase()}`,
      key: `topics.${topicKey(source)}`,
      default: source.topic,
      meaning: `topic that the source \`${source.name}\` reads`,
    })),
    ...OTHERS,
  ];
}

/** Variables of ours that set nothing: most likely one is misspelt. */
export function unknownVariables(settings: readonly Setting[], env: Readonly<Record<string, unknown>>): string[] {
  const known = new Set(settings.map(({ variable }) => variable));
  return Object.keys(env).filter((name) => name.startsWith('CAUSELINE_') && !known.has(name));
}

/** `spans` of the topic `otlp_spans`: the key under `topics`. */
export const topicKey = ({ topic }: KnownSource): string => topic.replace(/^otlp_/, '');

const KAFKA: readonly Setting[] = [
  {
    variable: 'CAUSELINE_KAFKA_BROKERS',
    key: 'kafka.brokers',
    default: 'localhost:9092',
    meaning: '`host:port`, several with commas between; in YAML also a list',
  },
  {
    variable: 'CAUSELINE_KAFKA_CLIENT_ID',
    key: 'kafka.client_id',
    default: 'causeline',
    meaning: "our name in the brokers' logs and quotas",
  },
  {
    variable: 'CAUSELINE_KAFKA_SESSION_TIMEOUT',
    key: 'kafka.session_timeout',
    default: '30000',
    meaning: 'milliseconds without a heartbeat after which a consumer counts as gone',
  },
  {
    variable: 'CAUSELINE_KAFKA_SSL',
    key: 'kafka.ssl.enabled',
    meaning: '`true` or `false`; without it TLS is used where a file below is named',
  },
  {
    variable: 'CAUSELINE_KAFKA_SSL_CA',
    key: 'kafka.ssl.ca',
    meaning: "PEM file of the brokers' CA, where the system does not know it",
  },
  { variable: 'CAUSELINE_KAFKA_SSL_CERT', key: 'kafka.ssl.cert', meaning: 'PEM file of our certificate (mTLS)' },
  { variable: 'CAUSELINE_KAFKA_SSL_KEY', key: 'kafka.ssl.key', meaning: 'PEM file of its key' },
  {
    variable: 'CAUSELINE_KAFKA_SASL_MECHANISM',
    key: 'kafka.sasl.mechanism',
    meaning: '`plain`, `scram-sha-256` or `scram-sha-512`',
  },
  { variable: 'CAUSELINE_KAFKA_SASL_USERNAME', key: 'kafka.sasl.username', meaning: 'who logs in' },
  { variable: 'CAUSELINE_KAFKA_SASL_PASSWORD', key: 'kafka.sasl.password', meaning: 'the password' },
  {
    variable: 'CAUSELINE_KAFKA_SASL_PASSWORD_FILE',
    key: 'kafka.sasl.password_file',
    meaning: 'a file that holds the password, in its place',
  },
];

const OTHERS: readonly Setting[] = [
  {
    variable: 'CAUSELINE_TOPIC_CHAINS',
    key: 'topics.chains',
    default: 'causeline.chains',
    meaning: 'topic to which revisions of chains are written',
  },
  {
    variable: 'CAUSELINE_GROUP',
    key: 'group',
    default: 'causeline',
    meaning: 'prefix of the consumer groups: `causeline-traces`, …',
  },
  { variable: 'CAUSELINE_HTTP', key: 'http', default: '127.0.0.1:8686', meaning: '`host:port` of health and metrics' },
  {
    variable: 'CAUSELINE_CORRELATE_INTERVAL',
    key: 'correlate_interval',
    default: '1s',
    meaning: 'how long evidence may wait for correlation: `500ms`, `2s`, `1m`',
  },
  { variable: 'CAUSELINE_SIGMA', key: 'sigma', meaning: 'a folder of Sigma rules' },
];
