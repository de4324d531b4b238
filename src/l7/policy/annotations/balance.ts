import { type BalancePolicy, defaultBalance, type RetryCause } from '../../balance/balance-policy.ts';
import type { HashBy } from '../policy.ts';
import { durationMsOf } from './limits.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn, listOf, tokenOf } from './values.ts';

export type BalanceRule = {
  /** `defaultBalance` itself if nothing is asked for. */
  readonly balance: BalancePolicy;
  /** undefined: requests are not told apart. */
  readonly hashBy: HashBy | undefined;
};

const durationAllowed = 'seconds such as 5, or a time such as 500ms, 5s or 2m, from 10ms to 24h';

/** How requests are spread over a backend's endpoints, held back and sent again. */
export function readBalance(reader: AnnotationReader): BalanceRule {
  const algorithm = reader.read(
    'load-balance',
    'round-robin, least-request or consistent-hash',
    oneOf(['round-robin', 'least-request', 'consistent-hash'] as const),
  );
  const by = reader.read(
    'hash-by',
    'client-address, uri, path, header:NAME, cookie:NAME or query:NAME',
    hashByOf,
  );
  if (by !== undefined && algorithm !== undefined && algorithm !== 'consistent-hash') {
    reader.bad('hash-by', algorithm, 'allowed: together with load-balance "consistent-hash" only');
  }
  const byClientAddress = reader.peek('affinity') === 'client-ip';
  const hashes = algorithm === 'consistent-hash' || (algorithm === undefined && by !== undefined);
  const asked: BalancePolicy = {
    algorithm: hashes ? 'consistent-hash' : (algorithm ?? 'round-robin'),
    byClientAddress,
    slowStartMs: reader.read('slow-start', durationAllowed, durationMsOf) ?? defaultBalance.slowStartMs,
    outliers: readOutliers(reader),
    endpointRequestsMax:
      reader.read('max-connections', 'an integer, 1 to 1000000', integerIn(1, 1_000_000)) ?? null,
    ...readPending(reader),
    retries: readRetries(reader),
  };
  const same = JSON.stringify(asked) === JSON.stringify(defaultBalance);
  const hashed: HashBy | undefined = hashes ? (by ?? { kind: 'client-address' }) : undefined;
  return {
    balance: same ? defaultBalance : asked,
    hashBy: byClientAddress ? { kind: 'client-address' } : hashed,
  };
}

/** With a bound on requests at an endpoint, some may wait unless it is said otherwise. */
function readPending(reader: AnnotationReader): Pick<BalancePolicy, 'pendingMax' | 'pendingTimeoutMs'> {
  const max = reader.read('max-pending', 'an integer, 0 to 1000000', integerIn(0, 1_000_000));
  const timeoutMs = reader.read('pending-timeout', durationAllowed, durationMsOf);
  const usual = reader.has('max-connections') ? pendingUsual : defaultBalance.pendingMax;
  return { pendingMax: max ?? usual, pendingTimeoutMs: timeoutMs ?? defaultBalance.pendingTimeoutMs };
}

const pendingUsual = 1_024;

function readOutliers(reader: AnnotationReader): BalancePolicy['outliers'] {
  const { errors, ejectionMs, ejectedPercentMax } = defaultBalance.outliers;
  return {
    errors: reader.read('outlier-errors', 'an integer, 1 to 1000', integerIn(1, 1_000)) ?? errors,
    ejectionMs: reader.read('outlier-ejection-time', durationAllowed, durationMsOf) ?? ejectionMs,
    ejectedPercentMax:
      reader.read('outlier-max-ejected', 'percent, 0 to 100', percentOf) ?? ejectedPercentMax,
  };
}

function readRetries(reader: AnnotationReader): BalancePolicy['retries'] {
  const { retriesMax, causes, budgetPercent, budgetFloor } = defaultBalance.retries;
  return {
    retriesMax: reader.read('retries', 'an integer, 0 to 10', integerIn(0, 10)) ?? retriesMax,
    causes:
      reader.read('retry-on', 'reset, timeout and statuses 500 to 599, separated by commas', causesOf) ??
      causes,
    budgetPercent: reader.read('retry-budget', 'percent, 0 to 100', percentOf) ?? budgetPercent,
    budgetFloor:
      reader.read('retry-budget-floor', 'an integer, 0 to 1000000', integerIn(0, 1_000_000)) ?? budgetFloor,
  };
}

function causesOf(value: string): readonly RetryCause[] | undefined {
  return listOf(value, (item) => (item === 'reset' || item === 'timeout' ? item : integerIn(500, 599)(item)));
}

function hashByOf(value: string): HashBy | undefined {
  if (value === 'client-address' || value === 'uri' || value === 'path') return { kind: value };
  const [, kind, name] = /^(header|cookie|query):(.+)$/.exec(value) ?? [];
  if (name === undefined || tokenOf(name) === undefined) return undefined;
  return kind === 'header'
    ? { kind, name: name.toLowerCase() }
    : { kind: kind === 'cookie' ? 'cookie' : 'query', name };
}

function oneOf<T extends string>(allowed: readonly T[]) {
  return (value: string): T | undefined => allowed.find((item) => item === value);
}

function percentOf(value: string): number | undefined {
  return integerIn(0, 100)(value.replace(/%$/, ''));
}

/** Of an EndpointSlice: what its endpoints get compared with others. */
export function weightOf(value: string): number | undefined {
  return integerIn(1, 1_000)(value);
}
