/**
 * What a trail records, by its event selectors. CloudTrail user guide, "Logging data events" and "Filtering data events by using advanced event
 * selectors"; API reference, EventSelector, AdvancedEventSelector, AdvancedFieldSelector.
 */

/** Selectors of a trail: basic or advanced ones, as the API has them (camelCase, as CloudTrail records them). */
export interface Selectors {
  readonly basic: readonly BasicSelector[];
  readonly advanced: readonly AdvancedSelector[];
}

export interface BasicSelector {
  readonly readWriteType: 'All' | 'ReadOnly' | 'WriteOnly';
  readonly includeManagementEvents: boolean;
  readonly excludeManagementEventSources: readonly string[];
  readonly dataResources: readonly { readonly type: string; readonly values: readonly string[] }[];
}

export interface AdvancedSelector {
  readonly name: string;
  readonly fieldSelectors: readonly FieldSelector[];
}

export interface FieldSelector {
  readonly field: string;
  readonly equals: readonly string[];
  readonly startsWith: readonly string[];
  readonly endsWith: readonly string[];
  readonly notEquals: readonly string[];
  readonly notStartsWith: readonly string[];
  readonly notEndsWith: readonly string[];
}

/** An operation, as selectors see it. */
export interface Operation {
  readonly category: 'Management' | 'Data' | 'NetworkActivity';
  readonly eventSource: string;
  readonly eventName: string;
  readonly readOnly: boolean;
  /** Of data events. */
  readonly resourceType?: string;
  readonly resourceArn?: string;
}

/** A trail to which nothing was ever said: all management events, no data events. */
export const DEFAULT_SELECTORS: Selectors = {
  basic: [
    {
      readWriteType: 'All',
      includeManagementEvents: true,
      excludeManagementEventSources: [],
      dataResources: [],
    },
  ],
  advanced: [],
};

/** Whether a trail with these selectors records an operation: whether any of them selects it. */
export const records = (selectors: Selectors, operation: Operation): boolean =>
  selectedBy(selectors, operation) !== undefined;

/** The first selector that selects an operation, as people call it, with what it says and cannot be evaluated; undefined where none does. */
export function selectedBy({ basic, advanced }: Selectors, operation: Operation): string | undefined {
  const plain = basic.findIndex((selector) => basicSelects(selector, operation));
  if (plain >= 0) return basicName(plain);
  const index = advanced.findIndex(({ fieldSelectors }) => advancedSelects(fieldSelectors, operation));
  return index < 0 ? undefined : `${advancedName(advanced[index]!, index)}${unevaluated(advanced[index]!)}`;
}

const basicName = (index: number): string => `basic selector ${index + 1}`;
const advancedName = ({ name }: AdvancedSelector, index: number): string =>
  name === '' ? `advanced selector ${index + 1}` : `selector '${name}'`;

/** Fields that depend on who calls, or on how a name ends: an operation alone does not tell whether they agree. */
const OF_A_CALL = ['userIdentity.arn', 'sessionCredentialFromConsole', 'eventType', 'errorCode', 'vpcEndpointId'];

function unevaluated({ fieldSelectors }: AdvancedSelector): string {
  const fields = fieldSelectors
    .filter((one) => OF_A_CALL.includes(one.field) || one.endsWith.length + one.notEndsWith.length > 0)
    .map(fieldWords);
  return fields.length === 0 ? '' : `, as far as ${fields.join(' and ')}`;
}

/** `eventName is none of DeleteObject, DeleteObjects` */
function fieldWords(selector: FieldSelector): string {
  const said = WORDS.flatMap(([operator, words]) => {
    const values = selector[operator];
    if (values.length === 0) return [];
    return [`${words} ${values.slice(0, 3).join(', ')}${values.length > 3 ? ` and ${values.length - 3} more` : ''}`];
  });
  return `${selector.field} ${said.join(' and ')}`;
}

const WORDS: readonly (readonly [Exclude<keyof FieldSelector, 'field'>, string])[] = [
  ['equals', 'is one of'],
  ['startsWith', 'begins with'],
  ['endsWith', 'ends with'],
  ['notEquals', 'is none of'],
  ['notStartsWith', 'does not begin with'],
  ['notEndsWith', 'does not end with'],
];

/** Why selectors leave an operation out, and whether they ask for others of its kind: then it is left out, else it was never subscribed to. */
export interface LeftOut {
  readonly asked: boolean;
  readonly why: string;
}

/** Of an operation that no selector selects: what those that come closest to it say. */
export function leftOut({ basic, advanced }: Selectors, operation: Operation): LeftOut {
  const near = [
    ...basic.flatMap((selector, index) => {
      const why = basicRefusal(selector, operation);
      return why === undefined ? [] : [`${basicName(index)}: ${why}`];
    }),
    ...advanced.flatMap((selector, index) => {
      const why = advancedRefusal(selector, operation);
      return why === undefined ? [] : [`${advancedName(selector, index)}: ${why}`];
    }),
  ];
  if (near.length > 0) return { asked: true, why: near.slice(0, 3).join('; ') };
  // Management events are recorded unless selectors say otherwise; all others are asked for or are not there.
  return { asked: operation.category === 'Management', why: `no selector asks for ${kindWords(operation)}` };
}

const kindWords = ({ category, resourceType }: Operation): string =>
  category === 'Data' ? `data events of ${resourceType ?? 'other types'}` : `${CATEGORY_WORDS[category]} events`;

const CATEGORY_WORDS = { Management: 'management', Data: 'data', NetworkActivity: 'network activity' } as const;

function basicRefusal(selector: BasicSelector, operation: Operation): string | undefined {
  const { category, eventSource, readOnly, resourceType } = operation;
  const readWrite =
    selector.readWriteType === (readOnly ? 'WriteOnly' : 'ReadOnly')
      ? `readWriteType is ${selector.readWriteType}`
      : undefined;
  if (category === 'Management') {
    if (!selector.includeManagementEvents) return 'it leaves management events out';
    if (selector.excludeManagementEventSources.includes(eventSource)) return `it leaves ${eventSource} out`;
    return readWrite;
  }
  const named = selector.dataResources.filter(({ type }) => category === 'Data' && type === resourceType);
  if (named.length === 0) return undefined;
  const values = named.flatMap((one) => one.values);
  return (
    readWrite ??
    (values.length === 0
      ? `its list of ${resourceType} is empty`
      : `it takes ${resourceType} below ${values.slice(0, 3).join(', ')}${values.length > 3 ? ` and ${values.length - 3} more` : ''}`)
  );
}

function advancedRefusal({ fieldSelectors }: AdvancedSelector, operation: Operation): string | undefined {
  const ofKind = (name: string) => name === 'eventCategory' || name === 'resources.type';
  if (fieldSelectors.length === 0) return undefined;
  if (!fieldSelectors.filter(({ field }) => ofKind(field)).every((field) => fieldAgrees(field, operation)))
    return undefined;
  const refusing = fieldSelectors.filter((field) => !fieldAgrees(field, operation));
  return refusing.length === 0 ? undefined : refusing.map(fieldWords).join(' and ');
}

function basicSelects(selector: BasicSelector, operation: Operation): boolean {
  if (selector.readWriteType === (operation.readOnly ? 'WriteOnly' : 'ReadOnly')) return false;
  if (operation.category === 'Management')
    return selector.includeManagementEvents && !selector.excludeManagementEventSources.includes(operation.eventSource);
  return selector.dataResources.some(
    ({ type, values }) =>
      operation.category === 'Data' &&
      type === operation.resourceType &&
      values.some((value) => covers(value, operation.resourceArn ?? '')),
  );
}

/**
 * A value is a prefix of the ARN; `arn:aws:s3` stands for all buckets, `arn:aws:lambda` for all functions. DeleteObjects names no key: it is logged only
 * where the value is a whole bucket (S3 user guide, "CloudTrail events for Delete Multiple Objects"), which a prefix of `arn:aws:s3:::bucket/` is.
 */
const covers = (value: string, arn: string): boolean => value !== '' && arn.startsWith(value);

/** All fields must agree; of one field's values any positive one, and every negative one. */
function advancedSelects(fields: readonly FieldSelector[], operation: Operation): boolean {
  return fields.length > 0 && fields.every((field) => fieldAgrees(field, operation));
}

function fieldAgrees(selector: FieldSelector, operation: Operation): boolean {
  const value = fieldOf(selector.field, operation);
  if (value === undefined) return false;
  const { equals, startsWith, endsWith, notEquals, notStartsWith, notEndsWith } = selector;
  const positive = equals.length + startsWith.length + endsWith.length > 0;
  const agrees =
    equals.includes(value) ||
    startsWith.some((one) => value.startsWith(one)) ||
    endsWith.some((one) => value.endsWith(one));
  const forbidden =
    notEquals.includes(value) ||
    notStartsWith.some((one) => value.startsWith(one)) ||
    notEndsWith.some((one) => value.endsWith(one));
  return (!positive || agrees) && !forbidden;
}

/** A field that an event does not have selects nothing; fields that are not known here (userIdentity.arn, …) are taken as agreeing by `''`. */
function fieldOf(field: string, operation: Operation): string | undefined {
  switch (field) {
    case 'eventCategory':
      return operation.category;
    case 'eventSource':
      return operation.eventSource;
    case 'eventName':
      return operation.eventName;
    case 'readOnly':
      return String(operation.readOnly);
    case 'resources.type':
      return operation.resourceType;
    case 'resources.ARN':
      return operation.resourceArn;
    case 'eventType':
      return 'AwsApiCall';
    default:
      return '';
  }
}

/** What became invisible, or is: operations that `before` records and `after` does not, by a name that people use. */
export function lost(before: Selectors, after: Selectors, resources: readonly string[]): LostOperation[] {
  return resources.flatMap((resource) =>
    referenceOperations(resource)
      .filter(({ operation }) => records(before, operation) && !records(after, operation))
      .map(({ what, destructive }) => ({ what, destructive, resource: what.startsWith('management') ? '' : resource })),
  );
}

export interface LostOperation {
  readonly what: string;
  readonly destructive: boolean;
  /** The ARN (or its beginning) for which it is lost; '' for management events. */
  readonly resource: string;
}

const S3 = 's3.amazonaws.com';
export const OBJECT = 'AWS::S3::Object';

/** The deletion of an object, or of one of its versions: CloudTrail has one name for both. */
export const deletionOf = (arn: string): Operation => ({
  category: 'Data',
  eventSource: S3,
  eventName: 'DeleteObject',
  readOnly: false,
  resourceType: OBJECT,
  resourceArn: arn,
});

/** DeleteObjects names no key: it is about the bucket. */
export const batchDeletionOf = (arn: string): Operation => ({
  ...deletionOf(bucketOf(arn)),
  eventName: 'DeleteObjects',
});

const bucketOf = (arn: string): string => arn.replace(/^(arn:[^:]*:s3:::[^/]*\/).*$/s, '$1');

interface Reference {
  readonly what: string;
  readonly destructive: boolean;
  readonly operation: Operation;
}

/** What an investigation asks for, one operation each. */
function referenceOperations(arn: string): Reference[] {
  const data = (eventName: string, readOnly: boolean): Operation => ({ ...deletionOf(arn), eventName, readOnly });
  const management = (eventSource: string, eventName: string, readOnly: boolean): Operation => ({
    category: 'Management',
    eventSource,
    eventName,
    readOnly,
  });
  return [
    { what: 's3 DeleteObject', destructive: true, operation: deletionOf(arn) },
    { what: 's3 DeleteObjects', destructive: true, operation: data('DeleteObjects', false) },
    { what: 's3 PutObject', destructive: true, operation: data('PutObject', false) },
    { what: 's3 PutObjectAcl', destructive: true, operation: data('PutObjectAcl', false) },
    { what: 's3 GetObject', destructive: false, operation: data('GetObject', true) },
    {
      what: 'management writes',
      destructive: true,
      operation: management('iam.amazonaws.com', 'PutRolePolicy', false),
    },
    { what: 'management reads', destructive: false, operation: management('iam.amazonaws.com', 'ListRoles', true) },
    { what: 'management kms', destructive: false, operation: management('kms.amazonaws.com', 'DisableKey', false) },
  ];
}

/**
 * What a trail can be presumed to have recorded before its first selectors in evidence: what a trail records by default, and, of the data resources that
 * the new selectors name, all. So what they leave out by a negative word counts as lost, and what they never named does not.
 */
export function presumedBefore(after: Selectors): Selectors {
  const named = [
    ...after.basic.flatMap(({ dataResources }) => dataResources),
    ...after.advanced.flatMap(({ fieldSelectors }) => namedBy(fieldSelectors)),
  ];
  const dataResources = named.map(({ type, values }) => ({ type, values: values.length === 0 ? [] : values }));
  return { basic: [{ ...DEFAULT_SELECTORS.basic[0]!, dataResources }], advanced: [] };
}

function namedBy(fields: readonly FieldSelector[]): { type: string; values: readonly string[] }[] {
  const types = fields.filter(({ field }) => field === 'resources.type').flatMap(({ equals }) => equals);
  const arns = fields
    .filter(({ field }) => field === 'resources.ARN')
    .flatMap(({ equals, startsWith }) => [...equals, ...startsWith]);
  return types.map((type) => ({ type, values: arns.length > 0 ? arns : ['arn:aws'] }));
}

/** ARNs for which selectors may differ: those that they name, each with an object beneath, and one that nobody named. */
export function resourcesNamed(...all: readonly Selectors[]): string[] {
  const named = all.flatMap(({ basic, advanced }) => [
    ...basic.flatMap(({ dataResources }) =>
      dataResources.filter(({ type }) => type === OBJECT).flatMap(({ values }) => values),
    ),
    ...advanced.flatMap(({ fieldSelectors }) =>
      fieldSelectors
        .filter(({ field }) => field === 'resources.ARN')
        .flatMap(({ equals, startsWith, notEquals, notStartsWith }) => [
          ...equals,
          ...startsWith,
          ...notEquals,
          ...notStartsWith,
        ]),
    ),
  ]);
  const inBuckets = named.filter((arn) => /^arn:[\w-]+:s3:::[^/]/.test(arn));
  return [...new Set([...inBuckets, 'arn:aws:s3:::any-other-bucket/any-key'])].sort();
}

type Json = Readonly<Record<string, unknown>>;

/** The selectors in requestParameters of PutEventSelectors (or of CreateTrail, which has none): undefined where there are none. */
export function readSelectors(request: Json): Selectors | undefined {
  const basic = listOf(request['eventSelectors']).map((selector): BasicSelector => {
    const type = selector['readWriteType'];
    return {
      readWriteType: type === 'ReadOnly' || type === 'WriteOnly' ? type : 'All',
      includeManagementEvents: selector['includeManagementEvents'] !== false,
      excludeManagementEventSources: texts(selector['excludeManagementEventSources']),
      dataResources: listOf(selector['dataResources']).map((resource) => ({
        type: textOf(resource['type']),
        values: texts(resource['values']),
      })),
    };
  });
  const advanced = listOf(request['advancedEventSelectors']).map(
    (selector): AdvancedSelector => ({
      name: textOf(selector['name']),
      fieldSelectors: listOf(selector['fieldSelectors']).map((field) => ({
        field: textOf(field['field']),
        equals: texts(field['equals']),
        startsWith: texts(field['startsWith']),
        endsWith: texts(field['endsWith']),
        notEquals: texts(field['notEquals']),
        notStartsWith: texts(field['notStartsWith']),
        notEndsWith: texts(field['notEndsWith']),
      })),
    }),
  );
  return basic.length + advanced.length === 0 ? undefined : { basic, advanced };
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const listOf = (value: unknown): Json[] => (Array.isArray(value) ? value.filter(isObject) : []);
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
