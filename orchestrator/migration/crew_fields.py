"""What stands here for fields, tools and models of CrewAI: data, and what follows from it alone. Pure.

Source: the fields of `Agent`, `Task` and `Crew` in CrewAI 1.15; tools of the package crewai-tools, by class name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Container, Mapping
from typing import NamedTuple


class Counsel(NamedTuple):
    """Why a field is not in the squad, and what to do."""

    text: str
    todo: str = ""


def _each(words: str, text: str, todo: str = "") -> dict[str, Counsel]:
    return dict.fromkeys(words.split(), Counsel(text, todo))


_PROGRAM = "the program that embeds the squad reads its events: docs/guides/python-tools.md"
_SHOWN = "how much is shown is an option of `run`: --verbose"
_KNOWLEDGE = "put the documents into a folder, and write knowledge: [FOLDER]"
AGENT_COUNSEL: Mapping[str, Counsel] = {
    **_each("verbose", "is left out: `run --verbose` logs every event"),
    **_each("cache cache_handler tools_handler", "is left out: a resumed run asks nothing twice"),
    **_each("max_rpm", "limits are a provider's here", "agent_routing.yaml: providers: {NAME: {limits: ...}}"),
    **_each("step_callback callbacks", "is code of the program", _PROGRAM),
    **_each(
        "reasoning planning planning_config max_reasoning_attempts", "no plan is made before the work", "effort: high"
    ),
    **_each("multimodal", "is of the model here", "give images as inputs: {photo: {type: image}}"),
    **_each(
        "allow_code_execution code_execution_mode", "no code runs by itself", "tools: {run_command: {programs: [...]}}"
    ),
    **_each("max_retry_limit", "work is tried again by the task", "retry: {max_attempts: 3} at its tasks"),
    **_each("function_calling_llm", "one model writes answers and calls tools"),
    **_each(
        "system_template prompt_template response_template",
        "the words around a prompt differ",
        "template: of a persona",
    ),
    **_each(
        "use_system_prompt respect_context_window use_better_compaction", "is as it must be for each model by itself"
    ),
    **_each("knowledge knowledge_sources knowledge_config knowledge_storage", "is made in Python", _KNOWLEDGE),
    **_each("knowledge_search_query agent_knowledge_context crew_knowledge_context", "is made in Python", _KNOWLEDGE),
    **_each("embedder", "embeddings are chosen with memory", "docs/guides/memory.md"),
    **_each("from_repository", "is an agent of CrewAI's own service", "write its role, goal and backstory out"),
    **_each("mcps apps", "tools of servers are declared", "mcp: {NAME: {...}}, and mcp: [NAME] at the agent"),
    **_each("guardrail_max_retries", "a text is sent back at most twice"),
    **_each("date_format", "the tool `now` has one format"),
    **_each("skills a2a security_config", "has no counterpart"),
    **_each("type", "is a class of the program"),
}
TASK_COUNSEL: Mapping[str, Counsel] = {
    **_each("callback callbacks", "is code of the program", _PROGRAM),
    **_each(
        "output_json output_pydantic response_model",
        "is a class that cannot be read",
        "output_schema: a JSON Schema, or its file",
    ),
    **_each("converter_cls", "is code of the program", "output_schema"),
    **_each("create_directory", "folders of files are made as they are needed"),
    **_each("guardrail_max_retries max_retries", "a text is sent back at most twice"),
    **_each("guardrail guardrails", "is not checked where a manager leads", "guardrails at the agents"),
    **_each("allow_crewai_trigger_context", "has no counterpart"),
    **_each("input_files", "files are inputs", "inputs: {NAME: {type: file}}"),
    **_each("security_config", "has no counterpart"),
    **_each("type", "is a class of the program"),
    **_each("prompt_context", "has no counterpart", "write it into the description"),
    **_each("condition", "is code of the program", 'if: "${{ ... }}"'),
}
CREW_COUNSEL: Mapping[str, Counsel] = {
    **_each("verbose output_log_file", "is left out", _SHOWN),
    **_each("cache tracing stream share_crew config", "is left out"),
    **_each("max_rpm", "limits are a provider's here", "agent_routing.yaml: providers: {NAME: {limits: ...}}"),
    **_each("planning planning_llm", "no plan is made of the tasks", "begin with a task that plans"),
    **_each("knowledge knowledge_sources", "is made in Python", _KNOWLEDGE),
    **_each("embedder", "embeddings are chosen with memory", "docs/guides/memory.md"),
    **_each(
        "step_callback task_callback before_kickoff_callbacks after_kickoff_callbacks",
        "is code of the program",
        _PROGRAM,
    ),
    **_each("function_calling_llm chat_llm", "one model writes answers and calls tools"),
    **_each("prompt_file trained_agents_file security_config skills", "has no counterpart"),
}
HOOK_COUNSEL: Mapping[str, str] = {
    "before_kickoff": "the program changes the inputs before it runs the squad; or a first task with a tool does",
    "after_kickoff": "the program reads the run's result: docs/guides/python-tools.md",
}
TOOLS: Mapping[str, str] = {
    "FileReadTool": "read_file",
    "DirectoryReadTool": "list_files",
    "DirectorySearchTool": "search_files",
    "TXTSearchTool": "search_files",
    "MDXSearchTool": "search_files",
    "CSVSearchTool": "read_csv",
    "JSONSearchTool": "read_json",
    "FileWriterTool": "write_file",
}
WRITES = frozenset({"write_file"})
OF_FILES = frozenset(TOOLS.values())
_WEB = "tools: {http_get: {web: [HOST]}}, and tools: [http_get] at the agent"
_SEARCH = "an MCP server of a search engine, or a tool of your own: docs/guides/python-tools.md"
_TOOL_COUNSEL: tuple[tuple[str, str], ...] = (
    (r"Scrape|Website|Browser|Firecrawl|Selenium|Spider", _WEB),
    (r"Serper|Tavily|Exa|EXA|Brave|SerpApi|Serply|Search(Engine|API)|Linkup|You", _SEARCH),
    (r"CodeInterpreter|E2B", "tools: {run_command: {programs: [python3]}}"),
    (r"PDF|DOCX|XML|Rag|Docs|Vector|Qdrant|Weaviate|Mongo", _KNOWLEDGE),
    (r"Github|Slack|Notion|Jira|MCP|Composio|Zapier", "an MCP server: docs/guides/mcp.md"),
    (r"Vision|OCR", "give images as inputs: {photo: {type: image}}"),
)
_OWN_TOOL = "make it a tool of your own: docs/guides/python-tools.md"


def tool_counsel(name: str) -> str:
    """Return what to do about a tool that is not built in here."""
    return next((todo for pattern, todo in _TOOL_COUNSEL if re.search(pattern, name)), _OWN_TOOL)


_PROVIDERS: Mapping[str, str] = {
    "google": "gemini",
    "vertex_ai": "gemini",
    "together_ai": "together",
    "nvidia_nim": "nvidia",
    "ollama_chat": "ollama",
}
_BARE: tuple[tuple[str, str], ...] = (("gpt", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4", "openai"))
_BARE += (("claude", "anthropic"), ("gemini", "gemini"), ("mistral", "mistral"), ("deepseek", "deepseek"))


def model_of(name: str, known: Container[str], serving_any: Collection[str] = ()) -> str | None:
    """Return the model of the catalog that a name of CrewAI's means, None where there is none.

    `serving_any` are the providers that answer for any model: those of this machine.
    """
    head, slash, rest = name.strip().partition("/")
    provider = (
        _PROVIDERS.get(head, head) if slash else next((own for start, own in _BARE if name.startswith(start)), "")
    )
    made = f"{provider}/{rest if slash else name.strip()}"
    return made if made in known or (provider in serving_any and rest) else None


_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ø": "o", "ł": "l"}
)


def identifier(name: str, taken: Container[str], otherwise: str) -> str:
    """Return a name that expressions can read: the name itself where they can, else what its letters come to."""
    own = name
    if not re.fullmatch(r"[A-Za-z_]\w*", own, re.ASCII):
        plain = unicodedata.normalize("NFKD", name.translate(_LETTERS))
        own = re.sub(r"\W+", "_", "".join(c for c in plain if not unicodedata.combining(c)), flags=re.ASCII)
        own = own.strip("_").lower()
        own = f"{otherwise}_{own}" if own[:1].isdigit() else own or otherwise
    if own.lower() in RESERVED:
        own += "_"
    number, first = 2, own
    while own in taken:
        own, number = f"{first}_{number}", number + 1
    return own


RESERVED = frozenset(
    {"human", "true", "false", "none", "and", "or", "not", "in", "is", "if", "else", "for"}
    | {"self", "loop", "inputs", "tasks", "steps", "item", "output"}
)
"""Words that mean something in a squad, or in its expressions."""
