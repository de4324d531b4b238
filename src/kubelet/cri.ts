import { criMethods, type Decoded } from './cri-messages.ts';
import { createGrpcClient, type GrpcClient, type RpcOptions } from '../base/grpc.ts';
import type { MessageType, Partially } from '../base/protobuf.ts';

type Methods = typeof criMethods;
export type CriRequest<M extends keyof Methods> = Partially<Decoded<Methods[M][1]>>;
export type CriResponse<M extends keyof Methods> = Decoded<Methods[M][2]>;

/** CRI v1 as functions: `cri.startContainer({ containerId })`. Every failure is a GrpcError. */
export type Cri = {
  readonly [M in keyof Methods]: (request: CriRequest<M>, options?: RpcOptions) => Promise<CriResponse<M>>;
};

/** How long calls that do more than look may take, ms. The rest has the transport's default. */
const timeoutMsOf: { readonly [M in keyof Methods]?: number } = {
  version: 5_000,
  status: 5_000,
  runPodSandbox: 240_000,
  pullImage: 900_000,
};

export function createCri(client: GrpcClient): Cri {
  const entries = Object.entries(criMethods).map(([name, [service, request, response]]) => {
    const path = `/runtime.v1.${service}/${name.charAt(0).toUpperCase()}${name.slice(1)}`;
    const method = {
      path,
      request: request as MessageType<unknown>,
      response: response as MessageType<unknown>,
    };
    const timeoutMs = timeoutMsOf[name as keyof Methods];
    const call = (body: object, options?: RpcOptions) =>
      client.unary(method, body, { timeoutMs, ...options });
    return [name, call];
  });
  return Object.fromEntries(entries) as Cri;
}

export function connectCri(socketPath: string): { readonly cri: Cri; readonly client: GrpcClient } {
  const client = createGrpcClient({ path: socketPath });
  return { cri: createCri(client), client };
}
