/** What requests share when they arrive together must not be seen by any of them. */
import { describe, expect, test } from 'vitest';
import { RollcallError } from '../core/errors.ts';
import type { TenantId } from '../core/ids.ts';
import type { Db, TenantTx } from '../db/db.ts';
import { createSharedReads } from './shared-reads.ts';

const tenant = '00000000-0000-7000-8000-000000000001' as TenantId;
const other = '00000000-0000-7000-8000-000000000002' as TenantId;

/** Counts transactions; each work gets the tenant of its transaction. */
function createDb() {
  const transactions: TenantId[] = [];
  const db: Pick<Db, 'tenant'> = {
    tenant: async (tenantId, work) => {
      transactions.push(tenantId);
      const sql = (async () => []) as unknown as TenantTx['sql'];
      return work({ tenantId, sql } as TenantTx);
    },
  };
  return { transactions, reads: createSharedReads(db) };
}

const broken = Object.assign(new Error('division by zero'), { code: '22012', severity: 'ERROR' });

describe('reads that arrive together', () => {
  test('share a transaction, each with its own answer', async () => {
    const { transactions, reads } = createDb();
    const answers = await Promise.all([1, 2, 3].map((one) => reads(tenant, async () => one)));
    expect(answers).toEqual([1, 2, 3]);
    expect(transactions).toHaveLength(1);
  });

  test('never share the transaction of another tenant', async () => {
    const { transactions, reads } = createDb();
    const seen = await Promise.all([tenant, other, tenant].map((id) => reads(id, async (tx) => tx.tenantId)));
    expect(seen).toEqual([tenant, other, tenant]);
    expect(transactions.toSorted()).toEqual([tenant, other]);
  });

  test('a refusal is told to the one it is for', async () => {
    const { transactions, reads } = createDb();
    const outcomes = await Promise.allSettled([
      reads(tenant, async () => 'found'),
      reads(tenant, async () => Promise.reject(new RollcallError('not_found', 'There is no such user.'))),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(transactions).toHaveLength(1);
  });

  test('a statement that fails breaks the transaction and is not the failure of the others', async () => {
    const { transactions, reads } = createDb();
    const outcomes = await Promise.allSettled([
      reads(tenant, async () => 'found'),
      reads(tenant, async () => Promise.reject(broken)),
    ]);
    expect(outcomes).toEqual([
      { status: 'fulfilled', value: 'found' },
      { status: 'rejected', reason: broken },
    ]);
    expect(transactions).toHaveLength(3);
  });

  test('more than one transaction holds are read all the same', async () => {
    const { reads } = createDb();
    const wanted = Array.from({ length: 500 }, (_, index) => index);
    expect(await Promise.all(wanted.map((one) => reads(tenant, async () => one)))).toEqual(wanted);
  });
});
