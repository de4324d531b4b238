import { type Coding, type CompressionPolicy, compressionDefaults } from '../compression.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn, listOf } from './values.ts';

/** undefined: answers go as they come. */
export function readCompression(reader: AnnotationReader): CompressionPolicy | undefined {
  const codings = reader.read(
    'compression',
    'gzip, br and zstd, separated by commas, the preferred one first',
    (value) => listOf(value, codingOf),
  );
  const bytesMin = reader.read('compression-min-size', 'bytes, 0 to 1000000', integerIn(0, 1_000_000));
  const types = reader.read(
    'compression-types',
    'media types such as text/* or application/json, separated by commas',
    (value) => listOf(value.toLowerCase(), typeOf),
  );
  if (codings === undefined) return undefined;
  return {
    codings,
    bytesMin: bytesMin ?? compressionDefaults.bytesMin,
    types: types ?? compressionDefaults.types,
  };
}

function codingOf(value: string): Coding | undefined {
  return value === 'gzip' || value === 'br' || value === 'zstd' ? value : undefined;
}

function typeOf(value: string): string | undefined {
  return /^[a-z]+\/(\*|[a-z0-9!#$&^_.+-]{1,100})$/.test(value) ? value : undefined;
}
