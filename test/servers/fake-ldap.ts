/**
 * A scripted LDAP server for what real ones do not do on demand: empty pages with cookies, dropped connections,
 * ranges, garbage. It decodes requests with ldapts and answers with bytes the script writes.
 */
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import type { SecureContextOptions } from 'node:tls';
import { BerReader, BerWriter } from 'ldapts';

const tags = {
  bind: 0x60,
  bindDone: 0x61,
  search: 0x63,
  searchEntry: 0x64,
  searchDone: 0x65,
  searchReference: 0x73,
  extended: 0x77,
  extendedDone: 0x78,
  intermediate: 0x79,
  controls: 0xa0,
} as const;

const pagedOid = '1.2.840.113556.1.4.319';
const dirSyncOid = '1.2.840.113556.1.4.841';
const octets = 0x04;

export type SearchSeen = {
  readonly id: number;
  readonly base: string;
  readonly attributes: readonly string[];
  /** Cookie of a DirSync control as text; null without one. */
  readonly dirSync: string | null;
  /** Null without a paging control. */
  readonly page: { readonly size: number; readonly cookie: string } | null;
  /** How many searches came before, over all connections. */
  readonly ordinal: number;
};

export type Attributes = Readonly<Record<string, readonly (string | Buffer)[]>>;

export type Answer = {
  entry(dn: string, attributes: Attributes): void;
  reference(url: string): void;
  /** `cookie` undefined leaves the paging control out; `dirSync` adds that control. */
  done(options?: {
    readonly code?: number;
    readonly message?: string;
    readonly cookie?: string;
    readonly referral?: string;
    readonly dirSync?: { readonly hasMore: boolean; readonly cookie: string };
  }): void;
  raw(bytes: Buffer): void;
  /** Message id 0: the server says goodbye (RFC 4511 section 4.4.1). */
  disconnect(): void;
  readonly socket: Socket;
};

export type FakeLdap = { readonly port: number; readonly searches: SearchSeen[]; binds: number; stop(): Promise<void> };

export type FakeScript = {
  readonly search: (seen: SearchSeen, answer: Answer) => void;
  readonly bindCode?: number;
  readonly bindMessage?: string;
  /** Key and certificate for StartTLS; without them the request is refused. `silent` agrees and then says nothing. */
  readonly tls?: { readonly key: string; readonly cert: string } | 'silent';
  /** Gets each message in place of the network, for servers that break in the middle. */
  readonly wire?: (message: Buffer, socket: Socket) => void;
  /** Sent in the clear right behind the answer to StartTLS. */
  readonly injected?: Buffer;
};

export async function startFakeLdap(script: FakeScript): Promise<FakeLdap> {
  const sockets = new Set<Socket>();
  const searches: SearchSeen[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serve(socket, script, fake);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const fake: FakeLdap = {
    port: (server.address() as AddressInfo).port,
    searches,
    binds: 0,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
  return fake;
}

function serve(socket: Socket, script: FakeScript, fake: FakeLdap): void {
  let pending = Buffer.alloc(0);
  socket.on('error', () => undefined);
  const onData = (chunk: Buffer): void => {
    pending = Buffer.concat([pending, chunk]);
    for (;;) {
      const reader = new BerReader(pending);
      if (reader.readSequence() === null || reader.remain < reader.length) return;
      const end = reader.offset + reader.length;
      const message = pending.subarray(0, end);
      pending = pending.subarray(end);
      const secured = handle(message, socket, script, fake);
      if (!secured) continue;
      socket.off('data', onData);
      if (script.tls === 'silent') socket.resume();
      else startTls(socket, script.tls, script, fake);
      return;
    }
  };
  socket.on('data', onData);
}

function startTls(socket: Socket, tls: SecureContextOptions | undefined, script: FakeScript, fake: FakeLdap): void {
  const secure = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext(tls) });
  serve(secure, script, fake);
}

/** True when the connection goes on inside TLS. */
function handle(message: Buffer, socket: Socket, script: FakeScript, fake: FakeLdap): boolean {
  const reader = new BerReader(message);
  reader.readSequence();
  const id = reader.readInt() ?? 0;
  const tag = reader.readSequence();
  if (tag === tags.bind) {
    fake.binds += 1;
    send(socket, script, result(id, tags.bindDone, script.bindCode ?? 0, script.bindMessage ?? ''));
  } else if (tag === tags.search) {
    const seen = readSearch(reader, id, fake.searches.length);
    fake.searches.push(seen);
    script.search(seen, answerTo(id, socket, script));
  } else if (tag === tags.extended) {
    const code = script.tls === undefined ? 2 : 0;
    send(socket, script, Buffer.concat([result(id, tags.extendedDone, code, ''), script.injected ?? Buffer.alloc(0)]));
    return code === 0;
  }
  return false;
}

function send(socket: Socket, { wire }: FakeScript, message: Buffer): void {
  if (wire === undefined) socket.write(message);
  else wire(message, socket);
}

function readSearch(reader: BerReader, id: number, ordinal: number): SearchSeen {
  const end = reader.offset + reader.length;
  const base = reader.readString() ?? '';
  for (let each = 0; each < 2; each += 1) reader.readEnumeration();
  for (let each = 0; each < 2; each += 1) reader.readInt();
  reader.readBoolean();
  reader.readSequence(); // filter
  reader.offset += reader.length;
  const attributes: string[] = [];
  reader.readSequence();
  while (reader.offset < end) attributes.push(reader.readString() ?? '');
  return { id, base, attributes, ordinal, ...readControls(reader) };
}

function readControls(reader: BerReader): Pick<SearchSeen, 'page' | 'dirSync'> {
  let page: SearchSeen['page'] = null;
  let dirSync: string | null = null;
  if (reader.peek() !== tags.controls) return { page, dirSync };
  reader.readSequence();
  const end = reader.offset + reader.length;
  while (reader.offset < end) {
    reader.readSequence();
    const controlEnd = reader.offset + reader.length;
    const oid = reader.readString();
    if (oid === pagedOid || oid === dirSyncOid) {
      reader.readBoolean();
      const value = new BerReader(reader.readString(octets, true) ?? Buffer.alloc(0));
      value.readSequence();
      const first = value.readInt() ?? 0;
      if (oid === dirSyncOid) value.readInt();
      const cookie = value.readString() ?? '';
      if (oid === pagedOid) page = { size: first, cookie };
      else dirSync = cookie;
    }
    reader.offset = controlEnd;
  }
  return { page, dirSync };
}

function write(id: number, tag: number, body: (writer: BerWriter) => void, tail?: (writer: BerWriter) => void): Buffer {
  const writer = new BerWriter({ size: 1 << 12 });
  writer.startSequence();
  writer.writeInt(id);
  writer.startSequence(tag);
  body(writer);
  writer.endSequence();
  tail?.(writer);
  writer.endSequence();
  return Buffer.from(writer.buffer);
}

function result(id: number, tag: number, code: number, message: string, tail?: (writer: BerWriter) => void): Buffer {
  const body = (writer: BerWriter): void => {
    writer.writeEnumeration(code);
    writer.writeString('');
    writer.writeString(message);
  };
  return write(id, tag, body, tail);
}

/** The end of a search, without controls unless one is given. */
export function resultBytes(id: number, code: number, message: string, more?: ControlBytes): Buffer {
  return result(id, tags.searchDone, code, message, more === undefined ? undefined : controlOf(more));
}

/** A response control and its value. */
export type ControlBytes = { readonly oid: string; readonly value: Buffer };

export function entryBytes(id: number, dn: string, attributes: Attributes, more?: ControlBytes): Buffer {
  const tail = more === undefined ? undefined : controlOf(more);
  return write(id, tags.searchEntry, (writer) => entryBody(writer, dn, attributes), tail);
}

function entryBody(writer: BerWriter, dn: string, attributes: Attributes): void {
  writer.writeString(dn);
  writer.startSequence();
  for (const [name, values] of Object.entries(attributes)) {
    writer.startSequence();
    writer.writeString(name);
    writer.startSequence(0x31);
    for (const value of values) writer.writeBuffer(Buffer.from(value), octets);
    writer.endSequence();
    writer.endSequence();
  }
  writer.endSequence();
}

/** RFC 4511 section 4.13. */
export function intermediateBytes(id: number, oid: string, value: Buffer): Buffer {
  return write(id, tags.intermediate, (writer) => {
    writer.writeString(oid, 0x80);
    writer.writeBuffer(value, 0x81);
  });
}

function control(oid: string, writeValue: (value: BerWriter) => void): (writer: BerWriter) => void {
  const value = new BerWriter();
  value.startSequence();
  writeValue(value);
  value.endSequence();
  return controlOf({ oid, value: value.buffer });
}

function controlOf({ oid, value }: ControlBytes): (writer: BerWriter) => void {
  return (writer) => {
    writer.startSequence(tags.controls);
    writer.startSequence();
    writer.writeString(oid);
    writer.writeBuffer(value, octets);
    writer.endSequence();
    writer.endSequence();
  };
}

function pagingControl(cookie: string): (writer: BerWriter) => void {
  return control(pagedOid, (value) => {
    value.writeInt(0);
    value.writeString(cookie);
  });
}

function dirSyncControl({ hasMore, cookie }: { hasMore: boolean; cookie: string }): (writer: BerWriter) => void {
  return control(dirSyncOid, (value) => {
    value.writeInt(hasMore ? 1 : 0);
    value.writeInt(0);
    value.writeString(cookie);
  });
}

function answerTo(id: number, socket: Socket, script: FakeScript): Answer {
  const out = (message: Buffer): void => send(socket, script, message);
  return {
    socket,
    entry: (dn, attributes) => out(entryBytes(id, dn, attributes)),
    reference: (url) => out(write(id, tags.searchReference, (writer) => writer.writeString(url))),
    raw: (bytes) => socket.write(bytes),
    done({ code = 0, message = '', cookie, referral, dirSync } = {}) {
      const body = (writer: BerWriter): void => {
        writer.writeEnumeration(code);
        writer.writeString('');
        writer.writeString(message);
        if (referral === undefined) return;
        writer.startSequence(0xa3);
        writer.writeString(referral);
        writer.endSequence();
      };
      const paging = cookie === undefined ? undefined : pagingControl(cookie);
      out(write(id, tags.searchDone, body, dirSync === undefined ? paging : dirSyncControl(dirSync)));
    },
    disconnect() {
      const notice = write(0, tags.extendedDone, (writer) => {
        writer.writeEnumeration(52);
        writer.writeString('');
        writer.writeString('going down');
        writer.writeString('1.3.6.1.4.1.1466.20036', 0x8a);
      });
      socket.end(notice);
    },
  };
}
