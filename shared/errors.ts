/** What went wrong, in a form that a script can act on and a person can read. */
export type ErrorCode =
  | 'bad_usage'
  | 'unreadable_input'
  | 'not_found'
  | 'store_held'
  | 'store_newer'
  | 'store_damaged'
  | 'store_failed'
  | 'bad_query'
  | 'bad_config'
  | 'not_available';

/** The one error class: `message` is one sentence that says what is wrong and what to do. */
export class CauselineError extends Error {
  readonly code: ErrorCode;
  readonly component: string;
  readonly field: string | undefined;
  readonly retriable: boolean;

  constructor(
    code: ErrorCode,
    component: string,
    message: string,
    more: { field?: string; retriable?: boolean; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'CauselineError';
    this.code = code;
    this.component = component;
    this.field = more.field;
    this.retriable = more.retriable ?? false;
  }
}
