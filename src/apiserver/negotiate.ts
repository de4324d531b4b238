export const protobufMediaType = 'application/vnd.kubernetes.protobuf';
const protobufStreamType = `${protobufMediaType};stream=watch`;

/** In which form the client wants its objects. */
export type Form = {
  readonly as: 'object' | 'table' | 'metadata';
  /** Of meta.k8s.io, for tables and metadata. */
  readonly metaVersion: 'v1' | 'v1beta1';
  readonly contentType: string;
  /** Of a watch: Kubernetes leaves out what the events are shown as. */
  readonly streamType: string;
  readonly protobuf: boolean;
};

const plainForm: Form = {
  as: 'object',
  metaVersion: 'v1',
  contentType: 'application/json',
  streamType: 'application/json',
  protobuf: false,
};

const protobufForm: Form = {
  as: 'object',
  metaVersion: 'v1',
  contentType: protobufMediaType,
  streamType: protobufStreamType,
  protobuf: true,
};

export const servedMediaTypes = ['application/json', protobufMediaType] as const;

/** One element of an Accept header. */
export type MediaRange = {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
};

/** More elements than these are not looked at. */
export const mediaRangesMax = 32;

/** Best first: by quality, then in the order written. An absent header accepts everything. */
export function parseAccept(header: string | undefined): readonly MediaRange[] {
  const text = header === undefined || header.trim() === '' ? '*/*' : header;
  const ranges = text.split(',', mediaRangesMax).map(parseRange);
  return ranges.filter((range) => range.quality > 0).toSorted((a, b) => b.quality - a.quality);
}

function parseRange(text: string): MediaRange {
  const [type = '', ...rest] = text.split(';').map((part) => part.trim());
  const parameters = new Map<string, string>();
  for (const part of rest) {
    const equals = part.indexOf('=');
    if (equals > 0) parameters.set(part.slice(0, equals).toLowerCase(), part.slice(equals + 1));
  }
  const quality = Number(parameters.get('q') ?? '1');
  return { type: type.toLowerCase(), parameters, quality: Number.isFinite(quality) ? quality : 0 };
}

export function acceptsJson(type: string): boolean {
  return type === 'application/json' || type === 'application/*' || type === '*/*';
}

/** Whether the client may want protobuf: a cheap look, before anything is loaded for it. */
export function mentionsProtobuf(header: string | undefined): boolean {
  return header?.includes(protobufMediaType) === true;
}

/**
 * The first form of the Accept header that we have; undefined: none, answer 406. `protobuf`: the kind has that form. As in
 * Kubernetes the metadata of every kind has it, and no Table. `tables` is false for kinds that have none.
 */
export function negotiateForm(
  header: string | undefined,
  { protobuf = false, tables = true }: { readonly protobuf?: boolean; readonly tables?: boolean } = {},
): Form | undefined {
  for (const { type, parameters } of parseAccept(header)) {
    const asProtobuf = type === protobufMediaType;
    if (!asProtobuf && !acceptsJson(type)) continue;
    const as = parameters.get('as');
    if (as === undefined) {
      if (!asProtobuf) return plainForm;
      if (protobuf) return protobufForm;
      continue;
    }
    const metaVersion = parameters.get('v');
    if (parameters.get('g') !== 'meta.k8s.io' || (metaVersion !== 'v1' && metaVersion !== 'v1beta1'))
      continue;
    const mediaType = asProtobuf ? protobufMediaType : 'application/json';
    const form = {
      metaVersion,
      contentType: `${mediaType};g=meta.k8s.io;v=${metaVersion};as=${as}`,
      streamType: asProtobuf ? protobufStreamType : 'application/json',
      protobuf: asProtobuf,
    } as const;
    if (as === 'Table' && tables && !asProtobuf) return { as: 'table', ...form };
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') {
      return { as: 'metadata', ...form };
    }
  }
  return undefined;
}
