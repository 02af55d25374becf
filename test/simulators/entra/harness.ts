/** What the connector's tests share: a simulator, a connector on virtual time, and reads that end in a mirror. */
import { entraConnector } from '../../../src/connectors/entra/entra.ts';
import type { EntraConfig, EntraSecrets, EntraSettings } from '../../../src/connectors/entra/entra.ts';
import { entraSettingsSchema } from '../../../src/connectors/entra/settings.ts';
import type {
  AbsenceVerdict,
  CredentialEnd,
  Cursor,
  DirectoryEvent,
  FoundObject,
  ObjectReference,
  TestStep,
} from '../../../src/connectors/contract/contract.ts';
import type { ObjectKind } from '../../../src/core/vocabulary.ts';
import type { Clock } from '../../../src/platform/clock.ts';
import { Secret } from '../../../src/platform/secrets.ts';
import { connectionSettings } from './connection.ts';
import { startEntraSimulator } from './entra.ts';
import type { EntraSimulator, SimulatorOptions } from './entra.ts';

export type VirtualClock = Clock & { readonly sleptMs: readonly number[]; advance(ms: number): void };

/** Sleeping moves the time on and takes none; every sleep is recorded. */
export function createVirtualClock(start = Date.parse('2026-03-02T08:00:00Z')): VirtualClock {
  let nowMs = start;
  const sleptMs: number[] = [];
  return {
    sleptMs,
    now: () => new Date(nowMs),
    advance: (ms) => {
      nowMs += ms;
    },
    sleep: async (ms, signal) => {
      signal?.throwIfAborted();
      sleptMs.push(ms);
      nowMs += ms;
    },
  };
}

/** What the engine would know after these events: the last word on every object and every edge. */
export type Mirror = { readonly objects: Map<string, string>; readonly edges: Map<string, Set<string>> };

export function emptyMirror(): Mirror {
  return { objects: new Map(), edges: new Map() };
}

export function applyTo(mirror: Mirror, events: readonly DirectoryEvent[]): Mirror {
  for (const event of events) {
    if (event.type === 'upsert') mirror.objects.set(event.object.anchor, JSON.stringify(event.object));
    else if (event.type === 'tombstone') {
      mirror.objects.delete(event.anchor);
      if (event.kind === 'group') mirror.edges.delete(event.anchor);
    } else if (event.type === 'members') {
      const known = event.change === 'set' ? new Set<string>() : (mirror.edges.get(event.groupAnchor) ?? new Set());
      for (const anchor of event.memberAnchors) {
        if (event.change === 'remove') known.delete(anchor);
        else known.add(anchor);
      }
      mirror.edges.set(event.groupAnchor, known);
    }
  }
  return mirror;
}

/** Edges between live objects only, as reads of the engine join them; comparable with toEqual. */
export function effective(mirror: Mirror): { objects: Record<string, string>; edges: Record<string, string[]> } {
  const edges: Record<string, string[]> = {};
  for (const [group, members] of mirror.edges) {
    const live = [...members].filter((anchor) => mirror.objects.has(anchor)).toSorted();
    if (mirror.objects.has(group) && live.length > 0) edges[group] = live;
  }
  return { objects: Object.fromEntries([...mirror.objects].toSorted(([a], [b]) => a.localeCompare(b))), edges };
}

export type Harness = {
  readonly simulator: EntraSimulator;
  readonly clock: VirtualClock;
  readonly settings: EntraSettings;
  readonly secrets: EntraSecrets;
  readonly waits: readonly string[];
  /** Throws what the read throws; `seen` keeps the events until then. */
  read(cursor?: Cursor | null, options?: ReadOptions): Promise<DirectoryEvent[]>;
  test(options?: ReadOptions): Promise<TestStep[]>;
  prove(
    kind: ObjectKind,
    anchors: readonly string[],
    options?: ReadOptions,
  ): Promise<Map<string, AbsenceVerdict['verdict']>>;
  find(reference: ObjectReference, options?: ReadOptions): Promise<readonly FoundObject[]>;
  credentialEnds(options?: ReadOptions): Promise<readonly CredentialEnd[]>;
  stop(): Promise<void>;
};

export type ReadOptions = {
  readonly settings?: Partial<EntraSettings>;
  readonly secret?: string;
  readonly secrets?: EntraSecrets;
  readonly tenantId?: string;
  readonly attributes?: readonly string[];
  readonly seen?: DirectoryEvent[];
  readonly signal?: AbortSignal;
};

function secretOf(text: string): EntraSecrets {
  return { kind: 'client_secret', clientSecret: new Secret(text) };
}

export type HarnessOptions = Omit<SimulatorOptions, 'now'> & {
  /** Assertions carry the time of this machine: tests of certificates begin now. */
  readonly startsAt?: number;
  /** What the operator lends. */
  readonly config?: (simulator: EntraSimulator) => EntraConfig;
};

/** The tenant on whose behalf the harness reads. */
export const harnessTenantId = '0198f0c0-0000-7000-8000-000000000001';

export async function startHarness(options: HarnessOptions = {}): Promise<Harness> {
  const clock = createVirtualClock(options.startsAt);
  const simulator = await startEntraSimulator({ ...options, now: () => clock.now() });
  const config = options.config?.(simulator);
  const connector = entraConnector({ clock, random: () => 0.5, ...(config === undefined ? {} : { config }) });
  const settings = entraSettingsSchema.parse(connectionSettings(simulator));
  const secrets = secretOf(simulator.app.clientSecret);
  const waits: string[] = [];
  const requestOf = (given: ReadOptions) => ({
    settings: { ...settings, ...given.settings },
    secrets: given.secrets ?? (given.secret === undefined ? secrets : secretOf(given.secret)),
    tenantId: given.tenantId ?? harnessTenantId,
    attributes: given.attributes ?? [],
    signal: given.signal ?? AbortSignal.timeout(20_000),
    onWait: (message: string) => waits.push(message),
  });
  return {
    simulator,
    clock,
    settings,
    secrets,
    waits,
    read: async (cursor = null, given = {}) => {
      const events = given.seen ?? [];
      const mode = cursor === null ? ('full' as const) : ('delta' as const);
      try {
        for await (const event of connector.read({ ...requestOf(given), mode, cursor })) events.push(event);
      } finally {
        await simulator.idle();
      }
      return events;
    },
    test: async (given = {}) => {
      const steps: TestStep[] = [];
      for await (const step of connector.test(requestOf(given))) steps.push(step);
      return steps;
    },
    prove: async (kind, anchors, given = {}) => {
      const verdicts = new Map<string, AbsenceVerdict['verdict']>();
      for await (const { anchor, verdict } of connector.proveAbsent(requestOf(given), kind, anchors)) {
        verdicts.set(anchor, verdict);
      }
      return verdicts;
    },
    find: async (reference, given = {}) => connector.readObject(requestOf(given), reference),
    credentialEnds: async (given = {}) => (await connector.credentialEnds?.(requestOf(given))) ?? [],
    stop: async () => simulator.stop(),
  };
}

export function cursorOf(events: readonly DirectoryEvent[]): Cursor {
  const last = events.at(-1);
  if (last?.type !== 'complete' || last.cursor === null) throw new Error(`The read ended with ${last?.type}.`);
  return last.cursor;
}

export async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('Expected a failure, but it succeeded.');
}
