"""Writes `squad-file.md` beside it from the models that read squad files.

Run `python docs/reference/generate_squad.py`; a test compares the page with what this makes.

Types, defaults, limits, descriptions and examples of fields are those of the models (`orchestrator/squad/spec.py` and
what it imports). This file has the order of the page, and a whole squad for each section, which a test loads.
"""

from __future__ import annotations

from pathlib import Path

from docs.reference.tables import Section, rendered
from orchestrator.squad.spec import json_schema

PAGE = Path(__file__).with_name("squad-file.md")
HEAD = """# Squad file

A squad file is a YAML file that says who works (`agents`), what is done (`tasks`) and what comes of it (`outputs`).
This page has every field of it, made from the code that reads it by `docs/reference/generate_squad.py`.

- `orchestrator validate FILE` finds every mistake in a file before anything is spent. What its codes mean:
  [Problems](problems.md).
- Your editor knows these fields too: [Editors](editors.md). `orchestrator schema squad` prints the JSON Schema.
- Fields marked **required** must be given; of the others the column "default" says what holds without them.
- A duration is `500ms`, `5s`, `10m`, `2h`, `3d`, or a number of seconds. Text with `${{ }}` may hold
  [expressions](expressions.md), as `${{ inputs.topic }}`.
- YAML is version 1.2: `on`, `yes` and `no` are words, `true` and `false` are not.
- There is no field for hooks: a program that runs squads can add some around its calls
  ([Python tools](../guides/python-tools.md)).

A whole squad of a few lines:

```yaml
name: report
offline: auto
inputs:
  topic: {default: tea}
agents:
  mary: {persona: analyst}
tasks:
  research: {agent: mary, description: "Find out about ${{ inputs.topic }}."}
  report: {agent: mary, needs: [research], description: Write a report., output_file: report.md}
outputs:
  report: ${{ tasks.report.output }}
```
"""

SECTIONS = [
    Section("Top level", "", "These are the fields at the top level."),
    Section(
        "Inputs",
        "InputSpec",
        "An input is a value that a run is given from outside: `orchestrator run FILE -i topic=tea`. Tasks read it as "
        "`${{ inputs.topic }}`. [More](../guides/squads.md#inputs)",
        """```yaml
name: summary
inputs:
  topic: {default: tea, description: What it is about}
  length: {enum: [short, long], default: short}
  notes: {type: list, default: []}
agents: {mary: {persona: analyst}}
tasks:
  write: {agent: mary, description: "Write a ${{ inputs.length }} text about ${{ inputs.topic }}: ${{ inputs.notes }}"}
```""",
    ),
    Section(
        "Agents",
        "AgentSpec",
        "An agent works on tasks: it has a prompt (a [persona](personas.md), your own words, or both), the models "
        "that may answer, and the tools that it may call. Fields beside `persona` override it: texts and numbers "
        "replace, lists append. A `title` or a `role` beside a persona of the library makes another person of it. "
        "[More](../guides/agents.md)",
        """```yaml
name: team
agents:
  mary: {persona: analyst, tier: worker}
  critic:
    role: Find what is wrong with a plan while it can still be changed.
    tools: [read_file]
  terse:
    instructions: You answer in one sentence.
    temperature: 0.2
tasks:
  plan: {agent: mary, description: Make a plan.}
  check: {agent: critic, needs: [plan], description: Find what is wrong with it.}
  tell: {agent: terse, needs: [check], description: Sum it up.}
```""",
    ),
    Section(
        "A tool in an agent's list",
        "ToolUse",
        "An agent, a task or a step lists tools by name, or as a mapping that says more: whether a person is asked "
        "for each call, or that the tool is another agent.",
        """```yaml
name: contract
agents:
  legal: {role: Answers questions of law.}
  ann:
    persona: writer
    tools: [read_file, {name: write_file, approval: never}, {agent: legal, name: ask_legal}]
tasks:
  draft: {agent: ann, description: Write the contract.}
```""",
        level=3,
    ),
    Section(
        "Tasks",
        "TaskSpec",
        "A task is work with one result. It is done by exactly one of `agent`, `conversation`, `steps`, `approval`, "
        "`switch` and `squad`. Tasks that do not need each other run at the same time. [More](../guides/squads.md)",
        """```yaml
name: stories
agents: {john: {persona: pm}, amelia: {persona: dev}}
tasks:
  plan:
    agent: john
    description: Write three stories.
    output_schema:
      type: object
      required: [stories]
      properties:
        stories: {type: array, items: {type: object, required: [id], properties: {id: {type: string}}}}
  build:
    agent: amelia
    needs: [plan]
    for_each: ${{ tasks.plan.output.stories }}
    as: story
    key: ${{ story.id }}
    description: Implement ${{ story.id }}.
    retry: {max_attempts: 2, on: [timeout]}
```""",
    ),
    Section(
        "Steps",
        "StepSpec",
        "Steps are several pieces of one task's work, done in turn, each by an agent or a conversation. Later steps "
        "read `${{ steps.ID.output }}`, and are told what the earlier ones made. The task's output is a mapping of "
        "all outputs; with `result: ID` it is that of one step, and `output_file` holds it alone.",
        """```yaml
name: letter
agents: {ann: {persona: writer}, otto: {persona: editor}}
tasks:
  write:
    steps:
      - {id: draft, agent: ann, description: Write a letter.}
      - {id: edit, agent: otto, description: "Edit it: ${{ steps.draft.output }}"}
    result: edit
    output_file: letter.md
```""",
        level=3,
    ),
    Section(
        "Repeat",
        "RepeatSpec",
        "`repeat` does the work of a task again until a condition holds, for example until a reviewer says yes.",
        """```yaml
name: loop
agents: {ann: {persona: writer}, otto: {persona: editor}}
tasks:
  write:
    steps:
      - {id: draft, agent: ann, description: Write a letter.}
      - id: review
        agent: otto
        description: Is it good?
        output_schema: {type: object, required: [ok], properties: {ok: {type: boolean}}}
    repeat: {until: "${{ steps.review.output.ok }}", max_attempts: 3}
```""",
        level=3,
    ),
    Section(
        "Retry",
        "RetrySpec",
        "`retry` does the work of a task again where it failed. [More](../guides/squads.md#retry)",
        """```yaml
name: patient
agents: {ann: {persona: analyst}}
tasks:
  look: {agent: ann, description: Find out., retry: {max_attempts: 3, on: [rate_limit, timeout, truncated]}}
```""",
        level=3,
    ),
    Section(
        "Approval",
        "ApprovalSpec",
        "An approval is a task that a person does: the run waits for the answer, at its terminal or for days. "
        "`reject` ends the run. [More](../guides/human-approval.md)",
        """```yaml
name: gate
agents: {ann: {persona: writer}}
tasks:
  draft: {agent: ann, description: Write the news.}
  gate:
    needs: [draft]
    approval: {prompt: Publish it?, show: [draft], choices: [approve, revise, reject], timeout: 3d}
    on_revise: {rerun: [draft], max_attempts: 3}
  publish: {agent: ann, needs: [gate], context: [draft], description: Format it., output_file: news.md}
```""",
        level=3,
    ),
    Section(
        "Revision",
        "ReviseSpec",
        "`on_revise`, a field next to `approval`, says what runs again when a person answers `revise` and writes "
        "what to change. The example above has one.",
        level=3,
    ),
    Section(
        "Switch",
        "SwitchSpec",
        "A switch does one of several pieces of work, by the value of an expression. "
        "[More](../guides/routing-between-agents.md#a-switch)",
        """```yaml
name: support
inputs: {ticket: {default: My invoice is wrong.}}
agents: {triage: {persona: support-agent}, billing: {persona: analyst}}
tasks:
  sort:
    agent: triage
    description: "What is it about? ${{ inputs.ticket }}"
    output_schema: {type: object, required: [kind], properties: {kind: {enum: [money, other]}}}
  answer:
    needs: [sort]
    switch:
      on: ${{ tasks.sort.output.kind }}
      cases:
        money: {agent: billing, description: Say what was charged and why.}
        default: {agent: triage, description: Ask for what is missing.}
```""",
        level=3,
    ),
    Section(
        "Cases of a switch",
        "CaseSpec",
        "A case says what is done for one value. It has exactly one of `agent`, `conversation`, `steps` and `squad`. "
        "What holds for every case, for example `retry` and `timeout`, is a field of the task.",
        level=3,
    ),
    Section(
        "A squad as a task",
        None,
        "A task may be a whole other squad: `squad` names its file, beside this one or below, and `with` gives its "
        "inputs. The result is that file's `outputs`. [More](../guides/routing-between-agents.md#a-squad-as-a-task)",
        """```yaml
name: letter
agents: {ann: {persona: writer}}
tasks:
  draft: {agent: ann, description: Write the letter.}
  review: {needs: [draft], squad: review.yaml, with: {draft: "${{ tasks.draft.output }}"}}
  final: {needs: [draft, review], agent: ann, description: "Mend it: ${{ tasks.review.output.notes }}"}
```

```yaml
# review.yaml
name: review
inputs: {draft: {type: string}}
agents: {bob: {persona: editor}}
tasks: {check: {agent: bob, description: "Check it: ${{ inputs.draft }}"}}
outputs: {notes: "${{ tasks.check.output }}"}
```""",
        level=3,
    ),
    Section(
        "Conversations",
        "ConversationSpec",
        "In a conversation agents, and people, talk until a condition holds. A task names it: `conversation: talk`. "
        "With a `moderator` the result is the moderator's last word, else the words of the last round. "
        "[More](../guides/conversations.md)",
        """```yaml
name: talk
agents: {ann: {persona: architect}, bob: {persona: dev}}
conversations:
  talk: {participants: [ann, bob], moderator: ann, terminate: {max_turns: 6}}
tasks:
  decide: {conversation: talk, description: Which database?}
```""",
    ),
    Section(
        "Pattern `round_robin`",
        None,
        "Every participant speaks once a round, in the order of `participants`. It is the default; the example above "
        "has it.",
        level=3,
    ),
    Section(
        "Pattern `party`",
        None,
        "`speakers_per_round` participants speak, then the `moderator`, which says who speaks in the next round "
        "(`NEXT: ann, bob`).",
        """```yaml
name: party
agents: {lead: {persona: pm}, ann: {persona: architect}, bob: {persona: dev}, cleo: {persona: ux-designer}}
conversations:
  meeting:
    pattern: party
    participants: [ann, bob, cleo]
    moderator: lead
    speakers_per_round: 2
    terminate: {any: [{max_turns: 12}, {text: DONE, from: lead}]}
tasks:
  plan: {conversation: meeting, description: What do we build first?}
```""",
        level=3,
    ),
    Section(
        "Pattern `selector`",
        None,
        "One participant speaks at a time. A `selector` picks it from what was said so far; `transitions` and "
        "`allow_repeated_speaker` say which may be picked.",
        """```yaml
name: triage
agents: {ann: {persona: analyst}, bob: {persona: dev}, cleo: {persona: tea}}
conversations:
  triage:
    pattern: selector
    participants: [ann, bob, cleo]
    selector: {tier: worker}
    transitions: {ann: [bob, cleo]}
    terminate: {max_turns: 8}
tasks:
  find: {conversation: triage, description: Why is the page slow?}
```""",
        level=3,
    ),
    Section(
        "Pattern `handoff`",
        None,
        "One participant speaks at a time, the first one first. It hands over to another one, or answers, which ends "
        "the conversation.",
        """```yaml
name: desk
agents: {triage: {persona: support-agent}, billing: {persona: analyst}, tech: {persona: dev}}
conversations:
  desk:
    pattern: handoff
    participants: [triage, billing, tech]
    handoffs: {triage: [billing, tech]}
    terminate: {max_turns: 8}
tasks:
  answer: {conversation: desk, description: My invoice is wrong.}
```""",
        level=3,
    ),
    Section(
        "Pattern `debate`",
        None,
        "Each side speaks once a round, for `rounds` rounds. Then the `judge` decides, and its verdict is the result.",
        """```yaml
name: dispute
agents: {pro: {persona: dev}, con: {persona: critic}, arbiter: {persona: judge}}
conversations:
  dispute: {pattern: debate, participants: [pro, con], judge: arbiter, positions: {pro: tabs, con: spaces}, rounds: 2}
tasks:
  decide: {conversation: dispute, description: Tabs or spaces?}
```""",
        level=3,
    ),
    Section(
        "Pattern `hierarchical`",
        None,
        "The `manager` delegates work (`DELEGATE ann: the task`), those that it names work at the same time, and the "
        "manager hears what they made, for `rounds` rounds. Its last word is the result.",
        """```yaml
name: project
agents: {lead: {persona: planner}, ann: {persona: writer}, bob: {persona: tea}}
conversations:
  project: {pattern: hierarchical, manager: lead, participants: [ann, bob], rounds: 2}
tasks:
  make: {conversation: project, description: A guide with a checked example.}
```""",
        level=3,
    ),
    Section(
        "When a conversation ends",
        "TerminateSpec",
        "`terminate` has one condition, or several below `any` or `all`. Conditions are asked after each utterance, "
        "or after each round of participants that speak at the same time. Nothing may go on forever: without "
        "`max_turns`, `tokens` or `time` at a place where they are sure to count, a budget or rounds must bound the "
        "conversation.",
        """```yaml
name: until
agents: {ann: {persona: architect}, bob: {persona: dev}}
conversations:
  talk:
    participants: [ann, bob]
    terminate: {any: [{max_turns: 12}, {all: [{text: AGREED, from: ann}, {text: AGREED, from: bob}]}]}
tasks:
  decide: {conversation: talk, description: Which database?}
```""",
        level=3,
    ),
    Section("Selector", "SelectorSpec", "Who picks the next speaker in the pattern `selector`.", level=3),
    Section(
        "A person in a conversation",
        "HumanSpec",
        "A participant called `human` is a person. `human` says how long to wait for each reply.",
        """```yaml
name: desk
agents: {ann: {persona: support-agent}}
conversations:
  desk: {participants: [ann, human], human: {timeout: 3d, on_timeout: skip}, terminate: {max_turns: 6}}
tasks:
  help: {conversation: desk, description: Find out what the person needs.}
```""",
        level=3,
    ),
    Section(
        "A conversation inside another",
        "NestedSpec",
        "A participant may be a conversation: its result is what it says. Conversations are at most four deep.",
        """```yaml
name: board
agents: {ceo: {persona: pm}, pro: {persona: dev}, con: {persona: critic}, judge: {persona: judge}}
conversations:
  board: {participants: [ceo, {conversation: review}], terminate: {max_turns: 4}}
  review: {pattern: debate, participants: [pro, con], judge: judge, rounds: 1}
tasks:
  decide: {conversation: board, description: Do we build it ourselves?}
```""",
        level=3,
    ),
    Section(
        "Tools",
        "ToolEntry",
        "`tools` declares tools that this squad brings, by name. An entry has exactly one kind (`python`, `command`, "
        "`programs`, `http`, `web`, `openapi`), whose fields are below, and may say the following of any kind. "
        "Built-in tools, such as `read_file`, need no entry. Code of a file runs only after you have allowed it: "
        "`orchestrator trust`. [More](../guides/tools.md)",
        only=("description", "approval", "risk", "timeout", "max_chars", "idempotent", "untrusted"),
    ),
    Section(
        "Tools: `python`",
        "ToolEntry",
        "A function of a Python file, beside this one or below.",
        """```yaml
name: rates
tools: {convert: {python: "mytools.py:convert"}}
agents: {ann: {persona: analyst, tools: [convert]}}
tasks: {price: {agent: ann, description: "What are 10 EUR in USD?"}}
```""",
        ("python",),
        3,
    ),
    Section(
        "Tools: `command`",
        "ToolEntry",
        "A program with typed arguments, never through a shell. A person is asked for each call unless `approval` says "
        "otherwise.",
        """```yaml
name: history
tools:
  log:
    command: [git, log, --oneline, "--max-count={count}", --, "{path}"]
    args: {count: {type: integer, minimum: 1, maximum: 50, default: 10}, path: {pattern: "[a-zA-Z./-]+"}}
    description: Show who changed a file, newest first.
agents: {ann: {persona: analyst, tools: [log]}}
tasks: {tell: {agent: ann, description: What changed lately?}}
```""",
        ("command", "args", "env", "cwd", "max_output"),
        3,
    ),
    Section(
        "Arguments of a tool",
        "ArgSpec",
        "`args` says what each argument of a command or a request may be; one that is not described is a text. A call "
        "that breaks it does nothing, and the model is told. The example above has two.",
        level=3,
    ),
    Section(
        "Tools: `programs`",
        "ToolEntry",
        "A few programs whose arguments the model writes itself. A person is asked for each call unless `approval` "
        "says otherwise.",
        """```yaml
name: build
tools: {run_command: {programs: [git, make]}}
agents: {ann: {persona: dev, tools: [run_command]}}
tasks: {build: {agent: ann, description: Build it.}}
```""",
        ("programs", "env", "cwd", "max_output"),
        3,
    ),
    Section(
        "Tools: `http`",
        "ToolEntry",
        "A request to a fixed host. Keys are in the environment: `${NAME}` in `headers` and `query` reads one.",
        """```yaml
name: rates
tools:
  rates:
    http: https://api.example.com/v1/rates/{base}
    headers: {Authorization: "Bearer ${RATES_TOKEN}"}
    args: {base: {enum: [EUR, USD]}}
    description: Return exchange rates.
agents: {ann: {persona: analyst, tools: [rates]}}
tasks: {price: {agent: ann, description: "What are 10 EUR in USD?"}}
```""",
        ("http", "method", "headers", "query", "body", "args", "allow_private", "max_output"),
        3,
    ),
    Section(
        "Tools: `web`",
        "ToolEntry",
        "Reads pages of the hosts that it lists.",
        """```yaml
name: reading
tools: {http_get: {web: [docs.python.org, "*.wikipedia.org"]}}
agents: {ann: {persona: researcher, tools: [http_get]}}
tasks: {look: {agent: ann, description: When was tea first drunk?}}
```""",
        ("web",),
        3,
    ),
    Section(
        "Tools: `openapi`",
        "ToolEntry",
        "Each operation of an OpenAPI document is a tool, called by its `operationId`.",
        """```yaml
name: pets
tools: {petstore: {openapi: petstore.yaml, include: [getPet]}}
agents: {ann: {persona: analyst, tools: [getPet]}}
tasks: {look: {agent: ann, description: How is pet 7?}}
```""",
        ("openapi", "include", "base_url", "headers", "allow_private", "max_output"),
        3,
    ),
    Section(
        "MCP servers",
        "McpSpec",
        "`mcp` names servers that speak the Model Context Protocol, each a program that is started (`command`) or an "
        "address (`url`). An agent has all of a server's tools by `mcp: [git]`, or single ones by `tools: [git/log]`. "
        'It needs `pip install "squad-orchestrator[mcp]"`. [More](../guides/mcp.md)',
        """```yaml
name: history
mcp:
  git: {command: [uvx, mcp-server-git], read_only: [git_log]}
agents: {ann: {persona: dev, mcp: [git]}}
tasks: {tell: {agent: ann, description: What changed this week?}}
```""",
    ),
    Section(
        "Workspace",
        "WorkspaceFolder",
        "The workspace is the folder beside the squad's file that the tools for files (`read_file`, `edit_file` ...) "
        "work on. `workspace: docs` is short for `{path: docs}`. [More](../guides/tools.md#built-in)",
        """```yaml
name: notes
workspace: {path: ., write: true}
agents: {ann: {persona: editor, tools: [read_file, search_files, edit_file]}}
tasks: {tidy: {agent: ann, description: Correct the spelling.}}
```""",
    ),
    Section(
        "Memory",
        "MemorySpec",
        "With `memory: true` agents remember facts and decisions over runs; a mapping says how. It is a field "
        "of the squad, for all agents, or of one agent. [More](../guides/memory.md)",
        """```yaml
name: sprint
memory: true
agents:
  mary: {persona: analyst}
  amelia: {persona: dev, memory: {scope: agent, recall: 3, ttl: 90d}}
tasks:
  plan: {agent: mary, description: Plan the next deploy.}
  build: {agent: amelia, needs: [plan], description: Build it.}
```""",
    ),
    Section("Embeddings", "EmbeddingsSpec", "A provider's model that finds memories by meaning.", level=3),
    Section(
        "Knowledge",
        "KnowledgeSpec",
        "`knowledge` names documents that agents may look up: a folder or a file, a mapping, or a list of these. It "
        "is a field of the squad or of an agent. [More](../guides/memory.md#knowledge)",
        """```yaml
name: support
knowledge: [docs, {path: contracts, include: ["*.md"], recall: 8}]
agents: {ann: {persona: support-agent}}
tasks: {answer: {agent: ann, description: How long is the warranty?}}
```""",
    ),
    Section(
        "Guardrails",
        "GuardrailsSpec",
        "Guardrails check what an agent is told, before anything is paid for, and each of its answers. They are "
        "a field of an agent, a task, a step or a case. [More](../guides/guardrails.md)",
        """```yaml
name: support
inputs: {mail: {default: Where is my parcel?, untrusted: true}}
agents:
  judge: {persona: judge}
  writer:
    persona: support-agent
    guardrails:
      input: [{regex: "[0-9]{16}", message: it holds a card number}]
      output:
        - {max_words: 300, on_fail: retry}
        - {agent: judge, rubric: It is polite and promises nothing., on_fail: escalate}
tasks: {answer: {agent: writer, description: "Answer: ${{ inputs.mail }}"}}
```""",
    ),
    Section(
        "A guardrail",
        "GuardrailSpec",
        "A guardrail is one check of a text: exactly one of `regex`, `max_words`, `max_chars`, `forbid`, `require`, "
        "`schema` and `agent` (with `rubric`).",
        level=3,
    ),
    Section(
        "Approvals of tool calls",
        "ApprovalsSpec",
        "`approvals` says which tool calls a person is asked for, by what they may do. It is a field of the squad or "
        "of an agent; what a tool says itself comes first. [More](../guides/tools.md#approvals)",
        """```yaml
name: office
approvals: {risky: ask, writes: allow}
workspace: {path: ., write: true}
agents:
  ann: {persona: analyst, tools: [read_file, edit_file]}
  bob: {persona: dev, tools: [read_file, edit_file], approvals: {writes: ask}}
tasks:
  tidy: {agent: ann, description: Correct the spelling.}
  check: {agent: bob, needs: [tidy], description: Check it.}
```""",
    ),
    Section(
        "Text that others wrote",
        "UntrustedSpec",
        "`untrusted` says what happens once an agent has read text that others wrote: a web page, a mail, the answer "
        "of an MCP server. It is a field of the squad or of an agent. "
        "[More](../guides/security.md#text-that-others-wrote)",
        """```yaml
name: mails
untrusted: {risky_tools: deny}
inputs: {mail: {default: Hello., untrusted: true}}
agents: {ann: {persona: support-agent}}
tasks: {answer: {agent: ann, description: "Answer: ${{ inputs.mail }}"}}
```""",
    ),
    Section(
        "Budgets",
        "BudgetSpec",
        "A budget has caps that no model call may pass. It is a field of the squad, a task, an agent or a "
        "conversation; "
        "caps nest. [More](../guides/budgets.md)",
        """```yaml
name: thrifty
budget: {max_cost: 2, max_time: 1h, on_exceed: pause}
agents: {ann: {persona: analyst, budget: {max_tokens: 200000}}}
tasks:
  look: {agent: ann, description: Find out., budget: {max_cost: 0.25, max_turns: 20}}
```""",
    ),
    Section(
        "Defaults",
        "Defaults",
        "`defaults` says what tasks take where they say nothing themselves.",
        """```yaml
name: careful
defaults:
  timeout: 10m
  retry: {max_attempts: 2}
  context: {max_tokens: 3000}
  history: {compact_at: 0.8, keep_last: 12}
agents: {ann: {persona: analyst}}
tasks: {look: {agent: ann, description: Find out.}}
```""",
    ),
    Section(
        "History",
        "HistorySpec",
        "How much of a long conversation, or of long work with tools, a model is sent. [More](../guides/context.md)",
        level=3,
    ),
    Section("Context", "ContextSpec", "How much of other tasks' outputs a task reads.", level=3),
    Section(
        "Limits",
        "LimitsSpec",
        "`limits` caps the length of lists and texts. [More](../guides/files.md#caps)",
        """```yaml
name: large
limits: {max_items: 5000, max_chars: 1000000}
inputs: {rows: {type: list, default: [a, b]}}
agents: {ann: {persona: data-analyst}}
tasks: {each: {agent: ann, for_each: "${{ inputs.rows }}", key: "${{ item }}", description: "Look at ${{ item }}."}}
```""",
    ),
    Section(
        "Includes",
        "IncludeSpec",
        "`include` takes agents, conversations, tools, MCP servers, inputs and defaults from another file. "
        "`team.yaml` is short for `{file: team.yaml}`. "
        "[More](../guides/routing-between-agents.md#parts-of-a-squad-in-files-of-their-own)",
        """```yaml
# team.yaml
agents: {ann: {persona: writer}}
```

```yaml
name: letter
include: [team.yaml]
tasks: {draft: {agent: ann, description: Write the letter.}}
```""",
    ),
    Section(
        "Outputs",
        None,
        "`outputs` names what the run results in: `orchestrator run --json` prints it, `result.outputs` has it in "
        "Python, and a squad that has this one as a task reads it. Without `outputs` the results of tasks are still "
        "in the run's record and files.",
        """```yaml
name: summary
agents: {ann: {persona: summariser}}
tasks: {sum_up: {agent: ann, description: Sum up the week., output_file: week.md}}
outputs: {text: "${{ tasks.sum_up.output }}"}
```""",
    ),
]


def page() -> str:
    """Return the whole page."""
    return f"{HEAD}\n{rendered(json_schema(), SECTIONS, {'PersonaSpec': 'personas.md#fields'})}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
