/**
 * The forms of names in Kubernetes, each as "what is wrong with this text": [] when nothing is.
 * The texts are those that users of kubectl know (apimachinery pkg/util/validation).
 */

export const dnsLabelLengthMax = 63;
export const dnsSubdomainLengthMax = 253;

const dnsLabel = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const dnsSubdomain = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const searchDomain = /^[a-z0-9_](?:[-a-z0-9_]*[a-z0-9_])?(?:\.[a-z0-9_](?:[-a-z0-9_]*[a-z0-9_])?)*$/;
const dns1035Label = /^[a-z](?:[-a-z0-9]*[a-z0-9])?$/;
const qualifiedPart = /^(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;

const labelHint =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const subdomainHint =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const searchHint =
  "a search domain consists of lower case alphanumeric characters, '-', '_' or '.', and its labels start and end with an alphanumeric character or '_' (e.g. 'example.com' or '_tcp.example.com')";
const label1035Hint =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const wildcardHint =
  "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

function lengthProblem(lengthMax: number): string {
  return `must be no more than ${lengthMax} characters`;
}

function byForm(text: string, lengthMax: number, form: RegExp, hint: string): readonly string[] {
  const problems: string[] = [];
  if (text.length > lengthMax) problems.push(lengthProblem(lengthMax));
  if (!form.test(text)) problems.push(hint);
  return problems;
}

export function dnsLabelProblems(text: string): readonly string[] {
  return byForm(text, dnsLabelLengthMax, dnsLabel, labelHint);
}

export function dnsSubdomainProblems(text: string): readonly string[] {
  return byForm(text, dnsSubdomainLengthMax, dnsSubdomain, subdomainHint);
}

/** A domain that names are searched in: as a subdomain, and "_" where a service's labels have it. */
export function searchDomainProblems(text: string): readonly string[] {
  return byForm(text, dnsSubdomainLengthMax, searchDomain, searchHint);
}

export function dns1035LabelProblems(text: string): readonly string[] {
  return byForm(text, dnsLabelLengthMax, dns1035Label, label1035Hint);
}

/** `*.example.com`, one leading wildcard label. */
export function wildcardSubdomainProblems(text: string): readonly string[] {
  const isForm = text.startsWith('*.') && dnsSubdomain.test(text.slice(2));
  const problems: string[] = [];
  if (text.length > dnsSubdomainLengthMax) problems.push(lengthProblem(dnsSubdomainLengthMax));
  if (!isForm) problems.push(wildcardHint);
  return problems;
}

/** A name that stands as one segment in a URL; for RBAC and the like. */
export function pathSegmentProblems(text: string): readonly string[] {
  if (text === '.' || text === '..') return [`may not be '${text}'`];
  return ['/', '%'].filter((sign) => text.includes(sign)).map((sign) => `may not contain '${sign}'`);
}

const qualifiedHint =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const labelValueHint =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/** Keys of labels and annotations, taints, finalizers: `name` or `example.com/name`. */
export function labelKeyProblems(key: string): readonly string[] {
  const parts = key.split('/');
  if (parts.length > 2) {
    return [
      "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
    ];
  }
  const problems: string[] = [];
  const name = parts.at(-1) ?? '';
  const prefix = parts.length === 2 ? parts[0] : undefined;
  if (prefix === '') problems.push('prefix part must be non-empty');
  else if (prefix !== undefined) {
    problems.push(...dnsSubdomainProblems(prefix).map((problem) => `prefix part ${problem}`));
  }
  if (name === '') problems.push('name part must be non-empty');
  else if (name.length > dnsLabelLengthMax) problems.push(`name part ${lengthProblem(dnsLabelLengthMax)}`);
  if (!qualifiedPart.test(name)) problems.push(qualifiedHint);
  return problems;
}

export function labelValueProblems(value: string): readonly string[] {
  const problems: string[] = [];
  if (value.length > dnsLabelLengthMax) problems.push(lengthProblem(dnsLabelLengthMax));
  if (value !== '' && !qualifiedPart.test(value)) problems.push(labelValueHint);
  return problems;
}

/** Names of container ports (IANA service names). */
export function portNameProblems(name: string): readonly string[] {
  const problems: string[] = [];
  if (name.length > 15) problems.push('must be no more than 15 characters');
  if (!/^[-a-z0-9]+$/.test(name)) {
    problems.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  }
  if (!/[a-z]/.test(name)) problems.push('must contain at least one letter (a-z)');
  if (name.includes('--')) problems.push('must not contain consecutive hyphens');
  if (name.startsWith('-') || name.endsWith('-')) problems.push('must not begin or end with a hyphen');
  return problems;
}

export function portNumberProblems(port: unknown): readonly string[] {
  const isPort = typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65_535;
  return isPort ? [] : ['must be between 1 and 65535, inclusive'];
}

/** Keys of ConfigMaps and Secrets: file names. */
export function configKeyProblems(key: string): readonly string[] {
  const problems: string[] = [];
  if (key.length > dnsSubdomainLengthMax) problems.push(lengthProblem(dnsSubdomainLengthMax));
  if (!/^[-._a-zA-Z0-9]+$/.test(key)) {
    problems.push(
      "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    );
  }
  if (key === '.') problems.push("must not be '.'");
  else if (key === '..') problems.push("must not be '..'");
  else if (key.startsWith('..')) problems.push("must not start with '..'");
  return problems;
}

/** Environment variable names: printable ASCII without `=`. */
export function envVarNameProblems(name: string): readonly string[] {
  if (/^[\x20-\x3c\x3e-\x7e]+$/.test(name)) return [];
  return ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}

const ipv4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.|$)){4}$/;

export function isIPv4(text: string): boolean {
  return ipv4.test(text) && !text.endsWith('.');
}

/** RFC 4291 text form, with an optional dotted quad at the end; no zone. */
export function isIPv6(text: string): boolean {
  const halves = text.split('::');
  if (halves.length > 2 || text === '') return false;
  const groups = (half: string | undefined): readonly string[] =>
    half === undefined || half === '' ? [] : half.split(':');
  const all = [...groups(halves[0]), ...groups(halves[1])];
  const last = all.at(-1) ?? '';
  const hasQuad = last.includes('.');
  if (hasQuad && !(isIPv4(last) && text.endsWith(last))) return false;
  const hex = hasQuad ? all.slice(0, -1) : all;
  if (!hex.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return false;
  const count = hex.length + (hasQuad ? 2 : 0);
  return halves.length === 2 ? count < 8 : count === 8;
}

export function ipProblems(text: string): readonly string[] {
  if (isIPv4(text) || isIPv6(text)) return [];
  return ['must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'];
}

export function cidrProblems(text: string): readonly string[] {
  const [address = '', length, ...rest] = text.split('/');
  const bits = isIPv4(address) ? 32 : isIPv6(address) ? 128 : -1;
  const isForm = rest.length === 0 && length !== undefined && /^(?:0|[1-9]\d{0,2})$/.test(length);
  if (isForm && Number(length) <= bits) return [];
  return ['must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'];
}
