"""The plain OpenAI client: a hosted table, first at once, then streamed."""

import os
import warnings

from openai import OpenAI

# The package has no type for a hosted table and says so at length when it
# rebuilds the response.
warnings.filterwarnings("ignore", message="Pydantic serializer warnings")

client = OpenAI(
    base_url=os.environ.get("SALLYPORT_URL", "http://127.0.0.1:8080") + "/ai-gateway/mlflow/v1",
    api_key=os.environ["SALLYPORT_TOKEN"],
)
MODEL = os.environ.get("SALLYPORT_MODEL", "databricks-demo")
TOOLS = [{"type": "table", "table": {"name": "main.sales.reviews"}}]
QUESTION = "How many reviews are there by country?"

response = client.responses.create(model=MODEL, input=QUESTION, tools=TOOLS)
for item in response.output:
    print(item.type, getattr(item, "name", "") or "")
print(response.output_text)
print("tokens:", response.usage.total_tokens)

# The streaming helper rebuilds the response from the events and is strict
# about their order.
with client.responses.stream(model=MODEL, input=QUESTION, tools=TOOLS) as stream:
    for event in stream:
        if event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
    print()
    final = stream.get_final_response()
assert final.output_text == response.output_text, (final.output_text, response.output_text)
print("streamed the same answer")
