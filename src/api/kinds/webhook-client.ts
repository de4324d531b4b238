import { child, invalid, required } from '../field-errors.ts';
import { objectAt, setDefault, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { portNumberProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';

/** A `clientConfig`: where a webhook of any sort is and which authority signed for it. */

export function defaultClientConfig(holder: JsonObject): void {
  const service = objectAt(holder, 'clientConfig', 'service');
  if (service !== undefined) setDefault(service, 'port', 443);
}

export function validateClientConfig(holder: JsonObject, path: string): readonly FieldError[] {
  const place = child(path, 'clientConfig');
  const config = objectAt(holder, 'clientConfig') ?? {};
  const { url } = config;
  const service = objectAt(config, 'service');
  if ((url === undefined) === (service === undefined)) {
    return [required(place, 'exactly one of url or service is required')];
  }
  const bundle = stringAt(config, 'caBundle');
  const errors = bundle === '' ? [] : validateBundle(bundle, child(place, 'caBundle'));
  return service === undefined
    ? [...errors, ...validateUrl(stringAt(config, 'url'), child(place, 'url'))]
    : [...errors, ...validateService(service, child(place, 'service'))];
}

/** Base64 of PEM certificates; whether they are any is found where they are used. */
export function validateBundle(bundle: string, path: string): readonly FieldError[] {
  const pem = Buffer.from(bundle, 'base64').toString('latin1');
  if (/-----BEGIN CERTIFICATE-----[^]+-----END CERTIFICATE-----/.test(pem)) return [];
  return [invalid(path, '<bundle>', 'unable to load root certificates: unable to parse bytes as PEM block')];
}

const form = '; desired format: https://host[/path]';

function validateUrl(text: string, path: string): readonly FieldError[] {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return [required(path, `url must be a valid URL: cannot parse ${JSON.stringify(text)}${form}`)];
  }
  const errors: FieldError[] = [];
  if (url.protocol !== 'https:') {
    errors.push(invalid(path, url.protocol.slice(0, -1), `'https' is the only allowed URL scheme${form}`));
  }
  if (url.host === '') errors.push(invalid(path, url.host, `host must be specified${form}`));
  if (url.username !== '' || url.password !== '') {
    errors.push(invalid(path, url.username, 'user information is not permitted in the URL'));
  }
  if (url.hash !== '') errors.push(invalid(path, url.hash, 'fragments are not permitted in the URL'));
  if (url.search !== '') {
    errors.push(invalid(path, url.search, 'query parameters are not permitted in the URL'));
  }
  return errors;
}

function validateService(service: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  if (stringAt(service, 'name') === '') {
    errors.push(required(child(path, 'name'), 'service name is required'));
  }
  if (stringAt(service, 'namespace') === '') {
    errors.push(required(child(path, 'namespace'), 'service namespace is required'));
  }
  const port = service['port'] ?? 443;
  errors.push(
    ...portNumberProblems(port).map((problem) =>
      invalid(child(path, 'port'), port, `port is not valid: ${problem}`),
    ),
  );
  const { path: urlPath } = service;
  if (typeof urlPath === 'string') errors.push(...validatePath(urlPath, child(path, 'path')));
  return errors;
}

function validatePath(urlPath: string, place: string): readonly FieldError[] {
  if (urlPath === '/') return [];
  if (urlPath === '//') return [invalid(place, urlPath, 'segment[0] may not be empty')];
  if (!urlPath.startsWith('/')) return [invalid(place, urlPath, "must start with a '/'")];
  const segments = urlPath.slice(1).replace(/\/$/, '').split('/');
  return segments.flatMap((segment, at) =>
    segment === '' ? [invalid(place, urlPath, `segment[${at}] may not be empty`)] : [],
  );
}
