import type { TypeDocs } from './type-docs.ts';

/** What `kubectl explain` tells of the parts that all kinds share. */
export const metaDocs: TypeDocs = {
  'meta/v1.ObjectMeta': {
    '': 'What every stored object has: its identity, its labels, and how it came and goes.',
    annotations: 'Free-form notes of tools and people by key. Selectors do not look at them.',
    creationTimestamp:
      'CreationTimestamp is a timestamp of when the server made the object. Set by the server.',
    deletionGracePeriodSeconds: 'How long the object may still take to end, in seconds. Set by the server.',
    deletionTimestamp:
      'Since when the object is being deleted; it goes when no finalizer is left. Set by the server.',
    finalizers:
      'Names of those who must finish their work before the object goes. Each takes its own name away.',
    generateName: 'A prefix that the server completes to a free name, where name is left out.',
    generation: 'Counts the changes of what is wanted, not of the status. Set by the server.',
    labels: 'Short facts by key that selectors match: letters, digits, dashes, dots and underscores.',
    managedFields: 'Which manager owns which fields, for server-side apply. Kept by the server.',
    name: 'Unique for its kind within the namespace, or within the cluster. Cannot be changed.',
    namespace: 'The namespace that the object lives in. Cannot be changed.',
    ownerReferences: 'Objects that this one belongs to. When all of them are gone it is deleted, too.',
    resourceVersion:
      'Changes with every write. Sent back in an update, it makes sure that nobody wrote meanwhile.',
    selfLink: 'Not set any more.',
    uid: 'Unique for all times and all clusters. Set by the server.',
  },
  'meta/v1.OwnerReference': {
    '': 'Points at the owner of an object.',
    apiVersion: 'Group and version of the owner, as in apps/v1.',
    blockOwnerDeletion: 'True: an owner that is deleted in the foreground waits until this object is gone.',
    controller: 'True for the one owner that manages this object.',
    kind: 'Kind of the owner.',
    name: 'Name of the owner, in the same namespace or cluster-scoped.',
    uid: 'Uid of the owner: another object of its name is not meant.',
  },
  'meta/v1.LabelSelector': {
    '': 'Chooses objects by their labels; all that is said must hold. An empty selector chooses everything.',
    matchExpressions: 'Requirements with an operator and values.',
    matchLabels: 'Labels that must be there with exactly these values.',
  },
  'meta/v1.LabelSelectorRequirement': {
    '': 'One requirement on a label.',
    key: 'The label that is looked at.',
    operator: 'In, NotIn, Exists or DoesNotExist.',
    values: 'Values for In and NotIn; empty for the others.',
  },
  'meta/v1.Condition': {
    '': 'One aspect of the state of an object, and since when it is so.',
    lastTransitionTime: 'When the status last changed.',
    message: 'Details for people.',
    observedGeneration: 'The generation of the object that the condition speaks about.',
    reason: 'One word for programs that says why.',
    status: 'True, False or Unknown.',
    type: 'The aspect, as in Ready.',
  },
  'meta/v1.ListMeta': {
    '': 'What a list says of itself.',
    continue: 'Given where there is more: sent back, it gets the next page of the same moment.',
    remainingItemCount: 'How many objects are left behind this page.',
    resourceVersion: 'The moment that the list shows; watches continue from here.',
  },
  'autoscaling/v1.Scale': {
    '': 'The number of replicas of an object that can be scaled.',
    spec: 'The wanted number.',
    status: 'The present number, and which Pods are counted.',
  },
};
