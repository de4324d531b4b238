/** What options of `fairlead ingress` may stand together: one that would do nothing is a mistake, and better told than obeyed. */
import { type Command, InvalidArgumentError } from 'commander';

/** By the name of the option as commander has it. */
const clusterOnly: Readonly<Record<string, string>> = {
  kubeconfig: '--kubeconfig',
  ingressClass: '--ingress-class',
  controllerName: '--controller-name',
  createIngressClass: '--create-ingress-class',
  publishService: '--publish-service',
  lease: '--lease',
  nginxAnnotations: '--nginx-annotations',
  nginxAllowedHeaders: '--nginx-allowed-headers',
};

/** @throws InvalidArgumentError that says what is wrong and what to do */
export function checkOptions(command: Command): void {
  const given = (name: string): boolean => command.getOptionValueSource(name) === 'cli';
  if (given('config')) {
    const idle = Object.entries(clusterOnly).filter(([name]) => given(name));
    if (idle.length > 0) {
      const options = idle.map(([, option]) => option).join(', ');
      throw new InvalidArgumentError(
        `--config is for work without a cluster, where there is nothing for ${options}: leave out the one or the other.`,
      );
    }
  }
  if (given('proxyProtocol') && !given('trustedProxies')) {
    throw new InvalidArgumentError(
      '--proxy-protocol believes only proxies that are known: add --trusted-proxies with their ranges.',
    );
  }
  if (given('nginxAllowedHeaders') && !given('nginxAnnotations')) {
    throw new InvalidArgumentError(
      '--nginx-allowed-headers is about an annotation of ingress-nginx: add --nginx-annotations.',
    );
  }
  if (given('accessLogSample') && !given('accessLog')) {
    throw new InvalidArgumentError('--access-log-sample is a share of the access log: add --access-log.');
  }
}
