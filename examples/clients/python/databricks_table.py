"""The vendor's client, unchanged: only the host is ours.

  DATABRICKS_HOST=http://127.0.0.1:8080 DATABRICKS_TOKEN=… python databricks_table.py
"""

import os

from databricks_openai import DatabricksOpenAI

client = DatabricksOpenAI(use_ai_gateway=True)
MODEL = os.environ.get("SALLYPORT_MODEL", "databricks-demo")
TOOLS = [{"type": "table", "name": "Customer reviews", "table": {"name": "main.sales.reviews"}}]

response = client.responses.create(
    model=MODEL,
    input=[{"type": "message", "role": "user", "content": "What is the maximum stars?"}],
    tools=TOOLS,
    stream=False,
)
print(response.output_text)
kinds = [item.type for item in response.output]
assert kinds[-1] == "message" and "function_call" in kinds and "function_call_output" in kinds, kinds

# The next question goes out with the whole history, as the client got it.
history = [{"role": "user", "content": "What is the maximum stars?"}]
history += [item.model_dump() for item in response.output]
history.append({"role": "user", "content": "And the average helpful_votes by country?"})
done = None
for event in client.responses.create(model=MODEL, input=history, tools=TOOLS, stream=True):
    if event.type == "response.completed":
        done = event.response
print(done.output_text)
