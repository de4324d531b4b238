/**
 * Kubernetes quantities: a decimal number with a binary (Ki), decimal (k, m) or exponent suffix. Held exactly as an
 * integer of nano-units, which is the finest grain that Kubernetes keeps (finer values round away from zero).
 */
export type Quantity = {
  /** The value times 10⁹. */
  readonly nanos: bigint;
  readonly format: 'decimal' | 'binary' | 'exponent';
};

const form = /^([+-]?)(\d*)(?:\.(\d*))?(?:([eE][+-]?\d+)|(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E))?$/;
const binarySuffixes = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'] as const;
const decimalSuffixes: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  '': 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const decimalNames = new Map(Object.entries(decimalSuffixes).map(([name, exponent]) => [exponent, name]));
/** Largest exponent either way; beyond it the text is refused instead of growing without bound. */
const exponentMax = 100;
const nano = 1_000_000_000n;

/** Undefined when the text is no quantity. */
export function parseQuantity(text: string): Quantity | undefined {
  const found = form.exec(text);
  if (found === null) return undefined;
  const [, sign = '', whole = '', fraction = '', exponent, suffix = ''] = found;
  if (whole === '' && fraction === '') return undefined;
  const digits = BigInt(`${whole}${fraction}`);
  const signed = sign === '-' ? -digits : digits;
  const binary = binarySuffixes.indexOf(suffix as 'Ki');
  if (suffix !== '' && binary > 0) {
    const nanos = divideAwayFromZero(signed * nano * 1024n ** BigInt(binary), 10n ** BigInt(fraction.length));
    return { nanos, format: 'binary' };
  }
  const power = exponent === undefined ? (decimalSuffixes[suffix] ?? 0) : Number(exponent.slice(1));
  if (Math.abs(power) > exponentMax) return undefined;
  const scale = power - fraction.length + 9;
  const nanos =
    scale >= 0 ? signed * 10n ** BigInt(scale) : divideAwayFromZero(signed, 10n ** BigInt(-scale));
  return { nanos, format: exponent === undefined ? 'decimal' : 'exponent' };
}

function divideAwayFromZero(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  if (value % by === 0n) return quotient;
  return value < 0n ? quotient - 1n : quotient + 1n;
}

/**
 * The canonical text: no fraction, the largest suffix that leaves an integer (`1500m` stays, `1000m` → `1`,
 * `1024Mi` → `1Gi`, `0.5` → `500m`).
 */
export function formatQuantity({ nanos, format }: Quantity): string {
  if (nanos === 0n) return '0';
  const isBinary = format === 'binary' && nanos % nano === 0n && absolute(nanos) >= 1024n * nano;
  if (isBinary) {
    let value = nanos / nano;
    let step = 0;
    while (value % 1024n === 0n && step < binarySuffixes.length - 1) {
      value /= 1024n;
      step++;
    }
    return `${value}${binarySuffixes[step]}`;
  }
  let value = nanos;
  let exponent = -9;
  while (value % 1000n === 0n && exponent < 18) {
    value /= 1000n;
    exponent += 3;
  }
  if (format === 'exponent' && exponent > 0) return `${value}e${exponent}`;
  return `${value}${decimalNames.get(exponent) ?? ''}`;
}

function absolute(value: bigint): bigint {
  return value < 0n ? -value : value;
}

/** The canonical form of a text; the text itself when it is no quantity. */
export function canonicalQuantity(text: string): string {
  const quantity = parseQuantity(text);
  return quantity === undefined ? text : formatQuantity(quantity);
}

/** Below, equal or above zero as `a` is less than, equal to or more than `b`. */
export function compareQuantities(a: Quantity, b: Quantity): number {
  return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0;
}

export function addQuantities(a: Quantity, b: Quantity): Quantity {
  return { nanos: a.nanos + b.nanos, format: a.nanos === 0n ? b.format : a.format };
}

/** As a plain number of units (cores, bytes); loses precision beyond 2⁵³. */
export function quantityToNumber({ nanos }: Quantity): number {
  return Number(nanos) / 1e9;
}

/** In thousandths, rounded up: CPU in millicores. */
export function quantityToMillis({ nanos }: Quantity): number {
  return Number(divideAwayFromZero(nanos, 1_000_000n));
}
