/** What the API process and its worker process say to each other over IPC: plain data. */
import type { MetricsSnapshot } from '../platform/metrics.ts';
import type { Config } from './config.ts';

/** The secrets travel over the pipe between parent and child and are nowhere else: not in argv, not in a file. */
export type WorkerSettings = { readonly config: Config; readonly databaseUrl: string; readonly masterKey: string };

export type ToWorker = { readonly type: 'start'; readonly settings: WorkerSettings } | { readonly type: 'metrics' };

export type FromWorker = { readonly type: 'ready' } | { readonly type: 'metrics'; readonly snapshot: MetricsSnapshot };
