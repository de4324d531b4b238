/** What the proxy's own answers are in gRPC (its status codes; 14 is UNAVAILABLE, which clients may try again). */
export function grpcStatusOf(status: number): number {
  switch (status) {
    case 400:
    case 431:
      return 13; // INTERNAL
    case 401:
      return 16; // UNAUTHENTICATED
    case 403:
      return 7; // PERMISSION_DENIED
    case 404:
      return 12; // UNIMPLEMENTED
    case 413:
      return 8; // RESOURCE_EXHAUSTED
    case 408:
    case 504:
      return 4; // DEADLINE_EXCEEDED
    default:
      return 14; // UNAVAILABLE
  }
}
