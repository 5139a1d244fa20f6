"""The OpenAI Agents SDK: a function of the client's own, then a hosted table."""

import asyncio
import os

from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)  # its traces would go to a vendor

client = AsyncOpenAI(
    base_url=os.environ.get("SALLYPORT_URL", "http://127.0.0.1:8080") + "/ai-gateway/mlflow/v1",
    api_key=os.environ["SALLYPORT_TOKEN"],
)
MODEL = OpenAIResponsesModel(model=os.environ.get("SALLYPORT_MODEL", "databricks-demo"), openai_client=client)


@function_tool
def get_weather(location: str) -> str:
    """Get the current weather for a location."""
    return f"It is 18 degrees and sunny in {location}."


async def own_function():
    agent = Agent(name="Weather", instructions="Answer from the tool.", model=MODEL, tools=[get_weather])
    result = await Runner.run(agent, "What's the weather in Paris?")
    print(result.final_output)
    assert "18" in result.final_output, result.final_output

    streamed = Runner.run_streamed(agent, "What's the weather in Paris?")
    async for _ in streamed.stream_events():
        pass
    assert "18" in streamed.final_output, streamed.final_output
    print("streamed the same answer")


async def hosted_table():
    # The SDK has no type for a hosted table, so the declaration rides along;
    # it reads hosted calls in the `openai` output dialect only.
    agent = Agent(
        name="Analyst",
        instructions="Answer from the table.",
        model=MODEL,
        model_settings=ModelSettings(
            extra_headers={"Sallyport-Output": "openai"},
            extra_body={"tools": [{"type": "table", "table": {"name": "main.sales.reviews"}}]},
        ),
    )
    result = await Runner.run(agent, "What is the maximum stars?")
    print([item.type for item in result.new_items])
    print(result.final_output)
    assert "5" in result.final_output, result.final_output


async def main():
    await own_function()
    await hosted_table()


asyncio.run(main())
