import { createHash } from 'node:crypto';
import type { PolicyAnswer } from './admit.ts';
import type { ProxyContext } from '../proxy/context.ts';
import { editFields, withoutBody } from '../http1/head-edit.ts';
import type { RequestHead } from '../http1/http1-parse.ts';
import type { ProxyLimits } from '../proxy/limits.ts';
import type { FieldEdit, ForwardAuthPolicy } from './policy.ts';
import { matchRoute } from '../routes/match.ts';
import { rewrittenTarget } from '../routes/rewrite.ts';
import { fillTemplate, type Template, type VariableSource, variablesOf } from './request-variables.ts';
import { type SideAnswer, SideRequest } from './side-request.ts';

/** The service lets the request through, with these fields in place of the client's. */
export type AuthPassed = {
  readonly kind: 'passed';
  readonly fields: readonly FieldEdit[];
  readonly cookies: string;
};

export type AuthVerdict = AuthPassed | PolicyAnswer;

/** What is asked about: a client's request. */
export type AuthSubject = {
  readonly head: RequestHead;
  /** Its head as it would go to the backend. */
  readonly text: string;
  readonly scheme: string;
  readonly clientAddress: string;
  readonly ingress: string;
  /** Values of `cacheFields`, in their order. */
  readonly cacheValues: readonly string[];
  readonly limits: ProxyLimits;
};

/**
 * Asks the service; `onVerdict` is called once, maybe from inside. The result gives up asking.
 * A service that cannot be asked lets nobody in.
 */
export function askForwardAuth(
  context: ProxyContext,
  policy: ForwardAuthPolicy,
  subject: AuthSubject,
  onVerdict: (verdict: AuthVerdict) => void,
): () => void {
  const nowMs = context.nowMs();
  const said = variablesOf(subject.head, subject);
  const place = placeOf(policy, subject.head, fillTemplate(policy.path, said), context);
  const key = policy.cacheMs === 0 ? undefined : cacheKeyOf(place, subject);
  const known = key === undefined ? undefined : context.policyStates.authPassed(key, nowMs);
  const endpoint = context.live.states[place.backend]?.choose(undefined, undefined, nowMs);
  if (known !== undefined || endpoint === undefined) {
    onVerdict(known ?? unavailable('there is nobody to ask whether this request may pass'));
    return () => {};
  }
  const { upstreamConnectTimeoutMs, upstreamHeaderTimeoutMs } = subject.limits;
  const timeouts = { connectTimeoutMs: upstreamConnectTimeoutMs, answerTimeoutMs: upstreamHeaderTimeoutMs };
  const request = new SideRequest(
    context,
    endpoint,
    questionOf(policy, subject, said, place),
    timeouts,
    (answer) => {
      const verdict = verdictOf(policy, subject, said, answer);
      if (key !== undefined && verdict.kind === 'passed') {
        context.policyStates.rememberAuth(key, verdict, context.nowMs() + policy.cacheMs);
      }
      onVerdict(verdict);
    },
  );
  request.start();
  return () => request.cancel();
}

/** Secrets are not kept: only a hash of what the service has seen. */
function cacheKeyOf(place: Place, { ingress, cacheValues }: AuthSubject): string {
  const { backend, authority, target } = place;
  return createHash('sha256')
    .update(JSON.stringify([ingress, backend, authority, target, ...cacheValues]))
    .digest('base64');
}

type Place = { readonly backend: number; readonly authority: string; readonly target: string };

/** Where the question goes. A path of the request's own host goes straight to who serves it, past the policy of its route. */
function placeOf(
  { backend, authority }: ForwardAuthPolicy,
  head: RequestHead,
  target: string,
  { live }: ProxyContext,
): Place {
  if (backend !== 'itself') return { backend, authority, target };
  const path = target.split('?', 1)[0]!;
  const route = matchRoute(live.table, head.host, path);
  const rewritten =
    route?.policy === undefined ? target : rewrittenTarget(route, route.policy, { ...head, target, path });
  return { backend: route?.backend ?? -1, authority: head.authority, target: rewritten };
}

/** The client's head without its body, for the service's own host and path. */
function questionOf(
  policy: ForwardAuthPolicy,
  { head, text, scheme }: AuthSubject,
  said: VariableSource,
  { authority, target }: Place,
): string {
  const question = withoutBody(text, head.method, policy.method, target);
  const url = `${scheme}://${head.authority}${head.target}`;
  const redirect = policy.requestRedirect;
  return editFields(question, [
    { name: 'Host', value: authority },
    { name: 'X-Original-URL', value: url },
    { name: 'X-Original-Method', value: head.method },
    { name: 'X-Forwarded-Method', value: head.method },
    { name: 'X-Forwarded-Uri', value: head.target },
    {
      name: 'X-Auth-Request-Redirect',
      value: redirect === undefined ? head.target : fillTemplate(redirect, said),
    },
    ...policy.requestFields.map(({ name, value }) => ({ name, value: fillTemplate(value, said) })),
    ...(policy.method === 'POST' ? [{ name: 'Content-Length', value: '0' }] : []),
  ]);
}

function verdictOf(
  policy: ForwardAuthPolicy,
  subject: AuthSubject,
  said: VariableSource,
  answer: SideAnswer | undefined,
): AuthVerdict {
  if (answer === undefined)
    return unavailable('whoever decides whether this request may pass does not answer');
  const { status, fields } = answer;
  const linesOf = (...names: readonly string[]): string =>
    fields
      .filter(([name]) => names.includes(name))
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('');
  if (status >= 200 && status < 300) {
    const passed = policy.answerFields.map((name) => ({
      name,
      value: fields.find(([other]) => other === name)?.[1] ?? '', // what the client claims of itself does not pass
    }));
    return { kind: 'passed', fields: passed, cookies: linesOf('set-cookie') };
  }
  const cookies = linesOf('set-cookie');
  if (status === 401 && policy.signin !== undefined) {
    const location = `Location: ${signinUrl(policy, policy.signin, subject, said)}\r\n`;
    return { kind: 'answer', status: 302, reason: 'sign in first', fields: `${location}${cookies}` };
  }
  if (status >= 300 && status < 500) {
    const told = linesOf('www-authenticate', 'location');
    return { kind: 'answer', status, reason: 'this request may not pass', fields: `${told}${cookies}` };
  }
  return unavailable('whoever decides whether this request may pass has failed');
}

function unavailable(reason: string): PolicyAnswer {
  return { kind: 'answer', status: 503, reason, fields: '' };
}

/** With the way back as a query parameter, unless the URL says itself where it stands. */
function signinUrl(
  { signinParameter }: ForwardAuthPolicy,
  signin: Template,
  { head, scheme }: AuthSubject,
  said: VariableSource,
): string {
  const url = fillTemplate(signin, said);
  if (new RegExp(`[?&]${signinParameter.replaceAll(/[^A-Za-z0-9_-]/g, '\\$&')}=`).test(url)) return url;
  const back = encodeURIComponent(`${scheme}://${head.authority}${head.target}`);
  return `${url}${url.includes('?') ? '&' : '?'}${signinParameter}=${back}`;
}
