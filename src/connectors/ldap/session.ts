/**
 * One connection to one LDAP server under one identity. It uses ldapts for the protocol (BER, requests, controls) and
 * owns everything that decides whether a read is whole: framing, paging, limits, failure. It never reconnects: a
 * connection made again would be anonymous, and an anonymous answer looks like a directory that lost its people.
 */
import type { Socket } from 'node:net';
import { AbandonRequest, BindRequest, ExtendedRequest, UnbindRequest } from 'ldapts';
import type { Message as Request } from 'ldapts';
import { RollcallError, isRollcallError } from '../../core/errors.ts';
import type { Dialer } from '../../platform/dialer.ts';
import { LdapEntry } from './entry.ts';
import {
  bindFailure,
  lostConnection,
  mustSucceed,
  noticeOfDisconnection,
  rawResult,
  silence,
  startTlsFailure,
} from './failures.ts';
import { Inbox, frameOf } from './inbox.ts';
import type { Message } from './inbox.ts';
import { LoopGuard, nextCookie } from './paging.ts';
import type { PageEnd, Paging } from './paging.ts';
import { messageTags, readResult } from './results.ts';
import type { LdapResult } from './results.ts';
import { pageControl, searchRequest } from './search-request.ts';
import type { Search } from './search-request.ts';
import { secured } from './secured.ts';

export type { Search } from './search-request.ts';

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

/** Entries that came together; `last` is the message that ends the operation. */
type Batch = { readonly entries: LdapEntry[]; readonly last: Message | null };

const startTlsOid = '1.3.6.1.4.1.1466.20037';
/** RFC 4511 section 4.4.1. */
const disconnectionOid = '1.3.6.1.4.1.1466.20036';
const maxQueuedBytes = 1 << 20;
/** Few enough that the socket is read and the next page asked for while the entries are worked on. */
const maxBatchEntries = 250;
const resultAdminLimit = 11;

export class LdapSession {
  #socket: Socket;
  readonly #options: SessionOptions;
  readonly #inbox: Inbox;
  #paging: Paging | null = null;
  #failure: unknown;
  #wake: (() => void) | null = null;
  #isWaking = false;
  #messageId = 0;
  #isClosed = false;
  readonly #onAbort = (): void => this.#fail(this.#options.signal.reason);

  private constructor(socket: Socket, options: SessionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#inbox = new Inbox(options.maxMessageBytes);
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
    if (!this.#inbox.isEmpty || this.#inbox.hasPart) throw this.#broken('data before the TLS handshake');
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
    const id = this.#send((messageId) => searchRequest(messageId, search));
    let isOver = false;
    try {
      for (;;) {
        const { entries, last } = await this.#nextBatch(id, search.observe);
        isOver = last !== null;
        if (entries.length > 0) yield entries;
        if (last === null) continue;
        const result = readResult(frameOf(last));
        mustSucceed(result, search.doing);
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
   * page is asked for as soon as the last one has arrived, so that server and consumer work at once; no further ahead
   * than what may wait in the inbox.
   */
  async *paged(search: Search, pageSize: number): AsyncGenerator<LdapEntry[], void> {
    const loops = new LoopGuard(search.doing);
    let size = pageSize;
    let hasYielded = false;
    let isOver = false;
    let id = this.#startPages(search, size);
    try {
      for (;;) {
        const { entries, last } = await this.#nextBatch(id);
        loops.saw(entries);
        if (last !== null) {
          const { result, nextId } = this.#endOf(id);
          if (result.code === resultAdminLimit && !hasYielded && entries.length === 0 && size > 1) {
            size = Math.floor(size / 2);
            id = this.#startPages(search, size);
            continue;
          }
          mustSucceed(result, search.doing);
          const cookie = nextCookie(result, search.doing);
          if (cookie.length > 0) loops.turnPage(cookie);
          isOver = nextId === null;
          id = nextId ?? id;
        }
        if (entries.length > 0) {
          hasYielded = true;
          yield entries;
        }
        if (isOver) return;
      }
    } finally {
      const asked: number | null = this.#paging?.lastId ?? null;
      this.#paging = null;
      if (asked !== null) this.#abandon(asked);
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
    this.#inbox.clear();
    this.#wake?.();
  }

  // ------------------------------------------------------------ requests

  #startPages(search: Search, size: number): number {
    const id = this.#sendPage(search, size, Buffer.alloc(0));
    this.#paging = { search, size, lastId: id, ends: new Map() };
    return id;
  }

  #sendPage(search: Search, size: number, cookie: Buffer): number {
    return this.#send((messageId) => searchRequest(messageId, search, [pageControl(size, cookie)]));
  }

  /** A page has arrived whole. What failed is told by whoever takes its last message. */
  #turnPage(paging: Paging, id: number, last: Buffer): void {
    paging.lastId = null;
    const result = readResult(last);
    const cookie = result.code === 0 ? nextCookie(result, paging.search.doing) : null;
    if (cookie !== null && cookie.length > 0) paging.lastId = this.#sendPage(paging.search, paging.size, cookie);
    paging.ends.set(id, { result, nextId: paging.lastId });
  }

  #endOf(page: number): PageEnd {
    const end = this.#paging?.ends.get(page);
    // what was wrong with the end itself stands as the failure already
    if (end === undefined) throw this.#failure ?? this.#broken(`page ${page} ended before it was asked for`);
    this.#paging?.ends.delete(page);
    return end;
  }

  #send(make: (messageId: number) => Request): number {
    if (this.#failure !== undefined) throw this.#failure;
    this.#messageId += 1;
    this.#socket.write(make(this.#messageId).write());
    return this.#messageId;
  }

  async #request(make: (messageId: number) => Request): Promise<LdapResult> {
    const id = this.#send(make);
    for (;;) {
      const message = await this.#nextMessage();
      if (this.#isMine(message, id)) return readResult(frameOf(message));
    }
  }

  #abandon(abandonId: number): void {
    if (this.#failure !== undefined) return;
    this.#messageId += 1;
    this.#socket.write(new AbandonRequest({ messageId: this.#messageId, abandonId }).write());
  }

  // ------------------------------------------------------------ answers

  /** What has arrived for the operation, decoded; waits for at least one message. */
  async #nextBatch(id: number, observe?: Search['observe']): Promise<Batch> {
    const entries: LdapEntry[] = [];
    // between two batches the socket is read, or the server would wait for the consumer
    if (!this.#inbox.isEmpty) await nextTurn();
    for (let message: Message | undefined = await this.#nextMessage(); message !== undefined; message = this.#take()) {
      if (!this.#isMine(message, id)) continue;
      const { tag } = message;
      observe?.(tag, frameOf(message));
      if (tag === messageTags.searchEntry)
        entries.push(new LdapEntry(message.piece, message.contentOffset, message.end));
      else if (tag === messageTags.searchDone) return { entries, last: message };
      // References lead to other servers and are never followed; intermediate messages belong to controls not sent.
      else if (tag !== messageTags.searchReference && tag !== messageTags.intermediate) {
        throw this.#broken(`unexpected message 0x${tag.toString(16)} during a search`);
      }
      if (entries.length >= maxBatchEntries) break;
    }
    return { entries, last: null };
  }

  /** Answers to operations that were abandoned are dropped; a message about the connection itself ends it. */
  #isMine(message: Message, wanted: number): boolean {
    const messageId = message.id;
    if (messageId === wanted) return true;
    if (messageId === 0) {
      const result = readResult(frameOf(message));
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

  #take(): Message | undefined {
    const message = this.#inbox.take();
    if (this.#inbox.byteLength < maxQueuedBytes / 2 && this.#socket.isPaused()) this.#socket.resume();
    return message;
  }

  async #nextMessage(): Promise<Message> {
    for (;;) {
      const message = this.#failure === undefined || !this.#options.signal.aborted ? this.#take() : undefined;
      if (message !== undefined) return message;
      if (this.#failure !== undefined) throw this.#failure;
      await this.#bytesArrive();
    }
  }

  #bytesArrive(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#fail(silence(this.#options.idleTimeoutMs)), this.#options.idleTimeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }

  // ------------------------------------------------------------ socket

  #listen(socket: Socket): void {
    socket.on('data', this.#onData).on('error', this.#onError).on('close', this.#onClose);
  }

  #unlisten(socket: Socket): void {
    socket.off('data', this.#onData).off('error', this.#onError).off('close', this.#onClose);
  }

  readonly #onMessage = (id: number, tag: number, bytes: Buffer, start: number, end: number): void => {
    const paging = this.#paging;
    if (tag === messageTags.searchDone && id === paging?.lastId) this.#turnPage(paging, id, bytes.subarray(start, end));
  };

  readonly #onData = (chunk: Buffer): void => {
    try {
      this.#inbox.push(chunk, this.#onMessage);
      if (this.#inbox.byteLength > maxQueuedBytes) this.#socket.pause();
      if (!this.#inbox.isEmpty) this.#wakeSoon();
    } catch (error) {
      this.#fail(error);
    }
  };

  /** Some servers send each entry in a TLS record of its own: what comes in the same turn is taken in one go. */
  #wakeSoon(): void {
    if (this.#wake === null || this.#isWaking) return;
    this.#isWaking = true;
    setImmediate(() => {
      this.#isWaking = false;
      this.#wake?.();
    });
  }

  readonly #onError = (error: Error): void => this.#fail(lostConnection(error));
  readonly #onClose = (): void => this.#fail(lostConnection(undefined));

  #fail(failure: unknown): void {
    this.#failure ??= failure;
    this.#socket.destroy();
    this.#wake?.();
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
