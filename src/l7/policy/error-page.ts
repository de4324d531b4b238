import type { ProxyContext } from '../proxy/context.ts';
import { editFields, fieldOfHead, withoutBody } from '../http1/head-edit.ts';
import type { RequestHead } from '../http1/http1-parse.ts';
import type { Route } from '../routes/table.ts';
import type { ErrorPagePolicy } from './policy.ts';
import { SideRequest } from './side-request.ts';

/** A longer page is not shown. */
const pageBytesMax = 1_048_576;
const connectTimeoutMs = 1_000;
const answerTimeoutMs = 10_000;

export type PageShown = (status: number, reason: string, fields: string, body?: Buffer) => void;

/** What one request gets in place of an error: what a backend says that is told of it, under the names that ingress-nginx uses. */
export class ErrorPages {
  readonly #policy: ErrorPagePolicy;
  readonly #route: Route;
  readonly #head: RequestHead;
  #asked: SideRequest | undefined;

  constructor(policy: ErrorPagePolicy, route: Route, head: RequestHead) {
    this.#policy = policy;
    this.#route = route;
    this.#head = head;
  }

  has(status: number): boolean {
    return this.#asked === undefined && this.#policy.codes.has(status);
  }

  /**
   * Asks for the page; `onPage` gets it, or an answer about `status` if there is none. Called once, maybe from inside.
   * @param text the request's head as it would go to the backend
   */
  show(context: ProxyContext, text: string, status: number, reason: string, onPage: PageShown): void {
    const endpoint = context.live.states[this.#policy.backend]?.choose(undefined, undefined, context.nowMs());
    if (endpoint === undefined) {
      onPage(status, reason, '');
      return;
    }
    const options = { connectTimeoutMs, answerTimeoutMs, answerBytesMax: pageBytesMax };
    const question = this.#question(context, text, status);
    this.#asked = new SideRequest(context, endpoint, question, options, (answer) => {
      if (answer === undefined || answer.status < 200) return onPage(status, reason, '');
      const fields = answer.fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
      onPage(answer.status, '', fields, answer.body);
    });
    this.#asked.start();
  }

  #question({ live }: ProxyContext, text: string, status: number): string {
    const { ingress, backend } = this.#route;
    const [namespace = '', name = ''] = ingress.split('/');
    const [, service = '', port = ''] = /\/(.*):(.*)$/.exec(live.table.backends[backend]?.key ?? '') ?? [];
    const { method, authority, target } = this.#head;
    const asked = method === 'HEAD' ? 'HEAD' : 'GET';
    return editFields(withoutBody(text, method, asked, '/'), [
      { name: 'Host', value: authority },
      { name: 'X-Code', value: String(status) },
      { name: 'X-Format', value: fieldOfHead(text, 'accept') ?? '' },
      { name: 'X-Original-URI', value: target },
      { name: 'X-Namespace', value: namespace },
      { name: 'X-Ingress-Name', value: name },
      { name: 'X-Service-Name', value: service },
      { name: 'X-Service-Port', value: port },
    ]);
  }

  /** Nobody waits for it any more. */
  cancel(): void {
    this.#asked?.cancel();
  }
}
