import { Command } from 'commander';
import { explainDnsCommand } from './explain-dns.ts';
import { explainServiceCommand } from './explain-service.ts';
import { explainUrlCommand } from './explain-url.ts';

/** `fairlead explain`: why traffic goes where it goes. */
export function explainCommand(): Command {
  return new Command('explain')
    .description('tell why traffic goes where it goes')
    .addCommand(explainUrlCommand(), { isDefault: true })
    .addCommand(explainServiceCommand())
    .addCommand(explainDnsCommand());
}
