/** Who may log in, and with which keys and certificates the encrypted listeners answer. */
export interface Security {
  readonly users: Readonly<Record<string, string>>;
  /** PEM files: the CA that signed the clients' certificates, and one file with the server's key and certificate. */
  readonly certificates: { readonly ca: string; readonly serverKeyAndCertificate: string };
}

/** One port for each way in. */
export interface Ports {
  readonly client: number;
  readonly controller: number;
  readonly secured?: Readonly<Record<SecuredListener, number>>;
}

/** The listeners that a broker with `Security` has beside the plain one, and what they speak. */
export const SECURED_LISTENERS = {
  sasl: 'SASL_PLAINTEXT',
  saslTls: 'SASL_SSL',
  tls: 'SSL',
  mutualTls: 'SSL',
} as const;

export type SecuredListener = keyof typeof SECURED_LISTENERS;

export type Properties = Readonly<Record<string, string | number>>;

/** Topics whose records are past their retention, or compacted, lose them within seconds instead of minutes. */
export const FAST_CLEANUP: Properties = {
  'log.retention.check.interval.ms': 500,
  'log.initial.task.delay.ms': 500,
  'log.segment.delete.delay.ms': 500,
  'log.cleaner.backoff.ms': 500,
};

/** A broker that is its own controller, small and quick to start, on 127.0.0.1 alone. */
export function brokerProperties(logDir: string, ports: Ports, security: Security | undefined): Properties {
  return {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${ports.controller}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'CLIENT',
    ...listenerProperties(ports),
    ...(security && securityProperties(security)),
    'log.dirs': logDir,
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 3,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 3,
    'group.initial.rebalance.delay.ms': 0,
    // A broker that was killed is given up, and may come back, after this long: 6 s to restart it, not 13.
    'broker.session.timeout.ms': 3000,
    'broker.heartbeat.interval.ms': 300,
    'log.cleaner.dedupe.buffer.size': 8 * 1024 * 1024,
  };
}

/** The text of a server.properties. */
export const propertiesFile = (properties: Properties): string =>
  Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');

/** What `StorageTool format` needs so that users can log in by SCRAM from the first moment on. */
export const scramUsers = ({ users }: Security): string[] =>
  Object.entries(users).flatMap(([name, password]) =>
    ['SCRAM-SHA-256', 'SCRAM-SHA-512'].map((mechanism) => `${mechanism}=[name=${name},password=${password}]`),
  );

function listenerProperties({ client, controller, secured }: Ports): Properties {
  const open = [
    { name: 'CLIENT', protocol: 'PLAINTEXT', port: client },
    ...Object.entries(secured ?? {}).map(([name, port]) => ({
      name: name.toUpperCase(),
      protocol: SECURED_LISTENERS[name as SecuredListener],
      port,
    })),
  ];
  const all = [...open, { name: 'CONTROLLER', protocol: 'PLAINTEXT', port: controller }];
  const addresses = (listeners: typeof open) => listeners.map(({ name, port }) => `${name}://127.0.0.1:${port}`).join();
  return {
    listeners: addresses(all),
    'advertised.listeners': addresses(open),
    'listener.security.protocol.map': all.map(({ name, protocol }) => `${name}:${protocol}`).join(),
  };
}

function securityProperties({ users, certificates }: Security): Properties {
  const known = Object.entries(users).map(([name, password]) => ` user_${name}="${password}"`);
  const module = (mechanism: string) => `org.apache.kafka.common.security.${mechanism} required`;
  const login = (listener: SecuredListener): Properties => ({
    [`listener.name.${listener.toLowerCase()}.sasl.enabled.mechanisms`]: 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    [`listener.name.${listener.toLowerCase()}.plain.sasl.jaas.config`]: `${module('plain.PlainLoginModule')}${known.join('')};`,
    ...Object.fromEntries(
      ['scram-sha-256', 'scram-sha-512'].map((mechanism) => [
        `listener.name.${listener.toLowerCase()}.${mechanism}.sasl.jaas.config`,
        `${module('scram.ScramLoginModule')};`,
      ]),
    ),
  });
  return {
    ...login('sasl'),
    ...login('saslTls'),
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': certificates.serverKeyAndCertificate,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': certificates.ca,
    'listener.name.mutualtls.ssl.client.auth': 'required',
  };
}
