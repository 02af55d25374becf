/** Graph's refusals in an admin's words. Codes: Microsoft Graph "Error responses" and the delta query pages. */
import { RollcallError } from '../../core/errors.ts';
import type { ErrorCode } from '../../core/errors.ts';
import type { HttpReply } from './https-exchange.ts';

type GraphError = { readonly code: string; readonly message: string; readonly requestId: string | null };

/** Error bodies are not trusted to have any shape. */
function readGraphError(text: string): GraphError {
  try {
    const body = JSON.parse(text) as { error?: { code?: unknown; message?: unknown; innerError?: unknown } } | null;
    const { code, message, innerError } = body?.error ?? {};
    const requestId =
      typeof innerError === 'object' && innerError !== null ? Reflect.get(innerError, 'request-id') : null;
    return {
      code: typeof code === 'string' ? code : '',
      message: typeof message === 'string' ? message.slice(0, 300) : '',
      requestId: typeof requestId === 'string' ? requestId : null,
    };
  } catch {
    return { code: '', message: text.slice(0, 100), requestId: null };
  }
}

/** A3: the least application permission that reads the path. */
function permissionFor(path: string): string {
  if (path.includes('/servicePrincipals') || path.includes('/applications')) return 'Application.Read.All';
  if (path.includes('/groups')) return 'GroupMember.Read.All';
  return path.includes('/directoryObjects') ? 'User.Read.All and GroupMember.Read.All' : 'User.Read.All';
}

type Description = { readonly code: ErrorCode; readonly message: string; readonly remedy: string };

function describe(status: number, error: GraphError, path: string): Description {
  const lower = error.code.toLowerCase();
  // 400 since 2020, 410 by the service's own decision; the spelling varies (A1 "Lifetime").
  if (status === 410 || lower === 'syncstatenotfound' || lower === 'resyncrequired') {
    return {
      code: 'directory_history_lost',
      message: 'Microsoft no longer knows which changes we have seen.',
      remedy: 'Nothing to do: everything is read again.',
    };
  }
  if (lower === 'directory_expiredpagetoken') {
    return {
      code: 'directory_incomplete',
      message: 'The read took too long between two pages, so Microsoft ended it.',
      remedy: 'Nothing was changed; the next run starts again.',
    };
  }
  if (status === 401 || status === 403) return describeRefusal(status, error, path);
  if (status >= 300 && status < 400) {
    return {
      code: 'directory_protocol',
      message: 'Microsoft Graph answered with a redirect, which is not followed.',
      remedy: 'Check the Graph address of the connection, and whether a proxy answers in its place.',
    };
  }
  if (status === 501 || (status === 400 && /propert/i.test(error.message))) {
    return {
      code: 'directory_protocol',
      message: 'Microsoft Graph can not give one of the properties that were asked for.',
      remedy: 'Check the spelling of the properties in the connection and in its mappings.',
    };
  }
  const code = status === 404 ? 'directory_not_found' : 'directory_protocol';
  return { code, message: `Microsoft Graph refused ${path} (HTTP ${status}).`, remedy: 'Nothing was changed.' };
}

function describeRefusal(status: number, error: GraphError, path: string): Description {
  if (/insufficient_claims/i.test(`${error.code} ${error.message}`)) {
    return {
      code: 'directory_auth',
      message: "The tenant's Conditional Access policy blocks the application from Microsoft Graph.",
      remedy: 'Exclude the application, or the address of this machine, in that policy.',
    };
  }
  if (status === 401) {
    return {
      code: 'directory_auth',
      message: 'Microsoft Graph refuses our access token, even a new one.',
      remedy: "Check that cloud and addresses of the connection belong together, and this machine's clock.",
    };
  }
  const permission = permissionFor(path);
  return {
    code: 'directory_permission',
    message: `The application may not read ${path}: the permission ${permission} is missing.`,
    remedy: `Add the application permission ${permission} in the app registration and grant admin consent.`,
  };
}

export function describeGraphFailure(reply: HttpReply, url: string): RollcallError {
  const error = readGraphError(reply.text);
  const { pathname } = new URL(url);
  const { code, message, remedy } = describe(reply.status, error, pathname);
  const requestId = error.requestId ?? reply.headers['request-id'];
  return new RollcallError(code, message, {
    remedy,
    raw: [`HTTP ${reply.status}`, error.code, error.message].filter((part) => part !== '').join(' '),
    details: { path: pathname, ...(requestId === undefined ? {} : { requestId }) },
  });
}
