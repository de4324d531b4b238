// Written by tools/generate-api from the model tables of @kubernetes/client-node. Do not edit by hand.
import type { ObjectMeta } from './meta-v1.ts';

export type ExemptPriorityLevelConfiguration = {
  readonly lendablePercent?: number | undefined;
  readonly nominalConcurrencyShares?: number | undefined;
};

export type FlowDistinguisherMethod = {
  readonly type: string;
};

export type FlowSchema = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly spec?: FlowSchemaSpec | undefined;
  readonly status?: FlowSchemaStatus | undefined;
};

export type FlowSchemaCondition = {
  readonly lastTransitionTime?: string | undefined;
  readonly message?: string | undefined;
  readonly reason?: string | undefined;
  readonly status?: string | undefined;
  readonly type?: string | undefined;
};

export type FlowSchemaSpec = {
  readonly distinguisherMethod?: FlowDistinguisherMethod | undefined;
  readonly matchingPrecedence?: number | undefined;
  readonly priorityLevelConfiguration: PriorityLevelConfigurationReference;
  readonly rules?: readonly PolicyRulesWithSubjects[] | undefined;
};

export type FlowSchemaStatus = {
  readonly conditions?: readonly FlowSchemaCondition[] | undefined;
};

export type GroupSubject = {
  readonly name: string;
};

export type LimitResponse = {
  readonly queuing?: QueuingConfiguration | undefined;
  readonly type: string;
};

export type LimitedPriorityLevelConfiguration = {
  readonly borrowingLimitPercent?: number | undefined;
  readonly lendablePercent?: number | undefined;
  readonly limitResponse?: LimitResponse | undefined;
  readonly nominalConcurrencyShares?: number | undefined;
};

export type NonResourcePolicyRule = {
  readonly nonResourceURLs: readonly string[];
  readonly verbs: readonly string[];
};

export type PolicyRulesWithSubjects = {
  readonly nonResourceRules?: readonly NonResourcePolicyRule[] | undefined;
  readonly resourceRules?: readonly ResourcePolicyRule[] | undefined;
  readonly subjects: readonly Subject[];
};

export type PriorityLevelConfiguration = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly spec?: PriorityLevelConfigurationSpec | undefined;
  readonly status?: PriorityLevelConfigurationStatus | undefined;
};

export type PriorityLevelConfigurationCondition = {
  readonly lastTransitionTime?: string | undefined;
  readonly message?: string | undefined;
  readonly reason?: string | undefined;
  readonly status?: string | undefined;
  readonly type?: string | undefined;
};

export type PriorityLevelConfigurationReference = {
  readonly name: string;
};

export type PriorityLevelConfigurationSpec = {
  readonly exempt?: ExemptPriorityLevelConfiguration | undefined;
  readonly limited?: LimitedPriorityLevelConfiguration | undefined;
  readonly type: string;
};

export type PriorityLevelConfigurationStatus = {
  readonly conditions?: readonly PriorityLevelConfigurationCondition[] | undefined;
};

export type QueuingConfiguration = {
  readonly handSize?: number | undefined;
  readonly queueLengthLimit?: number | undefined;
  readonly queues?: number | undefined;
};

export type ResourcePolicyRule = {
  readonly apiGroups: readonly string[];
  readonly clusterScope?: boolean | undefined;
  readonly namespaces?: readonly string[] | undefined;
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
};

export type ServiceAccountSubject = {
  readonly name: string;
  readonly namespace: string;
};

export type Subject = {
  readonly group?: GroupSubject | undefined;
  readonly kind: string;
  readonly serviceAccount?: ServiceAccountSubject | undefined;
  readonly user?: UserSubject | undefined;
};

export type UserSubject = {
  readonly name: string;
};
