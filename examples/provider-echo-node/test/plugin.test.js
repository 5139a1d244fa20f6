// Plays the gateway to the real process: `npm test`.
'use strict';

const assert = require('node:assert');
const {execFileSync, spawn} = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');

const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const {TYPES, Reader, withHead, splitHead} = require('../lib/frames');

const ROOT = path.join(__dirname, '..');
const PROGRAM = path.join(ROOT, 'plugin');

// Plugin is a running plugin process.
class Plugin {
  async start() {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sp'));
    this.process = spawn(PROGRAM, [], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH, SALLYPORT_PLUGIN: 'a-gate-is-known-by-who-may-pass', PLUGIN_PROTOCOL_VERSIONS: '1',
        PLUGIN_UNIX_SOCKET_DIR: this.dir, SALLYPORT_HOST_PID: String(process.pid),
      },
    });
    this.log = '';
    this.process.stderr.on('data', (d) => { this.log += d; });
    this.ended = new Promise((resolve) => { this.process.on('exit', resolve); });
    const line = await new Promise((resolve) => { this.process.stdout.once('data', (d) => resolve(String(d))); });
    const [core, version, network, socket, protocol] = line.trim().split('|');
    assert.deepStrictEqual([core, version, network, protocol], ['1', '1', 'unix', 'grpc']);
    const protos = grpc.loadPackageDefinition(loader.loadSync(
      ['plugin.proto', 'health.proto', 'sallyport/provider/v1/provider.proto'], {includeDirs: [path.join(ROOT, 'proto')], keepCase: true, enums: String},
    ));
    const client = (Service) => new Service('unix:' + socket, grpc.credentials.createInsecure());
    this.clients = {
      health: client(protos.grpc.health.v1.Health), controller: client(protos.plugin.GRPCController),
      provider: client(protos.sallyport.provider.v1.Provider),
    };
    return this;
  }

  call(client, method, request) {
    return new Promise((resolve, reject) => {
      this.clients[client][method](request, (e, answer) => (e ? reject(e) : resolve(answer)));
    });
  }

  async connect() {
    const open = await this.call('provider', 'OpenData', {frames: 1});
    const c = new Connection(net.connect(open.socket));
    c.send(TYPES.HELLO, Buffer.concat([Buffer.from([1]), open.token]));
    return c;
  }

  async stop() {
    await this.call('controller', 'Shutdown', {});
    const code = await this.ended;
    const left = fs.readdirSync(this.dir);
    fs.rmSync(this.dir, {recursive: true});
    for (const c of Object.values(this.clients)) c.close();
    return {code, left};
  }
}

class Connection {
  constructor(socket) {
    this.socket = socket;
    socket.on('error', () => {}); // the reader tells it
    this.reader = new Reader(socket);
  }

  send(type, payload = Buffer.alloc(0)) {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(payload.length, 0);
    head[4] = type;
    this.socket.write(Buffer.concat([head, payload]));
  }

  async ask(request, more = {}) {
    const head = withHead({op: 'generate', account: {name: 'a'}, model: 'parrot', ...more});
    this.send(TYPES.REQ, Buffer.concat([head, Buffer.from(JSON.stringify(request))]));
    const {type, payload} = await this.reader.next();
    if (type === TYPES.ERR) return {error: JSON.parse(payload)};
    assert.strictEqual(type, TYPES.UP_REQ);
    return splitHead(payload);
  }

  async answer(status, parts, end = '') {
    this.send(TYPES.UP_HEAD, Buffer.from(JSON.stringify({status})));
    for (const p of parts) this.send(TYPES.UP_DATA, Buffer.from(p));
    this.send(TYPES.UP_EOF, Buffer.from(end));
    const events = [];
    for (;;) {
      const {type, payload} = await this.reader.next();
      if (type === TYPES.DONE) return {events};
      if (type === TYPES.ERR) return {events, error: JSON.parse(payload)};
      events.push(JSON.parse(payload.subarray(1)));
    }
  }
}

test('describe', () => {
  const out = execFileSync(PROGRAM, ['describe'], {env: {PATH: process.env.PATH}});
  assert.strictEqual(JSON.parse(out).manifest.name, 'echo');
});

test('the protocol file is the one of the sdk', {skip: !fs.existsSync(path.join(ROOT, '../../sdk/proto'))}, () => {
  assert.strictEqual(
    fs.readFileSync(path.join(ROOT, 'proto/sallyport/provider/v1/provider.proto'), 'utf8'),
    fs.readFileSync(path.join(ROOT, '../../sdk/proto/provider/v1/provider.proto'), 'utf8'),
  );
});

test('exchanges', async (t) => {
  const plugin = await new Plugin().start();
  const c = await plugin.connect();
  const request = {input: [{type: 'message', role: 'user', content: [{type: 'input_text', text: 'Grüße'}]}], max_output_tokens: 9};
  const reply = Buffer.from('{"text":"Grü"}\n{"text":"ße"}\n{"end":"stop","read":3,"wrote":2}\n');

  await t.test('request', async () => {
    const {head, body} = await c.ask({...request, tools: [{type: 'function', name: 'f'}]});
    assert.deepStrictEqual(head, {
      method: 'POST', path: 'echo', header: {'Content-Type': ['application/json']}, stream: true, lost: ['tools'],
    });
    assert.deepStrictEqual(JSON.parse(body), {model: 'parrot', messages: [{role: 'user', text: 'Grüße'}], max: 9});
    await c.answer(200, [reply]);
  });
  await t.test('the events do not depend on how the reply is split', async () => {
    const seen = [];
    for (const n of [1, 2, 5, 1000]) {
      await c.ask(request);
      const parts = [];
      for (let i = 0; i < reply.length; i += n) parts.push(reply.subarray(i, i + n));
      seen.push(await c.answer(200, parts));
    }
    for (const s of seen) assert.deepStrictEqual(s, seen[0]);
    const last = seen[0].events.at(-1).response;
    assert.deepStrictEqual([last.status, last.usage.total_tokens], ['completed', 5]);
  });
  await t.test('errors end the exchange only', async () => {
    assert.strictEqual((await c.ask(null, {op: 'embed'})).error.code, 'unsupported');
    const cases = [
      [429, ['{"problem":"slow down"}'], '', 'upstream_limited'], [500, ['x'], '', 'upstream_failed'],
      [200, ['no json\n'], '', 'upstream_failed'], [200, ['{"text":"a"}\n'], '', 'upstream_failed'],
      [200, [], '{"cut":"gone","error":{"code":"upstream_timeout","message":"Late."}}', 'upstream_timeout'],
    ];
    for (const [status, parts, end, code] of cases) {
      await c.ask(request);
      assert.strictEqual((await c.answer(status, parts, end)).error.code, code);
    }
  });
  await t.test('a wrong token is not let in', async () => {
    const open = await plugin.call('provider', 'OpenData', {frames: 1});
    const other = new Connection(net.connect(open.socket));
    other.send(TYPES.HELLO, Buffer.from([1, 2, 3]));
    await assert.rejects(other.reader.next());
  });
  assert.deepStrictEqual(await plugin.call('health', 'Check', {service: 'plugin'}), {status: 'SERVING'});
  assert.deepStrictEqual(await plugin.stop(), {code: 0, left: []}, plugin.log);
  c.socket.destroy();
});

test('a plugin without descriptors has them again', {skip: process.platform !== 'linux' || !fs.existsSync('/usr/bin/prlimit')}, async () => {
  const plugin = await new Plugin().start();
  const pid = plugin.process.pid;
  const few = fs.readdirSync(`/proc/${pid}/fd`).length + 8;
  execFileSync('/usr/bin/prlimit', ['--pid', String(pid), `--nofile=${few}:${few}`]);
  const request = {input: [{type: 'message', role: 'user', content: [{type: 'input_text', text: 'hi'}]}]};
  const all = [];
  for (let i = 0; i < 16; i++) all.push(await plugin.connect()); // more than there are descriptors
  const asked = await Promise.allSettled(all.map((c) => c.ask(request)));
  const served = asked.filter((a) => a.status === 'fulfilled').length;
  assert.ok(served > 0 && served < all.length, `${served} of ${all.length} were let in`);
  for (const c of all) c.socket.destroy();
  for (;;) { // until it has seen that
    const c = await plugin.connect();
    try {
      await c.ask(request);
      const {events} = await c.answer(200, ['{"text":"a"}\n{"end":"stop","read":3,"wrote":2}\n']);
      assert.strictEqual(events.at(-1).response.status, 'completed');
      break;
    } catch (e) {
      if (e instanceof assert.AssertionError) throw e;
    } finally {
      c.socket.destroy();
    }
  }
  assert.deepStrictEqual(await plugin.stop(), {code: 0, left: []}, plugin.log);
});
