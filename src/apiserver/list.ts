import { badRequest, expired, notFound, revisionTooLarge } from '../api/status.ts';
import { type Entry, isStoreError, type Listing } from '../store/store.ts';
import type { ApiContext, Target } from './context.ts';
import { prepareEntries } from './custom-resources/conversion.ts';
import type { Reply } from './exchange.ts';
import { formOf, renderList, renderObject } from './forms.ts';
import { keyOfObject, prefixOf } from './objects.ts';
import { parseSelection, type Selection } from './selection.ts';

export async function getObject(context: ApiContext, target: Target): Promise<Reply> {
  const form = formOf(target);
  const entry = requireEntry(context, target);
  if (target.kind.conversion !== undefined) await prepare(context, target, [entry]);
  return renderObject(context, target, form, entry, 200);
}

/** Has a conversion webhook turn the entries into the version that the path names. Throws StatusError 500. */
export async function prepare(context: ApiContext, target: Target, entries: readonly Entry[]): Promise<void> {
  await prepareEntries(context, target.kind, entries, target.request.signal);
}

/** The stored object that the path names. Throws StatusError 404. */
export function requireEntry(
  context: ApiContext,
  target: Pick<Target, 'kind' | 'namespace' | 'name'>,
): Entry {
  const { kind, namespace, name } = target;
  const entry = context.store.get(keyOfObject(kind, kind.namespaced ? namespace : '', name));
  if (entry === undefined) throw notFound(kind, name);
  return entry;
}

/** One page, or the whole collection. */
export type Page = {
  readonly entries: readonly Entry[];
  readonly revision: number;
  /** Where the next page starts; undefined on the last one. */
  readonly continueToken: string | undefined;
  readonly remaining: number | undefined;
};

export async function listObjects(context: ApiContext, target: Target): Promise<Reply> {
  const form = formOf(target);
  return renderList(context, target, form, await readPage(context, target));
}

/** Throws StatusError 400, 410, 500 or 504. */
export async function readPage(context: ApiContext, target: Target): Promise<Page> {
  const { kind, request, namespace } = target;
  const { query } = request;
  const selection = parseSelection(kind, query);
  const limit = parseLimit(query.get('limit'));
  const token = query.get('continue') ?? '';
  const resume = token === '' ? undefined : parseContinue(token);
  const atRevision = resume === undefined ? wantedRevision(context, query) : resume.revision;
  const listing = listStore(context, prefixOf(kind, kind.namespaced ? namespace : ''), {
    after: resume?.after,
    atRevision,
  });
  if (kind.conversion !== undefined) await prepare(context, target, listing.entries);
  return cutPage(listing, selection, limit);
}

function listStore(
  context: ApiContext,
  prefix: string,
  range: { readonly after: string | undefined; readonly atRevision: number | undefined },
): Listing {
  try {
    return context.store.list(prefix, range);
  } catch (error) {
    if (!isStoreError(error, 'Expired')) throw error;
    if (range.after === undefined) throw expired('The resourceVersion for the provided list is too old.');
    throw expired(
      'The provided continue parameter is too old to display a consistent list result. Start a new list without it, or use ' +
        'the continue token of this answer for the rest as it is now, which may not fit the pages before it.',
      formatContinue(undefined, range.after),
    );
  }
}

function cutPage(listing: Listing, selection: Selection, limit: number): Page {
  const chosen: Entry[] = [];
  const { entries, revision } = listing;
  for (const [at, entry] of entries.entries()) {
    if (!selection.everything && !selection.matches(entry)) continue;
    if (chosen.length === limit) {
      const last = chosen.at(-1);
      return {
        entries: chosen,
        revision,
        continueToken: formatContinue(revision, last?.key ?? ''),
        // Kubernetes counts what is left only where no selector hides a part of it.
        remaining: selection.everything ? entries.length - at : undefined,
      };
    }
    chosen.push(entry);
  }
  return { entries: chosen, revision, continueToken: undefined, remaining: undefined };
}

function parseLimit(text: string | null): number {
  if (text === null || text === '' || text === '0') return Number.POSITIVE_INFINITY;
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 0)
    throw badRequest(`limit: Invalid value: ${JSON.stringify(text)}`);
  return limit;
}

/** The revision that the list must show; undefined: the newest, which satisfies everything but Exact. */
function wantedRevision(context: ApiContext, query: URLSearchParams): number | undefined {
  const text = query.get('resourceVersion') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  if (match !== '' && match !== 'Exact' && match !== 'NotOlderThan') {
    throw badRequest(
      `resourceVersionMatch: Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan", ""`,
    );
  }
  if (text === '' || text === '0') {
    if (match === '' || (text === '0' && match === 'NotOlderThan')) return undefined;
    throw badRequest(
      `resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided`,
    );
  }
  const revision = parseRevision(text);
  if (revision > context.store.revision) {
    throw revisionTooLarge(revision, context.store.revision);
  }
  return match === 'Exact' ? revision : undefined;
}

export function parseRevision(text: string): number {
  if (!/^\d{1,15}$/.test(text)) {
    throw badRequest(
      `resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }
  return Number(text);
}

/** Without a revision: the rest as it is when it is asked for. */
function formatContinue(revision: number | undefined, after: string): string {
  return Buffer.from(JSON.stringify({ revision, after })).toString('base64url');
}

function parseContinue(token: string): { readonly revision: number | undefined; readonly after: string } {
  try {
    const value = JSON.parse(Buffer.from(token, 'base64url').toString()) as Record<string, unknown> | null;
    const revision = value?.['revision'];
    const after = value?.['after'];
    if (typeof after === 'string') {
      if (revision === undefined || Number.isSafeInteger(revision)) {
        return { revision: revision as number | undefined, after };
      }
    }
  } catch {
    // Not ours; refused below like every other text that is no token.
  }
  throw badRequest('continue key is not valid: encoded continue token is not valid');
}
