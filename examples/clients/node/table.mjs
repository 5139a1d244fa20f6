// The plain OpenAI client: a hosted table, at once and with the streaming helper.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: (process.env.SALLYPORT_URL ?? 'http://127.0.0.1:8080') + '/ai-gateway/mlflow/v1',
  apiKey: process.env.SALLYPORT_TOKEN,
});
const request = {
  model: process.env.SALLYPORT_MODEL ?? 'databricks-demo',
  input: 'What is the average stars by country?',
  tools: [{ type: 'table', table: { name: 'main.sales.reviews' } }],
};

const response = await client.responses.create(request);
console.log(response.output.map((item) => item.type).join(' '));
console.log(response.output_text);

const stream = client.responses.stream(request);
for await (const event of stream) {
  if (event.type === 'response.output_text.delta') process.stdout.write(event.delta);
}
console.log();
const final = await stream.finalResponse();
assert.equal(final.output_text, response.output_text);
console.log('streamed the same answer');
