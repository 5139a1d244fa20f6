// Frames of the data plane: u32 length, u8 type, payload. See section 4 of
// sdk/proto/README.md.
'use strict';

const TYPES = {
  HELLO: 1, REQ: 2, UP_HEAD: 3, UP_DATA: 4, UP_EOF: 5,
  UP_REQ: 16, EVENT: 17, ERR: 18, DONE: 19,
};
const MAX_FRAME = 36 << 20;
const BUFFER = 32 << 10;

// Broken is a breach of the format, Closed the end of a connection.
class Broken extends Error {}
class Closed extends Error {}

// Reader reads frames. It takes from the socket only what is asked for, so
// that the socket's own back-pressure holds.
class Reader {
  constructor(socket) {
    this.socket = socket;
    this.chunks = socket[Symbol.asyncIterator]();
    this.rest = Buffer.alloc(0);
  }

  // buffered says whether a read would find bytes without waiting.
  buffered() { return this.rest.length > 0 || this.socket.readableLength > 0; }

  // some reads at least one byte and at most so many.
  async some(most) {
    if (this.rest.length === 0) {
      let next;
      try { next = await this.chunks.next(); }
      catch (e) { throw new Closed(e.message); }
      if (next.done) throw new Closed('end of the connection');
      this.rest = next.value;
    }
    const part = this.rest.subarray(0, most);
    this.rest = this.rest.subarray(part.length);
    return part;
  }

  async exactly(n) {
    const parts = [];
    while (n > 0) {
      const part = await this.some(n);
      parts.push(part);
      n -= part.length;
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  async head() {
    const h = await this.exactly(5);
    const length = h.readUInt32BE(0);
    if (length > MAX_FRAME) throw new Broken(`frame of type ${h[4]} claims ${length} bytes, more than ${MAX_FRAME}`);
    return {type: h[4], length};
  }

  async next() {
    const {type, length} = await this.head();
    return {type, payload: await this.exactly(length)};
  }
}

// Writer writes frames. They wait until flush, until the buffer is full, or
// for a millisecond.
class Writer {
  constructor(socket) {
    this.socket = socket;
    this.waiting = [];
    this.size = 0;
    this.timer = null;
  }

  async frame(type, ...parts) {
    const length = parts.reduce((n, p) => n + p.length, 0);
    if (length > MAX_FRAME) throw new Broken(`frame of type ${type} has ${length} bytes, more than ${MAX_FRAME}`);
    if (this.size > 0 && this.size + 5 + length > BUFFER) await this.flush();
    const head = Buffer.alloc(5);
    head.writeUInt32BE(length, 0);
    head[4] = type;
    this.waiting.push(head, ...parts);
    this.size += 5 + length;
    if (this.size > BUFFER) await this.flush();
    else this.timer ??= setTimeout(() => this.flush().catch(() => {}), 1);
  }

  async flush() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.size === 0) return;
    const bytes = Buffer.concat(this.waiting);
    this.waiting = [];
    this.size = 0;
    if (this.socket.destroyed) throw new Closed('connection closed');
    if (this.socket.write(bytes)) return;
    await new Promise((resolve, reject) => { // who cannot write waits, and does not read on
      const done = (f) => { this.socket.off('drain', drained); this.socket.off('close', closed); f(); };
      const drained = () => done(resolve);
      const closed = () => done(() => reject(new Closed('connection closed')));
      this.socket.on('drain', drained);
      this.socket.on('close', closed);
    });
  }
}

// withHead is the first part of a payload with a head.
function withHead(head) {
  const json = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length, 0);
  return Buffer.concat([length, json]);
}

// splitHead reads a payload with a head.
function splitHead(payload) {
  if (payload.length < 4) throw new Broken('payload is shorter than the length of its head');
  const n = payload.readUInt32BE(0);
  if (n > payload.length - 4) throw new Broken(`head claims ${n} of ${payload.length - 4} bytes`);
  return {head: parse(payload.subarray(4, 4 + n), 'head'), body: payload.subarray(4 + n)};
}

function parse(bytes, what) {
  try { return JSON.parse(bytes.toString()); }
  catch (e) { throw new Broken(`${what}: ${e.message}`); }
}

module.exports = {TYPES, MAX_FRAME, Broken, Closed, Reader, Writer, withHead, splitHead, parse};
