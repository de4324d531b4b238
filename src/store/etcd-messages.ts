import type { RpcMethod } from '../base/grpc.ts';
import {
  bool,
  bytes,
  int32,
  int64,
  type MessageType,
  message,
  optional,
  repeated,
  uint64,
} from '../base/protobuf.ts';

/** The part of etcd's v3 API that the store uses (etcdserverpb/rpc.proto, mvccpb/kv.proto). Enums travel as int32. */

type Decoded<M> = M extends MessageType<infer T> ? T : never;

export const compareResults = { equal: 0, greater: 1, less: 2, notEqual: 3 } as const;
export const compareTargets = { version: 0, create: 1, modification: 2, value: 3 } as const;
export const eventTypes = { put: 0, delete: 1 } as const;

const header = message({ clusterId: uint64(1), memberId: uint64(2), revision: int64(3) });
const keyValue = message({
  key: bytes(1),
  createRevision: int64(2),
  modRevision: int64(3),
  version: int64(4),
  value: bytes(5),
});
export type EtcdKeyValue = Decoded<typeof keyValue>;

const rangeRequest = message({
  key: bytes(1),
  rangeEnd: bytes(2),
  limit: int64(3),
  revision: int64(4),
  keysOnly: bool(8),
});
const rangeResponse = message({
  header: optional(1, header),
  kvs: repeated(2, keyValue),
  more: bool(3),
  count: int64(4),
});
const putRequest = message({ key: bytes(1), value: bytes(2) });
const putResponse = message({ header: optional(1, header) });
const deleteRequest = message({ key: bytes(1), rangeEnd: bytes(2) });
const requestOperation = message({
  range: optional(1, rangeRequest),
  put: optional(2, putRequest),
  deleteRange: optional(3, deleteRequest),
});
const responseOperation = message({ range: optional(1, rangeResponse) });
const compare = message({ result: int32(1), target: int32(2), key: bytes(3), modRevision: int64(6) });
const transactionRequest = message({
  compare: repeated(1, compare),
  success: repeated(2, requestOperation),
  failure: repeated(3, requestOperation),
});
const transactionResponse = message({
  header: optional(1, header),
  succeeded: bool(2),
  responses: repeated(3, responseOperation),
});
export type EtcdTransactionResponse = Decoded<typeof transactionResponse>;

const event = message({ type: int32(1), current: optional(2, keyValue), previous: optional(3, keyValue) });
export type EtcdEvent = Decoded<typeof event>;

const watchCreateRequest = message({
  key: bytes(1),
  rangeEnd: bytes(2),
  startRevision: int64(3),
  withPrevious: bool(6),
});
const watchRequest = message({ create: optional(1, watchCreateRequest) });
const watchResponse = message({
  header: optional(1, header),
  created: bool(3),
  canceled: bool(4),
  compactRevision: int64(5),
  events: repeated(11, event),
});

function method<Request, Response>(
  path: string,
  request: MessageType<Request>,
  response: MessageType<Response>,
): RpcMethod<Request, Response> {
  return { path: `/etcdserverpb.${path}`, request, response };
}

export const etcdMethods = {
  range: method('KV/Range', rangeRequest, rangeResponse),
  put: method('KV/Put', putRequest, putResponse),
  transaction: method('KV/Txn', transactionRequest, transactionResponse),
  compact: method('KV/Compact', message({ revision: int64(1) }), message({})),
  watch: method('Watch/Watch', watchRequest, watchResponse),
} as const;
