import type { Kind } from '../../../shared/finding.js';
import { type Cause, figure, passed } from '../cause.js';

/** A build that took in foreign code, and afterwards somebody with its address, role or request who looks around. */
export function poisonedBuildEnumerates(rule: string, from: Kind, mechanism: string): Cause {
  return {
    rule,
    version: 2,
    from,
    to: 'access.enumeration',
    within: '24h',
    shared: ['ip', 'principal', 'request'],
    sharedBy: 'any',
    mechanism,
    dose: 'none',
    explain: (build, scan) =>
      passed(
        `${figure(build, 'failures') ?? 'some'} build steps said so, and ${figure(scan, 'operations') ?? 'many'} operations were tried afterwards`,
      ),
    examples: [
      {
        title: 'a scan from the address that builds',
        cause: { subject: 'service:ci', keys: ['service:ci', 'ip:10.22.8.146'], measured: { failures: 1 } },
        effect: { subject: 'principal:role', keys: ['principal:role', 'ip:10.22.8.146'], measured: { operations: 14 } },
        links: true,
      },
      {
        title: 'a scan whose request a span of the build made',
        cause: {
          subject: 'service:ci',
          keys: ['service:ci', 'ip:10.22.8.146', 'request:1F', 'request:2F'],
          measured: { failures: 1 },
        },
        effect: {
          subject: 'principal:role',
          keys: ['principal:role', 'ip:192.0.2.1', 'request:2F', 'request:3F'],
          measured: { operations: 14 },
        },
        links: true,
      },
      {
        title: 'a scan by the principal that the build acts as',
        cause: { subject: 'service:ci', keys: ['service:ci', 'principal:arn:ci'], measured: { failures: 1 } },
        effect: {
          subject: 'principal:arn:ci',
          keys: ['principal:arn:ci', 'ip:10.0.0.9'],
          measured: { operations: 14 },
        },
        links: true,
      },
      {
        title: 'a scan from another address',
        cause: { subject: 'service:ci', keys: ['service:ci', 'ip:10.22.8.146'], measured: { failures: 1 } },
        effect: { subject: 'principal:role', keys: ['principal:role', 'ip:10.0.0.9'], measured: { operations: 14 } },
        links: false,
      },
    ],
  };
}
