"""Writes `personas.md` beside it from the model that reads personas, and from the library:
`python docs/reference/generate_personas.py`. A test compares the page with what this makes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from docs.reference.tables import Section, cell, code, rendered
from personas.persona import HABITS, MAX_ANCESTORS, Personas, json_schema
from personas.sources import packaged

PAGE = Path(__file__).with_name("personas.md")
HEAD = """# Personas

A persona says who an agent is: what it is responsible for, how it thinks, what it holds to. An agent takes one by
`persona:` in the [squad file](squad-file.md#agents). This page is made from the code by
`docs/reference/generate_personas.py`.
"""
EXAMPLE = """A persona is a YAML file:

```yaml
# personas/ann.yaml
name: Ann
title: Tax Lawyer
role: Says what a plan means for taxes, and what could be done instead.
principles:
  - Name the law that a sentence rests on.
  - Say what you are not sure of.
tier: boss
```

or a Markdown file, whose front matter has the same fields and whose text is the field `instructions`:

```markdown
---
name: Ann
title: Tax Lawyer
---
You say what a plan means for taxes. Name the law that a sentence rests on.
```

`orchestrator personas new ann` writes one, `orchestrator validate personas/ann.yaml` checks it, `orchestrator
personas render ann` shows what a model is told. [More](../guides/personas.md)

`orchestrator schema persona` prints the JSON Schema for [editors](editors.md)."""
SEARCH = """`persona: ann` in a squad file is looked for in this order; the first one counts:

1. personas that the program gives: `Squad.from_file(..., personas={{"ann": {{...}}}})`;
2. the folder `personas` beside the squad's file: `ann.yaml`, `ann.yml`, `ann.md`, `ann.markdown` (two are a mistake);
3. the library, which comes with the package ([below](#library)).

A path, `persona: ./ann.yaml`, names a file below the squad's folder; a mapping, `persona: {{extends: analyst, name:
Eve}}`, is a
persona on the spot. `extends` looks for its name in the same order. At most {ancestors} personas extend each other; a
ring is refused.
Nothing else is read: no home folder and no environment variable. `orchestrator personas ls` lists what is found."""
OVERRIDE = """Fields of an agent beside `persona`, and fields of a persona beside `extends`, change what the persona
says:

| field | what happens |
|---|---|
| a text (`name`, `title`, `role`, `goal`, `identity`, `style`, `tier`, `template`) | replaces the persona's |
| a list (`principles`, `produces`, `tools`) | is added to the persona's |
| a mapping | is merged, field by field |
| `instructions` of an agent | follow those of the persona |

There is one exception. A `title` or a `role` of an agent beside a persona **of the library** makes another person of
it: a lawyer who was taken from the analyst is not Mary, Business Analyst.

| beside `persona: analyst` | what is left of the analyst |
|---|---|
| `name: Eve`, without a title or a role | all but what is replaced |
| `title: Lawyer` | role, tier, tools, template; not {habits} |
| `role: Defend the client.` | tier, tools, template |

`persona: {{extends: analyst, title: Chief Analyst}}` says that the rest is meant to stay. So do fields beside a
persona's file or
mapping. `orchestrator config FILE` tells what an agent left behind."""
TEMPLATES = """A template makes the system prompt. `template: NAME` takes a packaged one ({names}); a text with `{{{{
}}}}` is a template
of its own:

```yaml
# personas/brief.yaml
title: Analyst
role: Finds out what the problem is.
template: "You are {{{{ persona.display_name }}}}, {{{{ persona.title }}}}. {{{{ persona.role }}}}"
```

A template reads

| name | what it is |
|---|---|
| `persona` | its fields, `persona.title` for example, and `persona.display_name`: what it is called |
| `instructions` | those of the persona and the agent; without a place in the template they are put at its end |
| `inputs` | the inputs of the run |

and has the [filters](expressions.md) of expressions. Without `template` it is `persona`:

```jinja
{text}
```"""


def page() -> str:
    """Return the whole page."""
    templates = {file.name.removesuffix(".md.j2"): file for file in (files("personas") / "templates").iterdir()}
    names = ", ".join(f"`{name}`" for name in sorted(templates))
    text = templates["persona"].read_text("utf-8").rstrip("\n")
    habits = ", ".join(HABITS[:-1]) + f" and {HABITS[-1]}"
    sections = [
        Section("Fields", "", EXAMPLE),
        Section("Where personas are looked for", None, SEARCH.format(ancestors=MAX_ANCESTORS)),
        Section("What an agent's fields override", None, OVERRIDE.format(habits=habits)),
        Section("Templates", None, TEMPLATES.format(names=names, text=text)),
        Section("Library", None, _library()),
    ]
    return f"{HEAD}\n{rendered(json_schema(), sections)}"


def _library() -> str:
    personas = Personas(packaged())
    rows = [
        "These personas come with the package. A tier is a class of models; the routing file says which models it has.",
        "",
        "| persona | called | is | tier | what it is for |",
        "|---|---|---|---|---|",
    ]
    for name in personas.names():
        one = personas.get(name)
        rows.append(f"| {code(name)} | {one.display_name} | {one.title} | {one.tier} | {cell(one.role)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
