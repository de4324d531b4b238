import type { AnnotationReader } from './reader.ts';
import { listOf } from './values.ts';

/** How the paths of an Ingress are read, and which other hosts lead to it. */
export type PathRules = {
  /** Paths of type ImplementationSpecific are regular expressions. undefined: they are prefixes. */
  readonly regex: 'match-case' | 'ignore-case' | undefined;
  /** Hosts that get the routes of this Ingress's hosts, unless they have rules of their own. */
  readonly hostAliases: readonly string[];
  /** `www.a.example` is sent to `a.example`, or the other way round. */
  readonly wwwRedirect: boolean;
};

const hostsMax = 32;

export function readPaths(reader: AnnotationReader): PathRules {
  const regex = reader.read('path-regex', '"true", "ignore-case" or "false"', (value) =>
    value === 'true' ? 'match-case' : value === 'ignore-case' || value === 'false' ? value : undefined,
  );
  const aliases = reader.read(
    'host-aliases',
    `at most ${hostsMax} host names, which may begin with "*.", separated by commas`,
    (value) => {
      const hosts = listOf(value, hostOf);
      return hosts === undefined || hosts.length > hostsMax ? undefined : hosts;
    },
  );
  return {
    regex: regex === 'false' ? undefined : regex,
    hostAliases: aliases ?? [],
    wwwRedirect: reader.flag('www-redirect'),
  };
}

function hostOf(value: string): string | undefined {
  const host = value.toLowerCase();
  return /^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(host) &&
    host.length <= 253
    ? host
    : undefined;
}

/** What the whole path becomes: a path whose $1 to $9 stand for the groups of the rule's regular expression. */
export function rewritePathOf(value: string): string | undefined {
  return /^(\/|\$[1-9])[A-Za-z0-9\-._~%!$&'()*+,;=:@/?]*$/.test(value) && value.length <= 1024
    ? value
    : undefined;
}
