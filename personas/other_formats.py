"""What agent files of other programs have in their front matter, and what stands for it in a persona. Data alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PERSONA_NAMES: Mapping[str, str] = {
    other: field
    for field, others in {
        "name": "display_name displayName id agent_name",
        "goal": "objective purpose mission",
        "identity": "backstory background bio",
        "style": "tone voice communication_style",
        "principles": "rules guidelines values",
        "instructions": "system_prompt system prompt system_message",
        "tools": "allowed-tools allowed_tools allowedTools functions",
        "extends": "base inherits parent persona",
    }.items()
    for other in others.split()
}
_OF_AGENT = "it is the agent's, in the squad: agents: {ann: {persona: ./ann.md, %s}}"
_GIVEN = "leave it out: a task names who does it: tasks: {review: {agent: ann}}"
_UNREAD = "leave it out, or make it a comment: # ..."


def _each(words: str, hint: str) -> dict[str, str]:
    return dict.fromkeys(words.split(), hint)


PERSONA_ADVICE: Mapping[str, str] = {
    "description": "write role: what it is responsible for, in a sentence",
    **_each(
        "model models llm model_name engine",
        _OF_AGENT % "model: PROVIDER/MODEL" + ", or here a class of models: tier: worker",
    ),
    "temperature": _OF_AGENT % "temperature: 0.2",
    **_each("effort reasoning_effort thinking", _OF_AGENT % "effort: high"),
    **_each("max_turns maxTurns max_iter max_iterations steps", _OF_AGENT % "max_turns: 16"),
    **_each("mcp mcpServers mcp-servers mcp_servers", _OF_AGENT % "mcp: [SERVER]"),
    **_each("memory", _OF_AGENT % "memory: true"),
    **_each("guardrails approvals budget knowledge untrusted", "it is the agent's, in the squad"),
    **_each(
        "permissionMode permission permissions disallowedTools disallowed-tools",
        "list in tools what it may use; approvals: of the agent, in the squad, says who is asked before a call",
    ),
    **_each("globs alwaysApply applyTo paths when whenToUse trigger triggers", _GIVEN),
    **_each("handoffs agents subagents", "agents hand over in a conversation of the squad"),
    **_each("hooks skills", "leave it out: a persona starts no code; tools of the squad do"),
    **_each("mode type kind target user-invocable disable-model-invocation argument-hint", _UNREAD),
    **_each("color colour icon emoji avatar author version license metadata tags category created updated", _UNREAD),
}
"""What to do about a field that no persona has."""

TOOLS_ELSEWHERE: Mapping[str, str] = {
    **_each("Read read readFile NotebookRead view", "read_file"),
    **_each("Write write create createFile", "write_file"),
    **_each("Edit edit MultiEdit editFiles str_replace", "edit_file"),
    **_each("LS Glob list glob listDirectory", "list_files"),
    **_each("Grep grep search codebase textSearch", "search_files"),
    **_each("Bash bash shell execute terminal runCommands", "run_command"),
    **_each("python code_interpreter CodeInterpreterTool code_execution PythonREPLTool python_repl", "run_command"),
    **_each("WebFetch webfetch fetch browser requests ScrapeWebsiteTool WebsiteSearchTool", "http_get"),
    **_each("WebSearch websearch web_search google duckduckgo_search SerperDevTool TavilySearch", "http_get"),
    **_each("FileReadTool file_read open_file", "read_file"),
    **_each("FileWriterTool file_write save_file", "write_file"),
    **_each("DirectoryReadTool ls", "list_files"),
    **_each("CSVSearchTool csv", "read_csv"),
}
"""Tool of another program -> the one here."""
_NEITHER = re.compile(r"[\s,;]+")


def listed_tools(value: Any) -> Any:
    """Return the value of `tools`. Raise `ValueError` for a text of several, as other programs write it."""
    if not isinstance(value, str):
        return value
    names = list(dict.fromkeys(TOOLS_ELSEWHERE.get(name, name) for name in _NEITHER.split(value) if name))
    raise ValueError(f"takes a list: write tools: [{', '.join(names)}]")
