import { mkdir, readlink, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { posix } from 'node:path';
import type { KeyPair } from '../base/certificates.ts';
import type { Document as YamlDocument } from 'yaml';
import { readIfThere, writeWhole } from './pki.ts';

export type KubeconfigFacts = {
  readonly contextName: string;
  readonly userName: string;
  readonly server: string;
  /** PEM. */
  readonly authority: string;
  readonly client: KeyPair;
};

type Named = { readonly name: string };

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** The three entries of a kubeconfig. Pure. */
export function entriesOf(facts: KubeconfigFacts) {
  return {
    cluster: {
      name: facts.contextName,
      cluster: { server: facts.server, 'certificate-authority-data': base64(facts.authority) },
    },
    user: {
      name: facts.userName,
      user: {
        'client-certificate-data': base64(facts.client.certificate),
        'client-key-data': base64(facts.client.key),
      },
    },
    context: {
      name: facts.contextName,
      context: { cluster: facts.contextName, user: facts.userName },
    },
  } as const;
}

/** A whole kubeconfig file with one context. The text is both YAML and JSON, so a component reads it without a YAML parser. */
export function renderKubeconfig(facts: KubeconfigFacts): string {
  const { cluster, user, context } = entriesOf(facts);
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [cluster],
    users: [user],
    contexts: [context],
    'current-context': facts.contextName,
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

/** The file that kubectl writes to: the first of $KUBECONFIG, else ~/.kube/config. */
export function userKubeconfigPath(env: Readonly<Record<string, string | undefined>>): string {
  const first = (env['KUBECONFIG'] ?? '').split(':').find((part) => part !== '');
  return first ?? posix.join(env['HOME'] ?? homedir(), '.kube', 'config');
}

/**
 * The text of a kubeconfig with this context added or replaced and made current; everything else, comments too, stays.
 * `previous` is the context that was current before, when it was another one. Throws when the text is no kubeconfig.
 */
export async function mergeContext(
  text: string,
  facts: KubeconfigFacts,
): Promise<{ readonly text: string; readonly previous: string | undefined }> {
  const document = await parse(text);
  const { cluster, user, context } = entriesOf(facts);
  const current = document.get('current-context');
  document.set('apiVersion', 'v1');
  document.set('kind', 'Config');
  upsert(document, 'clusters', cluster);
  upsert(document, 'contexts', context);
  upsert(document, 'users', user);
  document.set('current-context', facts.contextName);
  const previous =
    typeof current === 'string' && current !== '' && current !== facts.contextName ? current : undefined;
  return { text: document.toString({ lineWidth: 0 }), previous };
}

/**
 * The text without the context, its cluster and its user. Where it was the current one, `previous` becomes current if it
 * is still there, otherwise none is. Undefined when nothing of ours is in the text.
 */
export async function removeContext(
  text: string,
  names: { readonly contextName: string; readonly userName: string },
  previous: string | undefined,
): Promise<string | undefined> {
  const document = await parse(text);
  const found = [
    remove(document, 'clusters', names.contextName),
    remove(document, 'contexts', names.contextName),
    remove(document, 'users', names.userName),
  ];
  if (!found.includes(true)) return undefined;
  if (document.get('current-context') === names.contextName) {
    const contexts = listOf(document, 'contexts');
    const back = previous !== undefined && contexts.some(({ name }) => name === previous) ? previous : '';
    document.set('current-context', back);
  }
  return document.toString({ lineWidth: 0 });
}

async function parse(text: string): Promise<YamlDocument> {
  const { parseDocument, isMap } = await import('yaml');
  const document = parseDocument(text, { version: '1.1' });
  const [problem] = document.errors;
  if (problem !== undefined) throw new Error(`it is no valid YAML: ${problem.message}`);
  if (document.contents === null) return parseDocument('apiVersion: v1\nkind: Config\n');
  if (!isMap(document.contents)) throw new Error('it is no kubeconfig: the top level must be a map');
  return document as unknown as YamlDocument;
}

function listOf(document: YamlDocument, key: string): readonly Named[] {
  const value: unknown = (document.toJS() as Record<string, unknown>)[key];
  return Array.isArray(value) ? (value as Named[]) : [];
}

function upsert(document: YamlDocument, key: string, entry: Named): void {
  const index = listOf(document, key).findIndex((other) => other?.name === entry.name);
  if (index >= 0) {
    document.setIn([key, index], document.createNode(entry));
    return;
  }
  if (listOf(document, key).length === 0) document.set(key, document.createNode([entry]));
  else document.addIn([key], document.createNode(entry));
}

function remove(document: YamlDocument, key: string, name: string): boolean {
  const index = listOf(document, key).findIndex((other) => other?.name === name);
  if (index < 0) return false;
  document.deleteIn([key, index]);
  return true;
}

/** Merges into the user's file, which is replaced atomically (the file that a symbolic link leads to, not the link). */
export async function mergeIntoFile(file: string, facts: KubeconfigFacts): Promise<string | undefined> {
  try {
    const target = await followLink(file);
    await mkdir(posix.dirname(target), { recursive: true, mode: 0o700 });
    const merged = await mergeContext((await readIfThere(target)) ?? '', facts);
    await writeWhole(target, merged.text, 0o600);
    return merged.previous;
  } catch (cause) {
    throw new Error(`cannot write the context ${facts.contextName} into ${file}`, { cause });
  }
}

/**
 * Takes the context out of the user's file; a file that is gone or has nothing of ours is left as it is. A file that we
 * created and that is empty without us is removed.
 */
export async function removeFromFile(
  file: string,
  names: { readonly contextName: string; readonly userName: string },
  merged: { readonly previous: string | undefined; readonly created: boolean },
): Promise<boolean> {
  try {
    const target = await followLink(file);
    const text = await readIfThere(target);
    const without = text === undefined ? undefined : await removeContext(text, names, merged.previous);
    if (without === undefined) return false;
    if (merged.created && (await isEmptyKubeconfig(without))) await rm(target, { force: true });
    else await writeWhole(target, without, 0o600);
    return true;
  } catch (cause) {
    throw new Error(`cannot take the context ${names.contextName} out of ${file}`, { cause });
  }
}

async function isEmptyKubeconfig(text: string): Promise<boolean> {
  const document = await parse(text);
  return ['clusters', 'contexts', 'users'].every((key) => listOf(document, key).length === 0);
}

async function followLink(file: string): Promise<string> {
  try {
    return posix.resolve(posix.dirname(file), await readlink(file));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EINVAL' || code === 'ENOENT') return file;
    throw error;
  }
}
