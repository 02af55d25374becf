/**
 * Query plans as rollcall_tenant, under its policies, for tests of hot statements. Sequential scans are made
 * expensive, so that a whole read in the plan means that no index can serve the statement, not that the table is small.
 * Which of several indexes is chosen means something only after rows were inserted and `analyze` was run.
 */
import { z } from 'zod';
import type postgres from 'postgres';
import type { TenantId } from '../../src/core/ids.ts';
import { openDb, type Db, type TenantTx } from '../../src/db/db.ts';

export type Plan = {
  /** The statement, with $1 for values. */
  readonly statement: string;
  /** `Seq Scan on users`, `Index Scan on users using users_pkey (tenant_id = ...)`, in plan order. */
  readonly nodes: readonly string[];
  /** Tables read as a whole: sequentially, or through an index without a condition on it. */
  readonly wholeReads: readonly string[];
  readonly indexes: readonly string[];
  /** Tables read as a whole once for each row of another: the time grows with the square. */
  readonly perRow: readonly string[];
};

type Node = {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string | undefined;
  readonly 'Index Name'?: string | undefined;
  readonly 'Index Cond'?: string | undefined;
  readonly 'Recheck Cond'?: string | undefined;
  readonly Filter?: string | undefined;
  readonly 'Parent Relationship'?: string | undefined;
  readonly Plans?: readonly Node[] | undefined;
};

const nodeSchema: z.ZodType<Node> = z.lazy(() =>
  z.object({
    'Node Type': z.string(),
    'Relation Name': z.string().optional(),
    'Index Name': z.string().optional(),
    'Index Cond': z.string().optional(),
    'Recheck Cond': z.string().optional(),
    Filter: z.string().optional(),
    'Parent Relationship': z.string().optional(),
    Plans: z.array(nodeSchema).optional(),
  }),
);
const explanationSchema = z.tuple([z.object({ Plan: nodeSchema })]);

/** The plan of one statement: `explainAs(db, tenantId, (sql) => sql`select ... ${x}`)`. */
export function explainAs(
  db: Db,
  tenantId: TenantId,
  statement: (sql: postgres.TransactionSql) => postgres.PendingQuery<postgres.Row[]>,
): Promise<Plan> {
  return db.tenant(tenantId, async ({ sql }) => {
    await sql`set local enable_seqscan = off`;
    const rows = await sql`explain (format json, costs off) ${statement(sql)}`;
    return readPlan('given', rows[0]?.['QUERY PLAN']);
  });
}

/**
 * The plans of every statement that `work` sends, as the code under test writes them: run it with the store functions
 * of a room. Nothing it does is kept. `isKept`: the plans that are kept for any values, in place of those for these.
 */
export async function explainWork(
  url: string,
  tenantId: TenantId,
  work: (tx: TenantTx) => Promise<unknown>,
  { isKept = false }: { readonly isKept?: boolean } = {},
): Promise<readonly Plan[]> {
  const sent: { text: string; parameters: readonly unknown[] }[] = [];
  let isRecording = false;
  const db = openDb({
    url,
    max: 1,
    onStatement: (_role, text, parameters) => {
      if (isRecording && /^\s*(select|insert|update|delete|with|merge)\b/i.test(text)) {
        sent.push({ text, parameters: [...parameters] });
      }
    },
  });
  const done = new Error('rolled back on purpose');
  const plans: Plan[] = [];
  try {
    await db.tenant(tenantId, async (tx) => {
      await tx.sql`set local enable_seqscan = off`;
      isRecording = true;
      await work(tx);
      isRecording = false;
      for (const { text, parameters } of sent) {
        const rows = isKept
          ? await tx.sql.unsafe(`explain (generic_plan, format json, costs off) ${text}`)
          : await tx.sql.unsafe(`explain (format json, costs off) ${text}`, parameters as never[]);
        plans.push(readPlan(text, rows[0]?.['QUERY PLAN']));
      }
      throw done;
    });
  } catch (error) {
    if (error !== done) throw error;
  } finally {
    await db.close();
  }
  return plans;
}

function readPlan(statement: string, explanation: unknown): Plan {
  const [{ Plan: top }] = explanationSchema.parse(explanation);
  const nodes = flatten(top);
  return {
    statement,
    nodes: nodes.map(describeNode),
    wholeReads: nodes.filter(readsWhole).flatMap((node) => node['Relation Name'] ?? []),
    indexes: nodes.flatMap((node) => node['Index Name'] ?? []),
    perRow: nodes
      .filter((node) => node['Parent Relationship'] === 'SubPlan')
      .flatMap(flatten)
      .filter(readsWhole)
      .flatMap((node) => node['Relation Name'] ?? []),
  };
}

function readsWhole(node: Node): boolean {
  const type = node['Node Type'];
  if (type === 'Bitmap Heap Scan') return node['Recheck Cond'] === undefined;
  return type === 'Seq Scan' || (/^Index (Only )?Scan/.test(type) && node['Index Cond'] === undefined);
}

function flatten(node: Node): Node[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}

function describeNode(node: Node): string {
  const relation = node['Relation Name'] === undefined ? '' : ` on ${node['Relation Name']}`;
  const index = node['Index Name'] === undefined ? '' : ` using ${node['Index Name']}`;
  const condition = node['Index Cond'] ?? node['Recheck Cond'] ?? node.Filter;
  return `${node['Node Type']}${relation}${index}${condition === undefined ? '' : ` ${condition}`}`;
}
