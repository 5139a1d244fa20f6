// The OpenAI Agents SDK. Functions of the client's own work in any output
// dialect; hosted tools need the `openai` one, chosen here by a header.
import assert from 'node:assert/strict';
import { Agent, OpenAIResponsesModel, run, setTracingDisabled, tool } from '@openai/agents';
import OpenAI from 'openai';
import { z } from 'zod';

setTracingDisabled(true); // its traces would go to a vendor
const baseURL = (process.env.SALLYPORT_URL ?? 'http://127.0.0.1:8080') + '/ai-gateway/mlflow/v1';
const apiKey = process.env.SALLYPORT_TOKEN;
const name = process.env.SALLYPORT_MODEL ?? 'databricks-demo';

const weather = tool({
  name: 'get_weather',
  description: 'Get the current weather for a location.',
  parameters: z.object({ location: z.string() }),
  execute: async ({ location }) => `It is 18 degrees and sunny in ${location}.`,
});
const own = new Agent({
  name: 'Weather',
  instructions: 'Answer from the tool.',
  model: new OpenAIResponsesModel(new OpenAI({ baseURL, apiKey }), name),
  tools: [weather],
});
const a = await run(own, "What's the weather in Paris?");
console.log(a.finalOutput);
assert.match(a.finalOutput, /18/);

// The SDK has no type for a hosted table, so the declaration rides along.
const hosted = new Agent({
  name: 'Analyst',
  instructions: 'Answer from the table.',
  model: new OpenAIResponsesModel(new OpenAI({ baseURL, apiKey, defaultHeaders: { 'Sallyport-Output': 'openai' } }), name),
  modelSettings: { providerData: { tools: [{ type: 'table', table: { name: 'main.sales.reviews' } }] } },
});
const b = await run(hosted, 'What is the maximum stars?');
console.log(b.newItems.map((item) => item.type).join(' '));
console.log(b.finalOutput);
assert.match(b.finalOutput, /5/);
