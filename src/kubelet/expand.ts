/**
 * Replaces `$(NAME)` by the variable's value; `$$(NAME)` stays as `$(NAME)`, an unknown name stays as it is.
 * Spec: Kubernetes, EnvVar.value and Container.command.
 */
export function expandVariables(text: string, variables: Pick<ReadonlyMap<string, string>, 'get'>): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (whole, after: string, name: string | undefined) => {
    if (after === '$') return '$';
    return name === undefined ? whole : (variables.get(name) ?? whole);
  });
}
