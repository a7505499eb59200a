import {
  batchDeletionOf,
  deletionOf,
  type FieldSelector,
  OBJECT,
  type Operation,
  type Selectors,
} from './selectors.js';

/** A part of what trails may record: a category, of data events a resource type, and where selectors narrow it a resource. */
export interface Cell {
  readonly category: 'Management' | 'Data' | 'NetworkActivity' | 'Insight';
  /** Null: every type that has no cell of its own. */
  readonly resourceType: string | null;
  /** Of data events an ARN or its beginning, of others an event source. Null: everything that has no cell of its own. */
  readonly resource: string | null;
  /** The resource is one ARN, and not what lies below it. */
  readonly exact: boolean;
  /** Resources within it that have cells of their own. */
  readonly besides: readonly string[];
}

/** Operations of a cell, one for each kind that selectors may treat apart. */
export interface Kind {
  readonly name: string;
  readonly readOnly: boolean;
  /** Stands for every operation that selectors do not name. */
  readonly rest: boolean;
  readonly operation: Operation;
}

/** A character that no name in a selector has: what begins with it is what nobody named. */
const UNNAMED = '\uffff';

/** The cells that these selectors tell apart, and objects in S3 always. */
export function cellsOf(all: readonly Selectors[], partition: string): Cell[] {
  const types = [...new Set([OBJECT, ...all.flatMap(typesNamed)])].sort();
  const management = all.flatMap((one) => sourcesNamed(one, 'Management'));
  const network = all.flatMap((one) => sourcesNamed(one, 'NetworkActivity'));
  return [
    ...withRest(management.map(prefix)).map((part): Cell => ({ category: 'Management', resourceType: null, ...part })),
    ...types.flatMap((type) => {
      const named = all
        .flatMap((one) => resourcesOf(one, type))
        .filter(({ value }) => !restOf(type, partition).startsWith(value));
      return withRest(named).map((part): Cell => ({ category: 'Data', resourceType: type, ...part }));
    }),
    { category: 'Data', resourceType: null, resource: null, exact: false, besides: types },
    ...withRest(network.map(prefix)).map(
      (part): Cell => ({ category: 'NetworkActivity', resourceType: null, ...part }),
    ),
    { category: 'Insight', resourceType: null, resource: null, exact: false, besides: [] },
  ];
}

interface Named {
  readonly value: string;
  readonly exact: boolean;
}

const prefix = (value: string): Named => ({ value, exact: false });

/** Each resource that is named once, with those within it; and what nobody named. */
function withRest(named: readonly Named[]): Pick<Cell, 'resource' | 'exact' | 'besides'>[] {
  const byText = new Map(named.toSorted((a, b) => Number(b.exact) - Number(a.exact)).map((one) => [one.value, one]));
  const values = [...byText.keys()].sort();
  return [
    { resource: null, exact: false, besides: values },
    ...values.map((resource) => ({
      resource,
      exact: byText.get(resource)!.exact,
      besides: values.filter((other) => other !== resource && other.startsWith(resource)),
    })),
  ];
}

function typesNamed({ basic, advanced }: Selectors): string[] {
  return [
    ...basic.flatMap(({ dataResources }) => dataResources.map(({ type }) => type)),
    ...advanced.flatMap(({ fieldSelectors }) => valuesOf(fieldSelectors, 'resources.type').map(({ value }) => value)),
  ].filter((type) => type !== '');
}

function resourcesOf({ basic, advanced }: Selectors, type: string): Named[] {
  return [
    ...basic.flatMap(({ dataResources }) =>
      dataResources.filter((one) => one.type === type).flatMap(({ values }) => values.map(prefix)),
    ),
    ...advanced
      .filter(({ fieldSelectors }) => valuesOf(fieldSelectors, 'resources.type').some(({ value }) => value === type))
      .flatMap(({ fieldSelectors }) => valuesOf(fieldSelectors, 'resources.ARN')),
  ].filter(({ value }) => value !== '');
}

function sourcesNamed({ basic, advanced }: Selectors, category: Cell['category']): string[] {
  const left = category === 'Management' ? basic.flatMap((one) => one.excludeManagementEventSources) : [];
  const ofCategory = advanced.filter(({ fieldSelectors }) =>
    valuesOf(fieldSelectors, 'eventCategory').some(({ value }) => value === category),
  );
  const named = ofCategory.flatMap(({ fieldSelectors }) => valuesOf(fieldSelectors, 'eventSource'));
  return [...left, ...named.map(({ value }) => value)];
}

/** What a field is compared with, at its beginning or as a whole. */
function valuesOf(fields: readonly FieldSelector[], name: string): Named[] {
  return fields
    .filter(({ field }) => field === name)
    .flatMap(({ equals, notEquals, startsWith, notStartsWith }) => [
      ...[...equals, ...notEquals].map((value) => ({ value, exact: true })),
      ...[...startsWith, ...notStartsWith].map(prefix),
    ]);
}

/** What an investigation asks for by name. */
const OBJECT_EVENTS = ['DeleteObject', 'DeleteObjects', 'GetObject', 'PutObject'] as const;

/** The kinds of operations of a cell that these selectors may tell apart: those they name, all other reads and all other writes. */
export function kindsOf(cell: Cell, all: readonly Selectors[], partition: string): Kind[] {
  const objects = cell.resourceType === OBJECT ? OBJECT_EVENTS.map((value) => ({ value, exact: true })) : [];
  const named = new Map([...objects, ...namesIn(cell, all)].map((one) => [nameWords(one), one]));
  return [
    ...[...named]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { value, exact }]): Kind => {
        const readOnly = isRead(value);
        const operation = operationOf(cell, exact ? value : `${value}${UNNAMED}`, readOnly, partition);
        return { name, readOnly, rest: false, operation };
      }),
    ...[false, true].map((readOnly): Kind => {
      const operation = operationOf(cell, UNNAMED, readOnly, partition);
      return { name: 'others', readOnly, rest: true, operation };
    }),
  ];
}

const nameWords = ({ value, exact }: Named): string => (exact ? value : `${value}*`);

/** On a trail only data and network activity events are chosen by name (API reference, AdvancedFieldSelector). */
function namesIn({ category, resourceType }: Cell, all: readonly Selectors[]): Named[] {
  if (category !== 'Data' && category !== 'NetworkActivity') return [];
  return all
    .flatMap(({ advanced }) => advanced)
    .filter(({ fieldSelectors }) => {
      const types = valuesOf(fieldSelectors, 'resources.type');
      return types.length === 0 || types.some(({ value }) => value === resourceType);
    })
    .flatMap(({ fieldSelectors }) => valuesOf(fieldSelectors, 'eventName'))
    .filter(({ value }) => value !== '');
}

const isRead = (name: string): boolean => /^(Get|List|Head|Describe|Select|Search|Query|Scan|BatchGet)/.test(name);

export function operationOf(cell: Cell, eventName: string, readOnly: boolean, partition: string): Operation {
  if (cell.category !== 'Data')
    return {
      category: cell.category === 'NetworkActivity' ? 'NetworkActivity' : 'Management',
      eventSource: cell.resource ?? `${UNNAMED}.amazonaws.com`,
      eventName,
      readOnly,
    };
  const type = cell.resourceType;
  if (type === null) return { category: 'Data', eventSource: `${UNNAMED}.amazonaws.com`, eventName, readOnly };
  const arn = probe(cell, type, partition);
  if (type === OBJECT && eventName === 'DeleteObjects') return batchDeletionOf(arn);
  if (type === OBJECT) return { ...deletionOf(arn), eventName, readOnly };
  const eventSource = `${serviceOf(type)}.amazonaws.com`;
  return { category: 'Data', eventSource, eventName, readOnly, resourceType: type, resourceArn: arn };
}

/** `AWS::DynamoDB::Table` is of `dynamodb`. */
const serviceOf = (type: string): string => (type.split('::')[1] ?? type).toLowerCase();

/** A resource of the cell that is in no cell within it. */
function probe({ resource, exact }: Cell, type: string, partition: string): string {
  if (resource === null) return restOf(type, partition);
  if (exact) return resource;
  const bucketIsOpen = type === OBJECT && !/:::[^/]*\//.test(resource);
  return `${resource}${UNNAMED}${bucketIsOpen ? `/${UNNAMED}` : ''}`;
}

/** A resource of the type that nobody named. */
function restOf(type: string, partition: string): string {
  if (type === OBJECT) return `arn:${partition}:s3:::${UNNAMED}/${UNNAMED}`;
  return `arn:${partition}:${serviceOf(type)}:${UNNAMED}`;
}

/** Some kinds of a cell in words: `all`, `reads`, `all but DeleteObject`, `DeleteObject and DeleteObjects`. */
export function kindWords(some: readonly Kind[], all: readonly Kind[]): string {
  const rest = some.filter((one) => one.rest).map(({ readOnly }) => readOnly);
  const names = (kinds: readonly Kind[], within: boolean) =>
    kinds.filter((one) => !one.rest && rest.includes(one.readOnly) === within).map(({ name }) => name);
  const extra = names(some, false);
  if (rest.length === 0) return listed(extra);
  const base = rest.length === 2 ? 'all' : rest[0] ? 'reads' : 'writes';
  const missing = names(
    all.filter((one) => !some.includes(one)),
    true,
  );
  return [
    missing.length === 0 ? base : `${base} but ${listed(missing)}`,
    ...(extra.length === 0 ? [] : [listed(extra)]),
  ].join(', and ');
}

const listed = (names: readonly string[]): string =>
  names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
