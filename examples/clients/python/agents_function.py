"""The OpenAI Agents SDK with a function of the client's own."""

import asyncio
import os

from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)  # its traces would go to a vendor


@function_tool
def get_weather(location: str) -> str:
    """Get the current weather for a location."""
    return f"It is 18 degrees and sunny in {location}."


async def main():
    client = AsyncOpenAI(
        base_url=os.environ.get("SALLYPORT_URL", "http://127.0.0.1:8080") + "/ai-gateway/mlflow/v1",
        api_key=os.environ["SALLYPORT_TOKEN"],
    )
    agent = Agent(
        name="Weather",
        instructions="Answer from the tool.",
        model=OpenAIResponsesModel(model=os.environ.get("SALLYPORT_MODEL", "databricks-demo"), openai_client=client),
        tools=[get_weather],
    )
    result = await Runner.run(agent, "What's the weather in Paris?")
    print(result.final_output)
    assert "18" in result.final_output, result.final_output

    streamed = Runner.run_streamed(agent, "What's the weather in Paris?")
    async for _ in streamed.stream_events():
        pass
    assert "18" in streamed.final_output, streamed.final_output
    print("streamed the same answer")


asyncio.run(main())
