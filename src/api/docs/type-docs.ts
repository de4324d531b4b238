/** Texts by type and field; '' is the type itself. Written for this project; Kubernetes' own are not copied. */
export type TypeDocs = Readonly<Record<string, Readonly<Record<string, string>>>>;
