import { CloudTrailClient } from '@aws-sdk/client-cloudtrail';
import { S3Client } from '@aws-sdk/client-s3';

/** The SDK is pinned to a version that supports Node 20; that later ones do not is no news for who runs a command. */
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';

/** Tries of one request; the SDK waits between them, longer each time, and less often the more of them fail. */
const ATTEMPTS = 6;

/** Where AWS_REGION says nothing: S3 redirects to the bucket's own region, and other servers do not care. */
const USUAL_REGION = 'us-east-1';

const regionOf = (env: NodeJS.ProcessEnv): string | undefined => env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'];

/** Credentials, profiles, proxies: all that the SDK takes from AWS_* variables and files holds. */
export function s3Client(endpoint: string | undefined): S3Client {
  return new S3Client({
    region: regionOf(process.env) ?? USUAL_REGION,
    followRegionRedirects: true,
    maxAttempts: ATTEMPTS,
    retryMode: 'standard',
    requestHandler: { connectionTimeout: 10_000, requestTimeout: 60_000 },
    ...(endpoint && { endpoint, forcePathStyle: true }),
  });
}

/** `attempts` 1 leaves trying again, and its pace, to the caller. */
export function cloudtrailClient(endpoint: string | undefined, region?: string, attempts = ATTEMPTS): CloudTrailClient {
  const its = region ?? regionOf(process.env);
  return new CloudTrailClient({ maxAttempts: attempts, ...(its && { region: its }), ...(endpoint && { endpoint }) });
}
