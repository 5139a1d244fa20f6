// Log lines as the gateway reads them from a plugin's stderr.
'use strict';

function log(level, message, attributes = {}) {
  process.stderr.write(JSON.stringify({'@level': level, '@message': message, ...attributes}) + '\n');
}

// PluginError is an error that a client may see; its codes are those of
// sdk/apierror. Any other error reaches a client as "internal".
class PluginError extends Error {
  constructor(code, message, more = {}) {
    super(message);
    this.wire = {code, message, ...more};
  }
}

// wireError is the form of an error between processes.
function wireError(e) {
  if (e instanceof PluginError) return e.wire;
  log('error', 'internal error', {error: String(e), stack: String(e.stack).slice(0, 4096)});
  return {code: 'internal', message: 'The gateway met an internal error.'};
}

module.exports = {log, PluginError, wireError};
