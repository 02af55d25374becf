/** A refusal of the sign-in service as one error: our sentence for its number, its own sentence as `raw`. */
import { RollcallError } from '../../core/errors.ts';
import { aadstsMeaning } from './aadsts.ts';
import type { EntraSecrets } from './credentials.ts';
import { secretTexts } from './credentials.ts';

export type Refusal = {
  /** OAuth's `error` and `error_description`. */
  readonly oauthError: string;
  readonly description: string;
  readonly cause?: unknown;
};

/** Microsoft's sentence alone: MSAL puts numbers and time before it, trace ids follow on the next lines. */
export function describeSignInRefusal(refusal: Refusal, secrets: EntraSecrets): RollcallError {
  const { oauthError, description, cause } = refusal;
  const found = /AADSTS(\d+)/.exec(description);
  const sentence = description.slice(found?.index ?? 0);
  const firstLine = (sentence.split(/\r?\n/)[0] ?? '').slice(0, 300);
  const raw = secretTexts(secrets).reduce(
    (text, secret) => text.replaceAll(secret, '[secret]'),
    firstLine === '' ? oauthError : firstLine,
  );
  const meaning = aadstsMeaning(Number(found?.[1] ?? 0));
  const trace = /Trace ID: ([0-9a-f-]+)/i.exec(description)?.[1];
  return new RollcallError(meaning.code, meaning.message, {
    cause,
    remedy: meaning.remedy,
    raw,
    details: { oauthError, ...(trace === undefined ? {} : { traceId: trace }) },
  });
}
