// The provider's side of a plugin: a listening socket for the data plane, a
// token for each connection, and the exchanges on it one after another.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');

const {TYPES, MAX_FRAME, Broken, Closed, Reader, Writer, withHead, splitHead, parse} = require('./frames');
const {log, PluginError, wireError} = require('./log');

const VERSION = 1;
const TOKEN_LIFE = 30_000; // ms
const HELLO_WAIT = 5_000; // ms
const MAX_HELLO = 256;
const MAX_TOKENS = 4096; // the oldest gives way to one more

class DataPlane {
  // begin(turn) gives {upstream, decode(reply)}.
  constructor(begin) {
    this.protos = ['sallyport/provider/v1/provider.proto'];
    this.begin = begin;
    this.tokens = new Map(); // to the end of their life, the oldest first
    this.sockets = new Set();
    this.server = net.createServer((socket) => this.connection(socket));
  }

  listen(dir, ready) {
    this.path = path.join(dir, 'data.sock');
    this.server.listen(this.path, () => {
      // What fails from now on, such as memory for one more socket, goes by.
      this.server.on('error', (e) => log('warn', 'a data connection cannot be accepted', {error: String(e)}));
      ready();
    });
  }

  services(protos, grpc) {
    return [[protos.sallyport.provider.v1.Provider.service, {
      OpenData: (call, answer) => {
        try { answer(null, this.open(call.request.frames)); }
        catch (e) { answer({code: grpc.status.FAILED_PRECONDITION, details: e.message}); }
      },
    }]];
  }

  open(frames) {
    if (frames < VERSION) throw new Error(`this plugin speaks frame format ${VERSION}, the gateway ${frames}`);
    const now = Date.now();
    for (const [token, end] of this.tokens) {
      if (end >= now && this.tokens.size < MAX_TOKENS) break;
      this.tokens.delete(token);
    }
    const token = crypto.randomBytes(32);
    this.tokens.set(token.toString('hex'), now + TOKEN_LIFE);
    return {socket: this.path, token, frames: VERSION, max_frame: MAX_FRAME};
  }

  close() {
    this.server.close();
    for (const s of this.sockets) s.destroy();
    fs.rmSync(this.path, {force: true});
  }

  async connection(socket) {
    this.sockets.add(socket);
    socket.on('error', () => {}); // the reader tells it
    const late = setTimeout(() => socket.destroy(), HELLO_WAIT);
    try {
      const reader = new Reader(socket), writer = new Writer(socket);
      await this.hello(reader);
      clearTimeout(late);
      for (;;) {
        const {type, payload} = await reader.next();
        if (type !== TYPES.REQ) throw new Broken(`frame of type ${type} between two exchanges`);
        await exchange(this.begin, reader, writer, payload);
      }
    } catch (e) {
      if (!(e instanceof Closed)) log('error', 'data connection broken', {error: String(e)});
    } finally {
      clearTimeout(late);
      this.sockets.delete(socket);
      socket.destroy();
    }
  }

  // hello checks who is there. Node cannot ask for the process at the other
  // end of a socket; the token, which only the gateway was given, and the
  // private directory say it.
  async hello(reader) {
    const {type, length} = await reader.head();
    if (type !== TYPES.HELLO || length < 1 || length > MAX_HELLO) throw new Broken('no hello');
    const hello = await reader.exactly(length);
    if (hello[0] === 0) throw new Closed(); // the gateway looks whether anybody is let in
    const token = hello.subarray(1).toString('hex');
    const end = this.tokens.get(token) || 0;
    this.tokens.delete(token);
    if (hello[0] !== VERSION || end < Date.now()) throw new Broken('unknown token');
  }
}

// exchange serves one REQ.
async function exchange(begin, reader, writer, payload) {
  const {head, body} = splitHead(payload);
  let x;
  try {
    x = begin({...head, request: body.length ? parse(body, 'request') : null});
  } catch (e) {
    await end(writer, TYPES.ERR, wireError(e));
    return;
  }
  const {body: out = '', ...up} = x.upstream || {none: true};
  await writer.frame(TYPES.UP_REQ, withHead(up), Buffer.from(out));
  await writer.flush();
  const first = await reader.next(); // or the connection closes: the exchange is not wanted any more
  if (first.type !== TYPES.UP_HEAD) throw new Broken(`frame of type ${first.type} instead of the reply's head`);
  const reply = new Reply(parse(first.payload, 'head of reply'), reader, writer);
  try {
    for await (const event of x.decode(reply)) {
      const usage = (event.response || event).usage ? 1 : 0;
      await writer.frame(TYPES.EVENT, Buffer.from([usage | (event.response ? 2 : 0)]), Buffer.from(JSON.stringify(event)));
    }
    await end(writer, TYPES.DONE);
  } catch (e) {
    if (e instanceof Closed || e instanceof Broken) throw e;
    await end(writer, TYPES.ERR, wireError(e));
  }
  await reply.drain();
}

async function end(writer, type, error) {
  await writer.frame(type, ...(error ? [Buffer.from(JSON.stringify(error))] : []));
  await writer.flush();
}

// Reply is the provider's answer: status, header, and the bytes of its body.
class Reply {
  constructor({status, header = {}}, reader, writer) {
    Object.assign(this, {status, header, reader, writer, left: 0, ended: false, cut: null});
  }

  // Yields bytes as they come, split anywhere. A cut reply throws.
  async *[Symbol.asyncIterator]() {
    for (;;) {
      while (this.left === 0 && !this.ended) await this.frame();
      if (this.cut) throw this.cut;
      if (this.ended) return;
      await this.ready();
      const part = await this.reader.some(this.left);
      this.left -= part.length;
      yield part;
    }
  }

  // text is the whole body.
  async text() {
    const parts = [];
    for await (const part of this) parts.push(part);
    return Buffer.concat(parts).toString();
  }

  // drain passes over the rest, so that the connection can serve the next exchange.
  async drain() {
    while (!this.ended) {
      while (this.left > 0) this.left -= (await this.reader.some(this.left)).length;
      await this.frame();
    }
  }

  // ready sends what was decoded before a read that would wait.
  async ready() { if (!this.reader.buffered()) await this.writer.flush(); }

  async frame() {
    await this.ready();
    const {type, length} = await this.reader.head();
    if (type === TYPES.UP_DATA) {
      this.left = length;
      return;
    }
    if (type !== TYPES.UP_EOF) throw new Broken(`frame of type ${type} in the reply`);
    this.ended = true;
    if (length === 0) return;
    const {cut, error} = parse(await this.reader.exactly(length), 'end of reply');
    this.cut = error ? new PluginError(error.code, error.message, error)
      : new PluginError('upstream_failed', `The provider's reply was cut: ${cut}.`);
  }
}

module.exports = {DataPlane};
