import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { isJsonObject, type JsonObject } from '../api/object.ts';

/** All that a client needs to know to reach an API server and to say who it is. */
export type ClientConfig = {
  /** `https://host:port`, or `http://…` (kubectl proxy); no path. */
  readonly server: string;
  /** PEM bundle that signs the server's certificate; undefined: the system's roots. */
  readonly certificateAuthority?: string | undefined;
  /** PEM; only together with `clientKey`. */
  readonly clientCertificate?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly token?: string | undefined;
  /** Read again at most once a minute: service account tokens rotate. Wins over `token`. */
  readonly tokenFile?: string | undefined;
  readonly insecureSkipTlsVerify?: boolean | undefined;
  /** Name to verify in the server's certificate instead of the host of `server`. */
  readonly tlsServerName?: string | undefined;
  /** Default namespace of the context. */
  readonly namespace: string;
};

/** A kubeconfig that cannot be used; the message says which entry and what to do. */
export class KubeconfigError extends Error {
  override readonly name = 'KubeconfigError';
}

const serviceAccountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The config of `path`; without a path that of a Pod's service account. */
export function loadClientConfig(path: string | undefined, context?: string): Promise<ClientConfig> {
  return path === undefined ? inClusterConfig() : loadKubeconfig(path, context);
}

/** Reads a kubeconfig file and the files that it names. `context` undefined: its current-context. */
export async function loadKubeconfig(path: string, context?: string): Promise<ClientConfig> {
  const text = await readFileOf(path, 'kubeconfig');
  const document = await parseDocument(text, path);
  return configOf(document, context, dirname(path));
}

/** The config of a Pod: service account directory and KUBERNETES_SERVICE_HOST and _PORT of its environment. */
export async function inClusterConfig(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  directory: string = serviceAccountDirectory,
): Promise<ClientConfig> {
  const host = environment['KUBERNETES_SERVICE_HOST'];
  const port = environment['KUBERNETES_SERVICE_PORT'];
  if (host === undefined || port === undefined) {
    throw new KubeconfigError('not in a Pod (KUBERNETES_SERVICE_HOST is not set): pass --kubeconfig FILE');
  }
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    certificateAuthority: await readFileOf(join(directory, 'ca.crt'), 'service account CA'),
    tokenFile: join(directory, 'token'),
    namespace: (await readFileOf(join(directory, 'namespace'), 'service account namespace')).trim(),
  };
}

async function parseDocument(text: string, path: string): Promise<JsonObject> {
  let document: unknown;
  try {
    // Our own kubeconfigs are JSON, which is YAML too: the YAML library then needs not be loaded at start-up.
    document = text.trimStart().startsWith('{') ? JSON.parse(text) : (await import('yaml')).parse(text);
  } catch (cause) {
    throw new KubeconfigError(`${path} is not valid YAML`, { cause });
  }
  if (!isJsonObject(document)) throw new KubeconfigError(`${path} is not a kubeconfig: expected a mapping`);
  return document;
}

async function configOf(
  document: JsonObject,
  context: string | undefined,
  directory: string,
): Promise<ClientConfig> {
  const contextName = context ?? stringOf(document, 'current-context');
  if (contextName === undefined || contextName === '') {
    throw new KubeconfigError('the kubeconfig has no current-context: name a context');
  }
  const contextEntry = entryOf(document, 'contexts', contextName, 'context');
  const cluster = entryOf(document, 'clusters', stringOf(contextEntry, 'cluster') ?? '', 'cluster');
  const userName = stringOf(contextEntry, 'user');
  const user = userName === undefined ? {} : entryOf(document, 'users', userName, 'user');
  if (user['exec'] !== undefined || user['auth-provider'] !== undefined) {
    throw new KubeconfigError(
      `user "${userName}" needs a credential plugin, which is not supported: use a token or a client certificate`,
    );
  }
  const server = stringOf(cluster, 'server');
  if (server === undefined || !/^https?:\/\//.test(server)) {
    throw new KubeconfigError(`the cluster of context "${contextName}" has no http(s) server URL`);
  }
  const tokenFile = stringOf(user, 'tokenFile');
  return {
    server: new URL(server).origin,
    certificateAuthority: await pemOf(cluster, 'certificate-authority', directory),
    clientCertificate: await pemOf(user, 'client-certificate', directory),
    clientKey: await pemOf(user, 'client-key', directory),
    token: stringOf(user, 'token'),
    tokenFile: tokenFile === undefined ? undefined : resolve(directory, tokenFile),
    insecureSkipTlsVerify: cluster['insecure-skip-tls-verify'] === true,
    tlsServerName: stringOf(cluster, 'tls-server-name'),
    namespace: stringOf(contextEntry, 'namespace') ?? 'default',
  };
}

/** `contexts: [{name, context: {…}}]` and its siblings. */
function entryOf(document: JsonObject, list: string, name: string, member: string): JsonObject {
  const entries = document[list];
  for (const entry of Array.isArray(entries) ? entries : []) {
    if (!isJsonObject(entry) || entry['name'] !== name) continue;
    const value = entry[member];
    return isJsonObject(value) ? value : {};
  }
  throw new KubeconfigError(`the kubeconfig has no ${member} named "${name}" under ${list}`);
}

function stringOf(object: JsonObject, field: string): string | undefined {
  const value = object[field];
  return typeof value === 'string' ? value : undefined;
}

/** `FIELD-data` (base64) wins over `FIELD` (a path, relative to the kubeconfig). */
async function pemOf(object: JsonObject, field: string, directory: string): Promise<string | undefined> {
  const data = stringOf(object, `${field}-data`);
  if (data !== undefined && data !== '') return Buffer.from(data, 'base64').toString('utf8');
  const path = stringOf(object, field);
  return path === undefined || path === '' ? undefined : readFileOf(resolve(directory, path), field);
}

function resolve(directory: string, path: string): string {
  return isAbsolute(path) ? path : join(directory, path);
}

async function readFileOf(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new KubeconfigError(`cannot read the ${what} at ${path}`, { cause });
  }
}
