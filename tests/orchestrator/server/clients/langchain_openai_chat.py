"""LangChain's ChatOpenAI asks a gateway, and tells what it heard as JSON."""

import json
import sys

from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from openai import NotFoundError

base, key = sys.argv[1:]
chat = ChatOpenAI(base_url=base, api_key=key, model="tier/worker", max_retries=0, stream_usage=True)
asked = [SystemMessage("Be short."), HumanMessage("Hello 👋")]
whole = chat.invoke(asked)
pieces = list(chat.stream(asked))
tools = [
    {
        "name": "add",
        "description": "Adds one.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    }
]
called = chat.bind_tools(tools).invoke(asked)
told = chat.invoke([*asked, called, ToolMessage("8", tool_call_id=called.tool_calls[0]["id"])])
shape = {"title": "Person", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
shaped = chat.with_structured_output(shape, method="json_schema").invoke(asked)
responded = ChatOpenAI(base_url=base, api_key=key, model="tier/worker", max_retries=0, use_responses_api=True).invoke(
    asked
)
try:
    ChatOpenAI(base_url=base, api_key=key, model="tier/nothing", max_retries=0).invoke(asked)
    refused = None
except NotFoundError as error:
    refused = error.status_code
print(
    json.dumps(
        {
            "whole": whole.content,
            "usage": whole.usage_metadata["total_tokens"],
            "streamed": "".join(one.content for one in pieces),
            "stream_usage": sum((one.usage_metadata or {}).get("total_tokens", 0) for one in pieces),
            "called": [[one["name"], one["args"]] for one in called.tool_calls],
            "told": told.content,
            "shaped": shaped,
            "responded": responded.text if isinstance(responded.text, str) else responded.text(),
            "refused": refused,
        }
    )
)
