import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseAllDocuments } from 'yaml';
import type { Ingress } from '../api/gen/networking-v1.ts';
import { isJsonObject, type JsonObject } from '../api/object.ts';
import { UserError } from '../base/user-error.ts';

/** Bytes of one manifest file. Larger ones are refused. */
const fileBytesMax = 16 * 1024 * 1024;

/** All Ingresses of a file, of the manifests in a folder and below it, or of standard input for "-". Other kinds are passed over. */
export async function readIngresses(name: string): Promise<readonly Ingress[]> {
  if (name === '-') return ingressesOf(await text(process.stdin), 'standard input');
  let files: readonly string[] = [name];
  try {
    if ((await stat(name)).isDirectory()) files = await manifestsBelow(name);
  } catch (cause) {
    throw new UserError(`cannot read ${name}: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  const found: Ingress[] = [];
  for (const file of files) {
    const { size } = await stat(file);
    if (size > fileBytesMax) throw new UserError(`${file} is larger than ${fileBytesMax} bytes`);
    found.push(...ingressesOf(await readFile(file, 'utf8'), file));
  }
  return found;
}

async function manifestsBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile() && /\.(ya?ml|json)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

function ingressesOf(content: string, name: string): readonly Ingress[] {
  const documents = parseAllDocuments(content, { version: '1.1', uniqueKeys: false });
  const found: Ingress[] = [];
  for (const document of Array.isArray(documents) ? documents : []) {
    const [error] = document.errors;
    if (error !== undefined) throw new UserError(`${name} is not valid YAML: ${error.message}`);
    collect(document.toJS() as unknown, found, name);
  }
  return found;
}

function collect(value: unknown, found: Ingress[], name: string): void {
  if (!isJsonObject(value)) return;
  const { kind, items } = value;
  if (typeof kind === 'string' && kind.endsWith('List') && Array.isArray(items)) {
    for (const item of items) collect(item, found, name);
    return;
  }
  if (kind === 'Ingress') found.push(ingressOf(value, name));
}

function ingressOf(value: JsonObject, name: string): Ingress {
  const { apiVersion, metadata } = value;
  const what =
    isJsonObject(metadata) && typeof metadata['name'] === 'string' ? metadata['name'] : 'without a name';
  if (apiVersion !== 'networking.k8s.io/v1') {
    throw new UserError(
      `${name}: Ingress ${what} is of ${JSON.stringify(apiVersion)}; allowed: networking.k8s.io/v1`,
    );
  }
  return value as Ingress;
}
