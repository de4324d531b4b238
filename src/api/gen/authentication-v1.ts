// Written by tools/generate-api from the model tables of @kubernetes/client-node. Do not edit by hand.
import type { ObjectMeta } from './meta-v1.ts';

export type BoundObjectReference = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly name?: string | undefined;
  readonly uid?: string | undefined;
};

export type SelfSubjectReview = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly status?: SelfSubjectReviewStatus | undefined;
};

export type SelfSubjectReviewStatus = {
  readonly userInfo?: UserInfo | undefined;
};

export type TokenRequest = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly spec?: TokenRequestSpec | undefined;
  readonly status?: TokenRequestStatus | undefined;
};

export type TokenRequestSpec = {
  readonly audiences?: readonly string[] | undefined;
  readonly boundObjectRef?: BoundObjectReference | undefined;
  readonly expirationSeconds?: number | undefined;
};

export type TokenRequestStatus = {
  readonly expirationTimestamp?: string | undefined;
  readonly token?: string | undefined;
};

export type TokenReview = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly spec: TokenReviewSpec;
  readonly status?: TokenReviewStatus | undefined;
};

export type TokenReviewSpec = {
  readonly audiences?: readonly string[] | undefined;
  readonly token: string;
};

export type TokenReviewStatus = {
  readonly audiences?: readonly string[] | undefined;
  readonly authenticated?: boolean | undefined;
  readonly error?: string | undefined;
  readonly user?: UserInfo | undefined;
};

export type UserInfo = {
  readonly extra?: { readonly [key: string]: readonly string[] } | undefined;
  readonly groups?: readonly string[] | undefined;
  readonly uid?: string | undefined;
  readonly username?: string | undefined;
};
