import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { madeOnce } from './cache.js';
import { type Installation, run, tryRun } from './command.js';

/** Kafka is a Maven artifact like any other: its jars are all that a broker needs. */
export const KAFKA_VERSION = '4.4.0';

/** Without a binding for slf4j Kafka logs nothing, not even that it has started. */
const SLF4J_VERSION = '1.7.36';

/** The oldest Java that Kafka 4's broker runs on (KIP-1013). */
const LEAST_JAVA = 17;

/** Kafka's jars, fetched by the user's own Maven the first time (15 to 35 s), or why there are none. */
export async function installKafka(): Promise<Installation<{ readonly jars: string }>> {
  const java = majorOf(await tryRun('java', ['-version']));
  if (java === undefined)
    return { missing: `Kafka needs Java ${LEAST_JAVA} or newer; there is no \`java\` on the PATH` };
  if (java < LEAST_JAVA) return { missing: `Kafka needs Java ${LEAST_JAVA} or newer; \`java\` is Java ${java}` };
  try {
    const folder = await madeOnce(`kafka-${KAFKA_VERSION}`, fetchJars);
    return { missing: undefined, jars: join(folder, 'lib') };
  } catch (cause) {
    return { missing: `Kafka ${KAFKA_VERSION} could not be fetched: ${(cause as Error).message}` };
  }
}

/** 17 of `openjdk version "17.0.15" 2025-04-15`. */
function majorOf(words: string | undefined): number | undefined {
  const major = words && /version "(\d+)/.exec(words)?.[1];
  return major ? Number(major) : undefined;
}

async function fetchJars(folder: string): Promise<void> {
  writeFileSync(join(folder, 'pom.xml'), POM);
  await run(
    'mvn',
    ['-q', '-B', 'dependency:copy-dependencies', '-DincludeScope=runtime', '-DoutputDirectory=lib'],
    folder,
  );
}

const dependency = (group: string, artifact: string, version: string): string =>
  `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>causeline</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    ${dependency('org.apache.kafka', 'kafka_2.13', KAFKA_VERSION)}
    ${dependency('org.slf4j', 'slf4j-simple', SLF4J_VERSION)}
  </dependencies>
</project>
`;
