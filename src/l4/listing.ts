import { isJsonObject, type Json, type JsonObject } from '../api/object.ts';
import {
  type ClientElement,
  type ClientMapName,
  elementId,
  type RuleElement,
  type SetName,
  spaces,
} from './ruleset.ts';

/** Our table as the kernel has it. */
export type KernelTable = {
  /** By `elementId`. */
  readonly elements: ReadonlyMap<string, RuleElement>;
  readonly clients: readonly ClientElement[];
  /** By chain name: its hook and rules as text that is equal for equal chains. Handles are left out. */
  readonly chains: ReadonlyMap<string, string>;
};

export const emptyKernelTable: KernelTable = { elements: new Map(), clients: [], chains: new Map() };

const clientMaps: ReadonlySet<string> = new Set(spaces.map((space) => `${space}_clients`));

/**
 * Reads what `nft -j list table` prints. What is not understood is kept as its JSON text, so that it differs from all that we
 * would write. Throws SyntaxError when `text` is no such listing.
 */
export function parseListing(text: string): KernelTable {
  const parsed: unknown = JSON.parse(text);
  const entries = isJsonObject(parsed) ? parsed['nftables'] : undefined;
  if (!Array.isArray(entries)) throw new SyntaxError('nft printed no list named "nftables"');
  const elements = new Map<string, RuleElement>();
  const clients: ClientElement[] = [];
  const chains = new Map<string, string>();
  for (const entry of entries) {
    if (!isJsonObject(entry)) continue;
    const set = entry['set'] ?? entry['map'];
    if (isJsonObject(set)) readSet(set, elements, clients);
    const chain = entry['chain'];
    if (isJsonObject(chain)) chains.set(wordText(chain['name']), withoutHandle(chain));
    const rule = entry['rule'];
    if (isJsonObject(rule)) {
      const name = wordText(rule['chain']);
      chains.set(name, `${chains.get(name) ?? ''}\n${withoutHandle(rule)}`);
    }
  }
  return { elements, clients, chains };
}

function withoutHandle(object: JsonObject): string {
  const { handle: _handle, ...rest } = object;
  return JSON.stringify(rest);
}

function readSet(set: JsonObject, elements: Map<string, RuleElement>, clients: ClientElement[]): void {
  const name = wordText(set['name']);
  const list = set['elem'];
  const isMap = set['map'] !== undefined;
  for (const item of Array.isArray(list) ? list : []) {
    const [key, value] =
      isMap && Array.isArray(item) ? [item[0] ?? null, item[1] ?? null] : [item, undefined];
    if (clientMaps.has(name)) {
      const client = readClient(name as ClientMapName, key, value);
      if (client !== undefined) clients.push(client);
      continue;
    }
    const mark = name.endsWith('_choices');
    const element: RuleElement = {
      set: name as SetName,
      key: keyText(key, name.endsWith('_affine')),
      value: value === undefined ? '' : mark ? markText(value) : valueText(value),
    };
    elements.set(elementId(element), element);
  }
}

function readClient(map: ClientMapName, key: Json, value: Json | undefined): ClientElement | undefined {
  const wrapped = isJsonObject(key) ? key['elem'] : undefined;
  if (!isJsonObject(wrapped) || value === undefined) return undefined;
  const { val, timeout, expires } = wrapped;
  if (val === undefined || typeof timeout !== 'number' || typeof expires !== 'number') return undefined;
  if (expires <= 0) return undefined; // in its last second: nft would take 0 for "never"
  return {
    map,
    key: keyText(val, false),
    value: markText(value),
    timeoutSeconds: timeout,
    expiresSeconds: expires,
  };
}

/** `lastIsMark`: the last part of the key is a packet mark, which nft lists as a plain number. */
function keyText(key: Json, lastIsMark: boolean): string {
  const parts = isJsonObject(key) ? key['concat'] : undefined;
  if (!Array.isArray(parts)) return partText(key);
  return parts
    .map((part, index) => (lastIsMark && index === parts.length - 1 ? markText(part) : partText(part)))
    .join(' . ');
}

function partText(part: Json): string {
  const prefix = isJsonObject(part) ? part['prefix'] : undefined;
  if (isJsonObject(prefix)) return `${wordText(prefix['addr'])}/${wordText(prefix['len'])}`;
  return wordText(part);
}

function wordText(word: Json | undefined): string {
  return typeof word === 'string' ? word : JSON.stringify(word ?? null);
}

function valueText(value: Json): string {
  if (!isJsonObject(value)) return partText(value);
  const jump = value['goto'];
  if (isJsonObject(jump)) return `goto ${wordText(jump['target'])}`;
  if ('drop' in value) return 'drop';
  return keyText(value, false);
}

function markText(value: Json): string {
  return typeof value === 'number' ? `0x${value.toString(16).padStart(8, '0')}` : partText(value);
}
