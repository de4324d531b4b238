import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DnsMetrics } from './metrics.ts';
import { rcodes, rrTypes } from './wire.ts';

async function exposed(metrics: DnsMetrics): Promise<string> {
  return (await metrics.createRegistry('dns://:53')).metrics();
}

describe('metrics', () => {
  test('what dashboards of CoreDNS ask for is there under its names and labels', async () => {
    const metrics = new DnsMetrics();
    metrics.request('udp', 4, rrTypes.A, 60, true);
    metrics.response('kubernetes', rcodes.NOERROR, 0.3, 'udp', 120);
    metrics.request('tcp', 6, 9999, 700, false);
    metrics.response('forward', rcodes.NXDOMAIN, 9000, 'tcp', 70_000);
    metrics.cacheEntries = () => ({ success: 3, denial: 2 });
    const text = await exposed(metrics);
    for (const line of [
      'coredns_dns_requests_total{server="dns://:53",zone=".",view="",proto="udp",family="1",type="A"} 1',
      'coredns_dns_requests_total{server="dns://:53",zone=".",view="",proto="tcp",family="2",type="other"} 1',
      'coredns_dns_responses_total{server="dns://:53",zone=".",view="",rcode="NOERROR",plugin="kubernetes"} 1',
      'coredns_dns_do_requests_total{server="dns://:53",zone=".",view=""} 1',
      'coredns_dns_request_size_bytes_bucket{server="dns://:53",zone=".",view="",proto="udp",le="100"} 1',
      'coredns_dns_request_size_bytes_bucket{server="dns://:53",zone=".",view="",proto="tcp",le="511"} 0',
      'coredns_dns_request_size_bytes_bucket{server="dns://:53",zone=".",view="",proto="tcp",le="1023"} 1',
      'coredns_dns_response_size_bytes_sum{server="dns://:53",zone=".",view="",proto="udp"} 120',
      'coredns_dns_response_size_bytes_bucket{server="dns://:53",zone=".",view="",proto="tcp",le="64000"} 0',
      'coredns_dns_response_size_bytes_bucket{server="dns://:53",zone=".",view="",proto="tcp",le="+Inf"} 1',
      'coredns_dns_request_duration_seconds_bucket{server="dns://:53",zone=".",view="",le="0.0005"} 1',
      'coredns_dns_request_duration_seconds_count{server="dns://:53",zone=".",view=""} 2',
      'coredns_cache_entries{server="dns://:53",zones=".",view="",type="success"} 3',
      'coredns_cache_entries{server="dns://:53",zones=".",view="",type="denial"} 2',
    ]) {
      assert.ok(text.includes(`\n${line}\n`), `${line}\nin\n${text}`);
    }
    for (const name of ['coredns_build_info', 'coredns_hosts_entries', 'coredns_reload_failed_total']) {
      assert.match(text, new RegExp(`^${name}`, 'm'));
    }
  });

  test('an answer that was there counts as one that was made, and as a hit if it is another’s', async () => {
    const metrics = new DnsMetrics();
    const count = async (name: string): Promise<number> =>
      Number(
        new RegExp(`^${name.replaceAll(/[{}]/g, '\\$&')}.* (\\d+)$`, 'm').exec(await exposed(metrics))?.[1],
      );
    const tag = (source: 'kubernetes' | 'forward', isDenial: boolean): number =>
      metrics.tagOf(rrTypes.AAAA, source, rcodes.NOERROR, true, isDenial);
    metrics.quick('udp', 4, tag('kubernetes', true), 50, 100);
    metrics.quick('udp', 4, tag('forward', true), 50, 100);
    metrics.quick('udp', 4, tag('forward', false), 50, 100);
    metrics.cacheAsked('success');
    metrics.cacheAsked(undefined);
    assert.equal(await count('coredns_dns_requests_total'), 3);
    assert.equal(await count('coredns_dns_do_requests_total'), 3);
    assert.equal(await count('coredns_dns_response_size_bytes_count'), 3);
    assert.equal(await count('coredns_cache_requests_total'), 4);
    assert.equal(await count('coredns_cache_misses_total'), 1);
    const text = await exposed(metrics);
    assert.match(text, /^coredns_cache_hits_total\{.*type="success"\} 2$/m);
    assert.match(text, /^coredns_cache_hits_total\{.*type="denial"\} 1$/m);
  });
});
