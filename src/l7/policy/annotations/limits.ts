import type { ProxyLimits } from '../../proxy/limits.ts';
import type { AnnotationReader } from './reader.ts';

export function readLimits(reader: AnnotationReader): Partial<ProxyLimits> | undefined {
  const allowed = 'seconds such as 5, or a time such as 500ms, 5s or 2m, from 10ms to 24h';
  const connectMs = reader.read('connect-timeout', allowed, durationMsOf);
  const readMs = reader.read('read-timeout', allowed, durationMsOf);
  const sendMs = reader.read('send-timeout', allowed, durationMsOf);
  const requestMs = reader.read('request-timeout', allowed, durationMsOf);
  const bodyBytes = reader.read('body-size', 'bytes such as 512k, 10m or 1g; 0 for no limit', bytesOf);
  const limits = {
    ...(connectMs === undefined ? {} : { upstreamConnectTimeoutMs: connectMs }),
    ...(readMs === undefined ? {} : { upstreamHeaderTimeoutMs: readMs, upstreamBodyTimeoutMs: readMs }),
    ...(sendMs === undefined ? {} : { upstreamSendTimeoutMs: sendMs }),
    ...(requestMs === undefined ? {} : { requestTimeoutMs: requestMs }),
    ...(bodyBytes === undefined ? {} : { requestBodyBytesMax: bodyBytes }),
  };
  return Object.keys(limits).length === 0 ? undefined : limits;
}

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

export function durationMsOf(value: string): number | undefined {
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h)?$/.exec(value) ?? [];
  const ms = Number(digits) * (unitsMs[unit ?? 's'] ?? 0);
  return ms >= 10 && ms <= 86_400_000 ? ms : undefined;
}

const unitsBytes: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

function bytesOf(value: string): number | undefined {
  const [, digits, unit] = /^(\d{1,12})([kmg]?)$/i.exec(value) ?? [];
  if (digits === undefined) return undefined;
  const bytes = Number(digits) * (unitsBytes[(unit ?? '').toLowerCase()] ?? 1);
  return bytes === 0 ? Number.MAX_SAFE_INTEGER : bytes;
}
