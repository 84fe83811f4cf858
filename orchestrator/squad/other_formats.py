"""What people write who come from other frameworks, and what stands for it in a squad file. Data alone."""

from __future__ import annotations

from collections.abc import Mapping


def _all(**names: str) -> dict[str, str]:
    """Return each of the words (blanks between them) with the field that it means."""
    return {word: field for field, words in names.items() for word in words.split()}


def _advice(names: Mapping[str, str], *groups: Mapping[str, str], **own: str) -> dict[str, str]:
    """Return what to do about words without a field of that meaning; those that `names` has are left out."""
    return {word: hint for group in (*groups, own) for word, hint in group.items() if word not in names}


_SAMPLING = dict.fromkeys(
    ("top_p", "top_k", "seed", "max_tokens", "max_completion_tokens"),
    "leave it out: the model's own default holds",
)
_LOGGED = dict.fromkeys(("verbose", "debug", "log_level"), "leave it out: `run --verbose` logs every event")
_HOOKS = dict.fromkeys(
    ("callback", "callbacks", "step_callback", "task_callback"),
    "leave it out: the embedding program reads the events of a run",
)
_OF_ROUTING = dict.fromkeys(
    ("providers", "provider", "tiers", "tier", "api_key_env", "base_url"), "it belongs in agent_routing.yaml"
)
_OF_AGENT = dict.fromkeys(
    (
        *("model", "model_name", "llm", "tier", "persona", "role", "goal", "backstory", "system_prompt", "max_turns"),
        *("temperature", "effort", "reasoning_effort", "system", "system_message", "memory", "knowledge", "mcp"),
    ),
    "set it at the agent: agents: {ann: {persona: analyst, tier: worker}}",
)

AGENT_NAMES: Mapping[str, str] = _all(
    goal="objective purpose mission",
    identity="backstory background bio description",
    instructions="system_prompt system system_message prompt instruction preamble",
    model="llm llm_config model_name model_id engine",
    max_turns="max_iterations max_iter max_steps",
    tools="functions plugins skills",
    max_output_tokens="max_tokens max_completion_tokens max_new_tokens",
    effort="reasoning_effort reasoning thinking",
    temperature="temp",
    persona="extends type",
)
AGENT_ADVICE: Mapping[str, str] = _advice(
    AGENT_NAMES,
    dict.fromkeys(
        ("expected_output", "output_schema", "output_file", "output", "needs", "depends_on", "context", "task"),
        "it belongs to a task: tasks: {write: {agent: ann, description: Write it., expected_output: A page.}}",
    ),
    _SAMPLING,
    _LOGGED,
    _HOOKS,
    handoffs="one agent passes to another in a conversation: {desk: {pattern: handoff, participants: [ann, bob]}}",
    allow_delegation="leave it out: agents talk in conversations: {talk: {participants: [ann, bob]}}",
    human_input='add a task with approval: {prompt: "Is it good?"}',
    cache="leave it out: a resumed run asks nothing twice",
    max_rpm="limits of a provider belong in agent_routing.yaml",
)
_WORK = {
    "description": "prompt instructions task goal message question query",
    "expected_output": "expected_outputs expected expects",
    "output_schema": "schema output_json output_pydantic response_format json_schema response_model output_type",
    "agent": "assignee assigned_to actor worker executor",
    "if": "when condition only_if run_if",
    "tools": "functions plugins",
    "timeout": "max_time max_execution_time time_limit",
}
_RESULT = {"result": "return returns result_step output_step"}
STEP_NAMES: Mapping[str, str] = {"name": "id", **_all(**_WORK)}
CASE_NAMES: Mapping[str, str] = _all(
    **{field: words for field, words in _WORK.items() if field not in ("if", "timeout")},
    **_RESULT,
)
TASK_NAMES: Mapping[str, str] = _all(
    **_WORK,
    **_RESULT,
    switch="match route router branch branches choose case",
    squad="uses workflow subflow subworkflow subgraph crew call import sub_squad",
    needs="depends_on dependencies depends after requires upstream",
    approval="human gate human_input human_review require_approval",
    repeat="loop while until max_loops",
    for_each="foreach each map loop_over with_items",
    retry="retries max_retries retry_policy",
    output_file="output save_to file outfile",
    max_parallel="concurrency max_concurrency parallelism",
    continue_on_error="ignore_errors allow_failure",
)
_INPUTS = "write what it reads into the description: ${{ inputs.topic }}, ${{ tasks.plan.output }}"
_NAMED = "leave it out: the key before the ':' is its name"
_FORMAT = "say it in expected_output, or give it an output_schema"
_OUTPUTS = (
    'outputs is a field next to tasks: outputs: {report: "${{ tasks.report.output }}"}; or output_file: report.md'
)
_AT_ONCE = "leave it out: tasks that do not need each other run at the same time"
_NEXT = "the task that follows names this one: needs: [this_task]"
_OF_TASKS = dict.fromkeys(("squad", "switch", "with", "approval", "steps"), "make it a task of its own, with needs")
_OF_WORK: Mapping[str, str] = _advice(
    STEP_NAMES,
    _SAMPLING,
    _LOGGED,
    _HOOKS,
    _OF_AGENT,
    dict.fromkeys(("input", "inputs", "variables", "args"), _INPUTS),
    dict.fromkeys(("format", "output_format", "markdown"), _FORMAT),
    dict.fromkeys(("run", "script", "command", "code"), "an agent does it, with a tool of `tools:` that may"),
)
_OF_ALL_STEPS = dict.fromkeys(("for_each", "repeat", "budget", "continue_on_error"), "put it at the task")
STEP_ADVICE: Mapping[str, str] = _advice(
    STEP_NAMES,
    _OF_WORK,
    _OF_TASKS,
    _OF_ALL_STEPS,
    output_file="put it at the task; with `result: STEP` there it holds the output of that step alone",
)
_OF_SWITCH = dict.fromkeys(
    ("if", "timeout", "needs", "context", "for_each", "repeat", "retry", "output_file", "budget", "continue_on_error"),
    "give it to the task of the switch",
)
CASE_ADVICE: Mapping[str, str] = _advice(
    CASE_NAMES, _OF_WORK, _OF_SWITCH, approval="an approval is a task of its own, with if: ${{ ... }}"
)
TASK_ADVICE: Mapping[str, str] = _advice(
    TASK_NAMES,
    _OF_WORK,
    dict.fromkeys(("async", "async_execution", "parallel"), _AT_ONCE),
    dict.fromkeys(("next", "goto", "then", "on_success"), _NEXT),
    dict.fromkeys(("id", "name", "title"), _NAMED),
    outputs=_OUTPUTS,
    type="leave it out: `agent`, `approval`, `switch` and so on say what it is",
    default="with `switch` it is a case: cases: {default: {agent: ann, description: Answer.}}",
)
SWITCH_NAMES: Mapping[str, str] = _all(
    on="value expr expression condition key input match selector by field",
    cases="branches options routes choices paths when case",
)
SWITCH_ADVICE: Mapping[str, str] = dict.fromkeys(
    ("default", "else", "otherwise", "fallback"), "it is a case: cases: {default: {agent: ann, description: Answer.}}"
)
APPROVAL_NAMES: Mapping[str, str] = _all(
    prompt="message question text title description ask", choices="options answers actions", show="context inputs needs"
)
REPEAT_NAMES: Mapping[str, str] = _all(
    until="condition stop_when stop_if end_when exit_when",
    max_attempts="times max max_iterations max_loops count",
)
RETRY_NAMES: Mapping[str, str] = _all(
    max_attempts="times max count limit tries", on="errors retry_on exceptions causes"
)
RETRY_ADVICE: Mapping[str, str] = dict.fromkeys(
    ("backoff", "delay", "wait", "interval", "max_delay", "jitter"),
    "leave it out: how long to wait is not said here",
)
BUDGET_NAMES: Mapping[str, str] = _all(
    max_cost="cost usd max_usd max_cost_usd dollars limit amount", max_tokens="tokens token_limit", on_exceed="action"
)
DEFAULTS_ADVICE: Mapping[str, str] = _advice(
    {}, dict.fromkeys(("agent", "description", "tools", "budget"), "each task says its own"), _OF_AGENT
)
INPUT_NAMES: Mapping[str, str] = _all(
    default="value", enum="choices options values allowed one_of", description="help prompt title label"
)
INPUT_ADVICE: Mapping[str, str] = _advice(
    {},
    dict.fromkeys(("required", "optional", "nullable"), "leave it out: an input without a default must be given"),
    dict.fromkeys(
        (
            *("items", "properties", "pattern", "format", "minimum", "maximum", "min", "max"),
            *("minLength", "maxLength", "minItems", "maxItems", "max_length", "max_items"),
        ),
        "write it into a schema: schema: {type: array, maxItems: 20}",
    ),
)

INPUT_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("csv", "tsv", "table"), "write list: -i NAME=@FILE.csv then gives its rows"),
    **dict.fromkeys(("str", "text", "path", "url", "date", "enum"), "write string"),
    **dict.fromkeys(("array", "tuple", "set", "json-list"), "write list"),
    **dict.fromkeys(("dict", "mapping", "map", "json"), "write object"),
    **dict.fromkeys(("float", "double", "decimal"), "write number"),
    **dict.fromkeys(("document", "upload", "pdf"), "write file"),
    **dict.fromkeys(("picture", "photo", "png"), "write image"),
    "int": "write integer",
    "bool": "write boolean",
}
"""What other formats call the types of inputs."""
CONVERSATION_NAMES: Mapping[str, str] = _all(
    participants="agents members speakers",
    pattern="type mode topology speaker_selection_method speaker_selection",
    moderator="host chair facilitator",
    manager="manager_agent",
    judge="referee arbiter",
    selector="speaker_selector picker",
    allow_repeated_speaker="allow_repeat_speaker",
    transitions="allowed_transitions allowed_or_disallowed_speaker_transitions",
    terminate="termination termination_condition terminate_when stop_when",
)
PATTERNS: Mapping[str, str] = {
    **dict.fromkeys(
        ("group_chat", "groupchat", "group"), "write party, whose moderator says who speaks next, or round_robin"
    ),
    **dict.fromkeys(("roundrobin", "round-robin", "sequential", "turns", "in_turn"), "write round_robin"),
    **dict.fromkeys(("auto", "select", "speaker_selection", "dynamic"), "write selector: a model picks who is next"),
    **dict.fromkeys(("swarm", "handoffs", "hand_off", "network"), "write handoff"),
    **dict.fromkeys(("manager", "supervisor", "hierarchy", "magentic", "magentic_one"), "write hierarchical"),
    "parallel": "write tasks that do not need each other, or independent_first_round: true in a party or debate",
}
"""What other formats call the patterns of conversations."""
_TURNS = "write terminate: {max_turns: 12}"
CONVERSATION_ADVICE: Mapping[str, str] = _advice(
    CONVERSATION_NAMES,
    dict.fromkeys(("max_turns", "max_round", "max_rounds", "max_messages", "until"), _TURNS),
    dict.fromkeys(("model", "llm", "tier"), "set it at the agent, or at the selector: selector: {tier: worker}"),
)
CONDITION_NAMES: Mapping[str, str] = _all(
    any="or any_of",
    all="and all_of",
    max_turns="max_messages max_message max_rounds max_round max_turn turns rounds messages",
    text="text_mention mention phrase keyword contains says said",
    tokens="max_tokens max_total_tokens token_usage token_limit",
    time="timeout max_time max_seconds duration seconds",
    function="functional predicate condition when",
    stop_message="stop stop_word",
    source="sources source_match",
    message="text_message",
    tool="function_call tool_call",
    handoff="target handoff_to",
    external="is_external",
)
"""What AutoGen calls its conditions, and others theirs."""
SQUAD_NAMES: Mapping[str, str] = _all(
    tasks="workflow steps nodes jobs stages pipeline flow",
    agents="crew team roles members workers personas",
    inputs="variables vars params parameters args",
    conversations="chats groups group_chat",
    include="import imports includes",
    mcp="mcpServers mcp_servers",
    name="id title",
    description="goal objective",
    outputs="output result results",
)
SQUAD_ADVICE: Mapping[str, str] = _advice(
    SQUAD_NAMES,
    _SAMPLING,
    _LOGGED,
    _HOOKS,
    _OF_ROUTING,
    dict.fromkeys(("edges", "dependencies", "process"), "each task says what it comes after: needs: [research]"),
    dict.fromkeys(("model", "llm", "manager_llm"), _OF_AGENT["model"]),
    toolbox="tools: {http_get: {web: [docs.python.org]}}, or workspace: . for tools that read files",
    schema="a task says what its output must be: output_schema: {type: object}",
)
EXAMPLES: Mapping[str, str] = {
    "squad": "review.yaml",
    "include": "[agents.yaml]",
    "needs": "[research]",
    "memory": "true, or {scope: agent, ttl: 90d}",
    "approval": '{prompt: "Is it good?"}',
    "repeat": '{until: "${{ output.ok }}", max_attempts: 3}',
    "for_each": '"${{ tasks.plan.output.stories }}", and key: "${{ item.id }}"',
    "retry": "{max_attempts: 3}",
    "output_schema": "{type: object, required: [title], properties: {title: {type: string}}}",
    "output_file": "report.md",
    "if": '"${{ tasks.check.output.ok }}"',
    "switch": '{"on": "${{ tasks.sort.output.kind }}", cases: {billing: {agent: ann, description: Answer.}}}',
    "tools": "[read_file]",
    "tasks": "{research: {agent: ann, description: Find out.}}",
    "agents": "{ann: {persona: analyst}}",
    "conversations": "{talk: {participants: [ann, bob], terminate: {max_turns: 6}}}",
    "inputs": "{topic: {type: string}}",
    "outputs": '{report: "${{ tasks.report.output }}"}',
    "continue_on_error": "true",
    "offline": "auto",
    "terminate": "{max_turns: 12}",
    "budget": "{max_cost: 0.50}",
    "guardrails": "{output: [{max_words: 300, on_fail: retry}]}",
    "mcp": "[git]",
    "max_parallel": "4",
    "max_turns": "10",
    "max_output_tokens": "4000",
    "timeout": "10m",
}
"""A field that takes no plain text, as it is written."""
SQUAD_EXAMPLES: Mapping[str, str] = {
    **EXAMPLES,
    "tools": '{convert: {python: "mytools.py:convert"}}; the built-in ones are named at an agent: tools: [read_file]',
    "mcp": "{git: {command: [uvx, mcp-server-git]}}",
}
