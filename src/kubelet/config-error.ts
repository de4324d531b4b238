/** A container cannot be configured as its Pod asks: shown as reason CreateContainerConfigError, and tried again. */
export class ContainerConfigError extends Error {
  override readonly name = 'ContainerConfigError';
}

/** Something that a volume needs is not there (yet): shown as a FailedMount event, and tried again. */
export class MountError extends Error {
  override readonly name = 'MountError';
}
