// The translation between OpenResponses and the dialect "echo":
//
//   POST echo   {"model": "…", "messages": [{"role": "user", "text": "…"}], "max": 100}
//   200         one JSON object a line: {"text": "Hel"}, {"text": "lo"},
//               {"end": "stop" or "length", "read": 3, "wrote": 2}
//   otherwise   {"problem": "…"}
'use strict';

const {PluginError} = require('./log');

// begin translates the request of one turn.
function begin(turn) {
  if (turn.op !== 'generate') throw new PluginError('unsupported', `An echo cannot do "${turn.op}".`);
  const r = turn.request, lost = [];
  const messages = [];
  if (r.instructions) messages.push({role: 'system', text: r.instructions});
  (r.input || []).forEach((item, i) => {
    if (item.type && item.type !== 'message') lost.push(`input[${i}]`);
    else messages.push({role: item.role, text: text(item.content, `input[${i}].content`, lost)});
  });
  if (r.tools && r.tools.length > 0) lost.push('tools');
  const body = {model: turn.model, messages};
  if (r.max_output_tokens) body.max = r.max_output_tokens;
  return {
    upstream: {
      method: 'POST', path: 'echo', header: {'Content-Type': ['application/json']}, stream: true, lost,
      body: JSON.stringify(body),
    },
    decode,
  };
}

function text(content, at, lost) {
  if (typeof content === 'string') return content;
  return (content || []).map((part, i) => {
    if (typeof part.text !== 'string') lost.push(`${at}[${i}]`);
    return part.text || '';
  }).join('');
}

// decode reads the reply and yields events: an item with one part opens, grows
// and closes; then the turn ends.
async function* decode(reply) {
  if (reply.status !== 200) throw await refusal(reply);
  let whole = '', open = false, last = null;
  for await (const line of lines(reply)) {
    const say = object(line);
    if (say.end) {
      last = say;
      break;
    }
    if (typeof say.text !== 'string') throw new PluginError('upstream_failed', 'The echo sent a line without a text.');
    if (!say.text) continue;
    if (!open) {
      open = true;
      yield {type: 'response.output_item.added', output_index: 0, item: message('in_progress', [])};
      yield {type: 'response.content_part.added', output_index: 0, content_index: 0, part: part('')};
    }
    whole += say.text;
    yield {type: 'response.output_text.delta', output_index: 0, content_index: 0, delta: say.text};
  }
  if (!last) throw new PluginError('upstream_failed', 'The echo stopped before its end.');
  const status = last.end === 'length' ? 'incomplete' : 'completed';
  const read = count(last.read), wrote = count(last.wrote);
  const usage = {
    input_tokens: read, input_tokens_details: {cached_tokens: 0},
    output_tokens: wrote, output_tokens_details: {reasoning_tokens: 0}, total_tokens: read + wrote,
  };
  if (open) {
    yield {type: 'response.output_text.done', output_index: 0, content_index: 0, text: whole, usage};
    yield {type: 'response.content_part.done', output_index: 0, content_index: 0, part: part(whole)};
    yield {type: 'response.output_item.done', output_index: 0, item: message(status, [part(whole)])};
  }
  const response = {status, usage};
  if (status === 'incomplete') response.incomplete_details = {reason: 'max_output_tokens'};
  yield {type: 'response.' + status, response};
}

const message = (status, content) => ({type: 'message', status, role: 'assistant', content});
const part = (text) => ({type: 'output_text', text, annotations: []});

const count = (n) => (Number.isInteger(n) && n > 0 ? n : 0);

// object reads a line of the reply. What a provider sends is not to be trusted.
function object(line) {
  let say = null;
  try { say = JSON.parse(line); } catch { /* told below */ }
  if (say === null || typeof say !== 'object') throw new PluginError('upstream_failed', 'The echo sent a line that is no JSON object.');
  return say;
}

// refusal is the error that a reply with another status means.
async function refusal(reply) {
  let problem = '';
  try { problem = JSON.parse(await reply.text()).problem || ''; }
  catch (e) { if (e instanceof PluginError) return e; }
  const code = {400: 'upstream_invalid', 401: 'upstream_auth', 403: 'upstream_auth', 429: 'upstream_limited'}[reply.status] || 'upstream_failed';
  return new PluginError(code, `The echo answered ${reply.status}: ${problem}`, {upstream: {status: reply.status}});
}

// lines yields the lines of a reply as they come; a character may be split.
async function* lines(reply) {
  let rest = Buffer.alloc(0);
  for await (const bytes of reply) {
    rest = Buffer.concat([rest, bytes]);
    for (let at; (at = rest.indexOf(10)) >= 0; rest = rest.subarray(at + 1)) {
      const line = rest.subarray(0, at).toString().trim();
      if (line) yield line;
    }
    if (rest.length > 8 << 20) throw new PluginError('upstream_failed', 'A line of the echo is too long.');
  }
  if (rest.length > 0) yield rest.toString();
}

module.exports = {begin};
