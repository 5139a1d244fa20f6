// A function that the client runs, in two turns.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: (process.env.SALLYPORT_URL ?? 'http://127.0.0.1:8080') + '/ai-gateway/mlflow/v1',
  apiKey: process.env.SALLYPORT_TOKEN,
});
const model = process.env.SALLYPORT_MODEL ?? 'databricks-demo';
const tools = [{
  type: 'function',
  name: 'get_weather',
  description: 'Get the current weather for a location.',
  parameters: { type: 'object', properties: { location: { type: 'string' } }, required: ['location'], additionalProperties: false },
  strict: true,
}];

const history = [{ role: 'user', content: "What's the weather in Paris?" }];
const first = await client.responses.create({ model, input: history, tools });
history.push(...first.output);
for (const item of first.output) {
  if (item.type === 'function_call') {
    const { location } = JSON.parse(item.arguments);
    history.push({ type: 'function_call_output', call_id: item.call_id, output: JSON.stringify({ location, temp_c: 18 }) });
  }
}
const final = await client.responses.create({ model, input: history, tools });
console.log(final.output_text);
assert.match(final.output_text, /18/);
