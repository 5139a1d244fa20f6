"""A function that the client runs: the model asks for it in turn one, and
answers from its result in turn two. Works with the vendor's client and with
the plain one.

  python functions.py databricks    DATABRICKS_HOST and DATABRICKS_TOKEN, or CLIENT_ID and CLIENT_SECRET
  python functions.py openai        SALLYPORT_URL and SALLYPORT_TOKEN
"""

import json
import os
import sys

MODEL = os.environ.get("SALLYPORT_MODEL", "databricks-demo")
if sys.argv[1:] == ["openai"]:
    from openai import OpenAI

    client = OpenAI(
        base_url=os.environ.get("SALLYPORT_URL", "http://127.0.0.1:8080") + "/ai-gateway/mlflow/v1",
        api_key=os.environ["SALLYPORT_TOKEN"],
    )
else:
    from databricks_openai import DatabricksOpenAI

    client = DatabricksOpenAI(use_ai_gateway=True)

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location.",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string"}},
        "required": ["location"],
        "additionalProperties": False,
    },
}


def get_weather(arguments):
    return json.dumps({"location": arguments["location"], "temp_c": 18, "condition": "sunny"})


FUNCTIONS = {"get_weather": get_weather}
history = [{"role": "user", "content": "What's the weather in Paris?"}]

first = client.responses.create(model=MODEL, input=history, tools=[WEATHER])
history += [item.model_dump() for item in first.output]
for item in first.output:
    if item.type == "function_call" and item.name in FUNCTIONS:
        result = FUNCTIONS[item.name](json.loads(item.arguments))
        history.append({"type": "function_call_output", "call_id": item.call_id, "output": result})

final = client.responses.create(model=MODEL, input=history, tools=[WEATHER])
print(final.output_text)
assert "18" in final.output_text, final.output_text
