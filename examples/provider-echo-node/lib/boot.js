// The start and the end of a plugin process: describe, handshake, health,
// shutdown. See sections 1 and 2 of sdk/proto/README.md.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const {log} = require('./log');

const COOKIE = 'a-gate-is-known-by-who-may-pass';
const MAX_MESSAGE = 36 << 20;
const PARENT_POLL = 500; // ms
const STOP_GRACE = 2000; // ms

// run runs a plugin: description is what `describe` prints; plugin has the
// names of its .proto files, services(packages), and may have listen(dir,
// ready) and close() for sockets of its own.
function run(description, plugin) {
  const name = path.basename(process.argv[1]);
  if (process.argv.length === 3 && process.argv[2] === 'describe') {
    fs.writeSync(1, JSON.stringify(description) + '\n');
    return;
  }
  if (process.env.SALLYPORT_PLUGIN !== COOKIE) {
    console.error(`${name} is a ${description.kind} plugin of the Sallyport gateway, which starts it by itself.\n` +
      'Check it with `sallyport plugin test PATH`, add it with `sallyport plugin add PATH`.');
    process.exitCode = 2;
    return;
  }
  const versions = (process.env.PLUGIN_PROTOCOL_VERSIONS || '1').split(',').map(Number);
  if (!versions.includes(description.protocol)) {
    console.error(`this plugin speaks protocol ${description.protocol}, the gateway ${versions}; update one of them`);
    process.exitCode = 2;
    return;
  }
  serve(description.protocol, plugin);
}

function serve(protocol, plugin) {
  for (const level of ['log', 'info', 'debug']) { // stdout belongs to the handshake
    console[level] = (...args) => log('warn', 'plugin printed to stdout; log to stderr instead', {line: args.join(' ')});
  }
  process.on('SIGINT', () => {}); // it is meant for the gateway

  const grpc = require('@grpc/grpc-js');
  const loader = require('@grpc/proto-loader');

  const dir = process.env.PLUGIN_UNIX_SOCKET_DIR;
  const server = new grpc.Server({
    'grpc.max_receive_message_length': MAX_MESSAGE, 'grpc.max_send_message_length': MAX_MESSAGE,
  });
  const end = () => {
    setTimeout(() => process.exit(1), STOP_GRACE).unref();
    plugin.close?.();
    server.tryShutdown(() => process.exit(0));
    setTimeout(() => server.forceShutdown(), 100);
  };
  process.on('SIGTERM', end);
  const parent = Number(process.env.SALLYPORT_HOST_PID) || process.ppid;
  setInterval(() => { if (process.ppid !== parent) end(); }, PARENT_POLL).unref();

  const protos = grpc.loadPackageDefinition(loader.loadSync(
    ['plugin.proto', 'health.proto', ...plugin.protos],
    {includeDirs: [path.join(__dirname, '..', 'proto')], keepCase: true, enums: String, longs: Number, oneofs: true},
  ));
  server.addService(protos.grpc.health.v1.Health.service, {
    Check(call, answer) {
      if (call.request.service === 'plugin' || call.request.service === '') answer(null, {status: 'SERVING'});
      else answer({code: grpc.status.NOT_FOUND, details: 'unknown service'});
    },
  });
  server.addService(protos.plugin.GRPCController.service, {
    Shutdown(call, answer) { answer(null, {}); setImmediate(end); },
  });
  for (const [service, methods] of plugin.services(protos, grpc)) server.addService(service, methods);

  const socket = path.join(dir, 'plugin.sock');
  const listen = plugin.listen ? plugin.listen.bind(plugin) : (_, ready) => ready();
  listen(dir, () => server.bindAsync('unix:' + socket, grpc.ServerCredentials.createInsecure(), (e) => {
    if (e) throw e;
    fs.writeSync(1, `1|${protocol}|unix|${socket}|grpc|\n`);
  }));
}

module.exports = {run};
