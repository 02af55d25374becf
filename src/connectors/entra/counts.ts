/** How many objects the index of the directory counts; it lags behind, and is a hint rather than a proof (A8). */
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import type { Resource } from './delta-page.ts';
import type { GraphSession } from './graph-session.ts';

export async function countOf(session: GraphSession, resource: Resource): Promise<number> {
  const text = await session.getText(`${session.graphUrl}/v1.0/${resource}/$count`);
  const number = Number(text.replace(/^\uFEFF/, '').trim());
  if (text.trim() !== '' && Number.isSafeInteger(number) && number >= 0) return number;
  throw new RollcallError('directory_protocol', `Microsoft Graph did not say how many ${resource} there are.`, {
    raw: text.slice(0, 50),
  });
}

/** Less than nine in ten of the users that are counted, and more than ten fewer, is more than lag. */
const mostMissing = 10;
const mostMissingShare = 0.1;

/** A full read that shows far fewer users than are counted deserves a word; the guards judge what follows from it. */
export async function compareCounts(session: GraphSession, usersSeen: number): Promise<readonly DirectoryEvent[]> {
  try {
    const counted = await countOf(session, 'users');
    const missing = counted - usersSeen;
    if (missing <= mostMissing || missing <= counted * mostMissingShare) return [];
    const message = `The read showed ${usersSeen} users, but the directory counts ${counted}.`;
    return [{ type: 'notice', code: 'count_differs', message, anchor: null }];
  } catch (error) {
    // a comparison that can not be made says nothing about the read
    if (!isRollcallError(error) || error.code === 'canceled') throw error;
    return [{ type: 'notice', code: 'count_unknown', message: error.message, anchor: null }];
  }
}
