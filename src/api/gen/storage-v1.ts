// Written by tools/generate-api from the model tables of @kubernetes/client-node. Do not edit by hand.
import type { PersistentVolumeSpec, TopologySelectorTerm } from './core-v1.ts';
import type { LabelSelector, ObjectMeta } from './meta-v1.ts';

export type CSIDriver = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly spec: CSIDriverSpec;
};

export type CSIDriverSpec = {
  readonly attachRequired?: boolean | undefined;
  readonly fsGroupPolicy?: string | undefined;
  readonly nodeAllocatableUpdatePeriodSeconds?: number | undefined;
  readonly podInfoOnMount?: boolean | undefined;
  readonly preventPodSchedulingIfMissing?: boolean | undefined;
  readonly requiresRepublish?: boolean | undefined;
  readonly seLinuxMount?: boolean | undefined;
  readonly serviceAccountTokenInSecrets?: boolean | undefined;
  readonly storageCapacity?: boolean | undefined;
  readonly tokenRequests?: readonly TokenRequest[] | undefined;
  readonly volumeLifecycleModes?: readonly string[] | undefined;
};

export type CSINode = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly spec: CSINodeSpec;
};

export type CSINodeDriver = {
  readonly allocatable?: VolumeNodeResources | undefined;
  readonly name: string;
  readonly nodeID: string;
  readonly topologyKeys?: readonly string[] | undefined;
};

export type CSINodeSpec = {
  readonly drivers: readonly CSINodeDriver[];
};

export type CSIStorageCapacity = {
  readonly apiVersion?: string | undefined;
  readonly capacity?: string | undefined;
  readonly kind?: string | undefined;
  readonly maximumVolumeSize?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly nodeTopology?: LabelSelector | undefined;
  readonly storageClassName: string;
};

export type StorageClass = {
  readonly allowVolumeExpansion?: boolean | undefined;
  readonly allowedTopologies?: readonly TopologySelectorTerm[] | undefined;
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly mountOptions?: readonly string[] | undefined;
  readonly parameters?: { readonly [key: string]: string } | undefined;
  readonly provisioner: string;
  readonly reclaimPolicy?: string | undefined;
  readonly volumeBindingMode?: string | undefined;
};

export type TokenRequest = {
  readonly audience: string;
  readonly expirationSeconds?: number | undefined;
};

export type VolumeAttachment = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly spec: VolumeAttachmentSpec;
  readonly status?: VolumeAttachmentStatus | undefined;
};

export type VolumeAttachmentSource = {
  readonly inlineVolumeSpec?: PersistentVolumeSpec | undefined;
  readonly persistentVolumeName?: string | undefined;
};

export type VolumeAttachmentSpec = {
  readonly attacher: string;
  readonly nodeName: string;
  readonly source: VolumeAttachmentSource;
};

export type VolumeAttachmentStatus = {
  readonly attachError?: VolumeError | undefined;
  readonly attached: boolean;
  readonly attachmentMetadata?: { readonly [key: string]: string } | undefined;
  readonly detachError?: VolumeError | undefined;
};

export type VolumeError = {
  readonly errorCode?: number | undefined;
  readonly message?: string | undefined;
  readonly time?: string | undefined;
};

export type VolumeNodeResources = {
  readonly count?: number | undefined;
};
