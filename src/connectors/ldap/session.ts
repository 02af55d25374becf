/**
 * One connection to one LDAP server under one identity. It uses ldapts for the protocol (BER, requests, controls) and
 * owns everything that decides whether a read is whole: framing, paging, limits, failure. It never reconnects: a
 * connection made again would be anonymous, and an anonymous answer looks like a directory that lost its people.
 */
import type { Socket } from 'node:net';
import {
  AbandonRequest,
  BindRequest,
  ExtendedRequest,
  PagedResultsControl,
  SearchRequest,
  UnbindRequest,
} from 'ldapts';
import type { Control, Message } from 'ldapts';
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import type { Dialer } from '../../platform/dialer.ts';
import { LdapEntry } from './entry.ts';
import { bindFailure, lostConnection, rawResult, resultFailure, startTlsFailure, tlsFailure } from './failures.ts';
import type { LdapFilter } from './filter.ts';
import { FrameReader } from './frames.ts';
import { LoopGuard, nextCookie } from './paging.ts';
import { messageTags, readHead, readResult } from './results.ts';
import type { LdapResult } from './results.ts';

export type SessionOptions = {
  readonly host: string;
  readonly port: number;
  readonly security: 'ldaps' | 'starttls' | 'plain';
  readonly caPem?: string | undefined;
  readonly servername?: string | undefined;
  /** For TCP and again for the TLS handshake. */
  readonly connectTimeoutMs: number;
  /** Longest silence while an answer is awaited. */
  readonly idleTimeoutMs: number;
  readonly maxMessageBytes: number;
  readonly signal: AbortSignal;
};

export type Search = {
  readonly base: string;
  readonly scope: 'base' | 'one' | 'sub';
  readonly filter: LdapFilter;
  readonly attributes: readonly string[];
  readonly controls?: readonly Control[];
  /** 0 lets the server decide. */
  readonly sizeLimit?: number;
  /** Completes "while ..." in errors, e.g. "reading users". */
  readonly doing: string;
};

/** Entries of one network read; `result` comes with the last ones. */
type Batch = { readonly entries: LdapEntry[]; readonly result: LdapResult | null };

const startTlsOid = '1.3.6.1.4.1.1466.20037';
/** RFC 4511 section 4.4.1. */
const disconnectionOid = '1.3.6.1.4.1.1466.20036';
const maxQueuedBytes = 1 << 20;
const resultAdminLimit = 11;

export class LdapSession {
  #socket: Socket;
  readonly #options: SessionOptions;
  readonly #frames: FrameReader;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #failure: unknown;
  #wake: (() => void) | null = null;
  #messageId = 0;
  #isClosed = false;
  readonly #onAbort = (): void => this.#fail(this.#options.signal.reason);

  private constructor(socket: Socket, options: SessionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#frames = new FrameReader(options.maxMessageBytes);
    this.#listen(socket);
    options.signal.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal.aborted) this.#onAbort();
  }

  /** Connects and, unless plain, finishes TLS with a verified certificate. */
  static async open(dialer: Dialer, options: SessionOptions): Promise<LdapSession> {
    const { host, port, caPem, servername, connectTimeoutMs: timeoutMs, signal } = options;
    const target = { host, port, timeoutMs, signal, caPem, servername };
    const plain = await dialer.connectTcp(target);
    if (options.security === 'ldaps') return new LdapSession(await secured(dialer, plain, target), options);
    const session = new LdapSession(plain, options);
    if (options.security === 'plain') return session;
    try {
      await session.#askForTls();
      session.#refuseEarlyBytes();
      session.#unlisten(plain);
      session.#socket = await secured(dialer, plain, target);
      session.#listen(session.#socket);
      return session;
    } catch (error) {
      session.destroy();
      throw error;
    }
  }

  async #askForTls(): Promise<void> {
    try {
      const result = await this.#request((messageId) => new ExtendedRequest({ messageId, oid: startTlsOid }));
      if (result.code !== 0) throw startTlsFailure(rawResult(result));
    } catch (error) {
      // A port that speaks TLS from the first byte hangs up on a request in the clear, or waits for ever.
      throw isRollcallError(error, 'directory_incomplete') ? startTlsFailure(error.raw ?? '', error) : error;
    }
  }

  /** Bytes sent in the clear behind the StartTLS answer would be taken for encrypted ones (RFC 4511 section 4.14.2). */
  #refuseEarlyBytes(): void {
    if (this.#queue.length > 0 || !this.#frames.isEmpty) throw this.#broken('data before the TLS handshake');
  }

  get socket(): Socket {
    return this.#socket;
  }

  async bind(dn: string, password: string): Promise<void> {
    // RFC 4513 section 5.1.2: a DN with an empty password is an anonymous bind that *succeeds* on many servers.
    if (password === '' || dn === '') {
      throw new RollcallError('directory_auth', 'Bind DN and password must not be empty.', { raw: 'not sent' });
    }
    const result = await this.#request((messageId) => new BindRequest({ messageId, dn, password }));
    if (result.code !== 0) throw bindFailure(result);
  }

  /** One search operation. Ends only after the server said success; everything else throws. */
  async *search(search: Search): AsyncGenerator<LdapEntry[], LdapResult> {
    const id = this.#send((messageId) => searchRequest(messageId, search, search.controls ?? []));
    let isOver = false;
    try {
      for (;;) {
        const { entries, result } = await this.#nextBatch(id);
        isOver = result !== null;
        if (entries.length > 0) yield entries;
        if (result === null) continue;
        if (result.code !== 0) throw resultFailure(result, search.doing);
        return result;
      }
    } finally {
      if (!isOver) this.#abandon(id);
    }
  }

  /** Collects a search that is known to be small; refuses to hold more than `maxEntries`. */
  async find(search: Search, maxEntries = 1_000): Promise<LdapEntry[]> {
    const found: LdapEntry[] = [];
    for await (const entries of this.search(search)) {
      found.push(...entries);
      if (found.length > maxEntries)
        throw new RollcallError('directory_limit', `More than ${maxEntries} entries while ${search.doing}.`);
    }
    return found;
  }

  /**
   * A paged search (RFC 2696). Only an empty cookie ends it: a page without entries but with a cookie goes on. The next
   * page is asked for before the entries of the last one are handed out, so that server and consumer work at once.
   */
  async *paged(search: Search, pageSize: number): AsyncGenerator<LdapEntry[], void> {
    let size = pageSize;
    let hasYielded = false;
    const loops = new LoopGuard(search.doing);
    let id = this.#sendPage(search, size, Buffer.alloc(0));
    let isOver = false;
    try {
      for (;;) {
        const { entries, result } = await this.#nextBatch(id);
        loops.saw(entries);
        isOver = result !== null;
        if (result !== null) {
          if (result.code === resultAdminLimit && !hasYielded && entries.length === 0 && size > 1) {
            size = Math.floor(size / 2);
            id = this.#sendPage(search, size, Buffer.alloc(0));
            isOver = false;
            continue;
          }
          if (result.code !== 0) throw resultFailure(result, search.doing);
          const cookie = nextCookie(result, search.doing);
          if (cookie.length > 0) {
            loops.turnPage(cookie);
            id = this.#sendPage(search, size, cookie);
            isOver = false;
          }
        }
        if (entries.length > 0) {
          hasYielded = true;
          yield entries;
        }
        if (isOver) return;
      }
    } finally {
      if (!isOver) this.#abandon(id);
    }
  }

  /** Says goodbye (RFC 4511 section 4.3) and closes; never throws. */
  close(): void {
    if (this.#isClosed) return;
    if (this.#failure === undefined && !this.#socket.destroyed) {
      this.#socket.end(new UnbindRequest({ messageId: this.#messageId + 1 }).write());
    }
    // The server closes after an unbind; whatever it still sends is of no interest.
    this.#release();
    this.#socket.resume();
    this.#socket.setTimeout(1_000, () => this.#socket.destroy());
  }

  destroy(): void {
    this.#release();
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #release(): void {
    this.#isClosed = true;
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    this.#unlisten(this.#socket);
    this.#socket.on('error', () => undefined);
    this.#failure ??= new RollcallError('internal', 'The LDAP session is closed.');
    this.#queue = [];
    this.#wake?.();
  }

  // ------------------------------------------------------------ requests

  #sendPage(search: Search, size: number, cookie: Buffer): number {
    const paging = new PagedResultsControl({ critical: true, value: { size, cookie } });
    return this.#send((messageId) => searchRequest(messageId, search, [paging, ...(search.controls ?? [])]));
  }

  #send(make: (messageId: number) => Message): number {
    if (this.#failure !== undefined) throw this.#failure;
    this.#messageId += 1;
    this.#socket.write(make(this.#messageId).write());
    return this.#messageId;
  }

  async #request(make: (messageId: number) => Message): Promise<LdapResult> {
    const id = this.#send(make);
    for (;;) {
      const frame = await this.#nextFrame();
      const head = readHead(frame);
      if (this.#isMine(head.id, id, frame)) return readResult(frame);
    }
  }

  #abandon(abandonId: number): void {
    if (this.#failure !== undefined) return;
    this.#messageId += 1;
    this.#socket.write(new AbandonRequest({ messageId: this.#messageId, abandonId }).write());
  }

  // ------------------------------------------------------------ answers

  /** Everything that has arrived for the operation, decoded; waits for at least one message. */
  async #nextBatch(id: number): Promise<Batch> {
    const entries: LdapEntry[] = [];
    for (let frame: Buffer | undefined = await this.#nextFrame(); frame !== undefined; frame = this.#takeQueued()) {
      const head = readHead(frame);
      if (!this.#isMine(head.id, id, frame)) continue;
      if (head.tag === messageTags.searchEntry) entries.push(new LdapEntry(frame, head.contentOffset));
      else if (head.tag === messageTags.searchDone) return { entries, result: readResult(frame) };
      // References lead to other servers and are never followed; intermediate messages belong to controls not sent.
      else if (head.tag !== messageTags.searchReference && head.tag !== messageTags.intermediate) {
        throw this.#broken(`unexpected message 0x${head.tag.toString(16)} during a search`);
      }
    }
    return { entries, result: null };
  }

  /** Answers to operations that were abandoned are dropped; a message about the connection itself ends it. */
  #isMine(messageId: number, wanted: number, frame: Buffer): boolean {
    if (messageId === wanted) return true;
    if (messageId === 0) {
      const result = readResult(frame);
      const failure = result.oid === disconnectionOid ? noticeOfDisconnection(result) : this.#broken('message id 0');
      this.#fail(failure);
      throw failure;
    }
    if (messageId < wanted) return false;
    throw this.#broken(`answer to message ${messageId}, which was never sent`);
  }

  #broken(raw: string): RollcallError {
    const failure = new RollcallError('directory_protocol', 'The directory broke the LDAP protocol.', { raw });
    this.#fail(failure);
    return failure;
  }

  #takeQueued(): Buffer | undefined {
    const frame = this.#queue.pop();
    if (frame === undefined) return undefined;
    this.#queuedBytes -= frame.length;
    if (this.#queue.length === 0 && this.#socket.isPaused()) this.#socket.resume();
    return frame;
  }

  async #nextFrame(): Promise<Buffer> {
    for (;;) {
      const frame = this.#failure === undefined || !this.#options.signal.aborted ? this.#takeQueued() : undefined;
      if (frame !== undefined) return frame;
      if (this.#failure !== undefined) throw this.#failure;
      await this.#bytesArrive();
    }
  }

  #bytesArrive(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#fail(this.#silence()), this.#options.idleTimeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }

  #silence(): RollcallError {
    const seconds = Math.round(this.#options.idleTimeoutMs / 1_000);
    return new RollcallError('directory_incomplete', `The directory sent nothing for ${seconds} s.`, {
      remedy:
        'Nothing of this read is used. If its searches are slow, index the attributes of the filter or raise idleTimeoutSeconds.',
      raw: 'ETIMEDOUT',
    });
  }

  // ------------------------------------------------------------ socket

  #listen(socket: Socket): void {
    socket.on('data', this.#onData).on('error', this.#onError).on('close', this.#onClose);
  }

  #unlisten(socket: Socket): void {
    socket.off('data', this.#onData).off('error', this.#onError).off('close', this.#onClose);
  }

  readonly #onData = (chunk: Buffer): void => {
    try {
      const frames = this.#frames.push(chunk);
      if (frames.length === 0) return;
      this.#queue = this.#queue.length === 0 ? frames.toReversed() : [...frames.toReversed(), ...this.#queue];
      for (const frame of frames) this.#queuedBytes += frame.length;
      if (this.#queuedBytes > maxQueuedBytes) this.#socket.pause();
      this.#wake?.();
    } catch (error) {
      this.#fail(error);
    }
  };

  readonly #onError = (error: Error): void => this.#fail(lostConnection(error));
  readonly #onClose = (): void => this.#fail(lostConnection(undefined));

  #fail(failure: unknown): void {
    this.#failure ??= failure;
    this.#socket.destroy();
    this.#wake?.();
  }
}

async function secured(dialer: Dialer, plain: Socket, target: Parameters<Dialer['startTls']>[1]): Promise<Socket> {
  try {
    return await dialer.startTls(plain, target);
  } catch (error) {
    if (error instanceof RollcallError || target.signal?.aborted === true) throw error;
    throw tlsFailure(error, target.host);
  }
}

function searchRequest(messageId: number, search: Search, controls: Control[] | readonly Control[]): SearchRequest {
  return new SearchRequest({
    messageId,
    baseDN: search.base,
    scope: search.scope,
    filter: search.filter,
    attributes: [...search.attributes],
    sizeLimit: search.sizeLimit ?? 0,
    timeLimit: 0,
    controls: [...controls],
  });
}

function noticeOfDisconnection(result: LdapResult): RollcallError {
  return new RollcallError('directory_incomplete', 'The server ended the connection.', {
    remedy: 'Nothing of this read is used; the next run reads again.',
    raw: `notice of disconnection, code ${result.code}: ${result.message}`,
  });
}
