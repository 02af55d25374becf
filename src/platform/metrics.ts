/** platform/metrics: Prometheus metrics of this process; names begin with rollcall_ and use base units. */
import { AggregatorRegistry, collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export type Metrics = { readonly registry: Registry; readonly http: HttpMetrics };

export type HttpMetrics = {
  observe(method: string, route: string, status: number, seconds: number): void;
};

/** `process` tells the API from the worker, whose figures are joined into one page. */
export function createMetrics(processName: 'api' | 'worker'): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ process: processName });
  collectDefaultMetrics({ register: registry, prefix: 'rollcall_' });
  const requests = new Counter({
    name: 'rollcall_http_requests_total',
    help: 'Requests answered, by route description.',
    labelNames: ['method', 'route', 'status'],
    registers: [registry],
  });
  const seconds = new Histogram({
    name: 'rollcall_http_request_seconds',
    help: 'Time from the first byte of the request to the end of the answer.',
    labelNames: ['method', 'route'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [registry],
  });
  return {
    registry,
    http: {
      observe: (method, route, status, duration) => {
        requests.inc({ method, route, status });
        seconds.observe({ method, route }, duration);
      },
    },
  };
}

/** A gauge whose values are read when Prometheus asks; a failed read leaves it without values and does not fail the scrape. */
export function addReadGauge(
  metrics: Metrics,
  spec: { readonly name: `rollcall_${string}`; readonly help: string; readonly labelNames: readonly string[] },
  read: () => Promise<readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[]>,
  onError: (error: unknown) => void,
): void {
  new Gauge({
    name: spec.name,
    help: spec.help,
    labelNames: [...spec.labelNames],
    registers: [metrics.registry],
    async collect() {
      this.reset();
      try {
        for (const { labels, value } of await read()) this.set({ ...labels }, value);
      } catch (error) {
        onError(error);
      }
    },
  });
}

/** What one process hands to another over IPC. */
export type MetricsSnapshot = readonly object[];

export async function snapshotMetrics(metrics: Metrics): Promise<MetricsSnapshot> {
  return metrics.registry.getMetricsAsJSON();
}

/** One page of all processes; the label `process` keeps their series apart. */
export async function renderMetrics(snapshots: readonly MetricsSnapshot[]): Promise<string> {
  return AggregatorRegistry.aggregate(snapshots.map((snapshot) => [...snapshot])).metrics();
}
