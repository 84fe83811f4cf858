"""Who speaks: a persona as it is written, as it is merged from its ancestors, and as the text that a model reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from personas.errors import PersonaAmbiguous, TemplateError
from personas.markdown import BODY, UNREADABLE
from personas.other_formats import PERSONA_ADVICE, PERSONA_NAMES, listed_tools
from personas.sandbox import Sandbox, Template
from personas.sources import PersonaSource, listed
from providers.documents.file_schema import file_schema
from providers.documents.models import StrictModel, checked
from providers.documents.nodes import Node, tree_of
from providers.documents.problems import Problem, SpecError, in_order, nearest

MAX_ANCESTORS = 16
_SAY_WHO = ("title", "role", "goal", "identity", "principles", "template", BODY)
"""One of these says who speaks; a name, a style and what is made do not."""
UNNAMED = "custom"
"""The id of a persona that has no name, where the caller has none for it."""


class PersonaError(SpecError):
    """A persona that cannot be made: every mistake at once. Paths lead into what the persona was made of."""


def _readable(text: str) -> str:
    if bad := UNREADABLE.search(text):
        raise ValueError(f"holds the unreadable character U+{ord(bad.group()):04X} at position {bad.start()}")
    return text


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "text"


def _with_name(tool: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(tool.get("name"), str):
        raise ValueError("needs a 'name' in each tool that is given as a mapping")
    return tool


ShortText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_readable)]
LongText = Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_readable)]
PromptText = Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(_readable)]
_TOOL = {
    "type": "object",
    "title": "mapping with `name`",
    "required": ["name"],
    "properties": {"name": {"type": "string"}},
}
"""What editors are told of a tool that is more than its name."""
ToolWish = Annotated[
    Annotated[ShortText, Tag("text")]
    | Annotated[dict[str, Any], AfterValidator(_with_name), WithJsonSchema(_TOOL), Tag("mapping")],
    Discriminator(_kind),
]
ToolWishes = Annotated[list[ToolWish], BeforeValidator(listed_tools)]


class PersonaSpec(StrictModel):
    """Who an agent is: what a persona's file says. A field that is left out comes from the persona that it extends."""

    noun: ClassVar[str] = "a persona"
    other_names: ClassVar[Mapping[str, str]] = PERSONA_NAMES
    advice: ClassVar[Mapping[str, str]] = PERSONA_ADVICE
    extends: ShortText | None = Field(
        None,
        description="The persona to build on. Texts replace its own, lists append to its lists. Default: none.",
        examples=["analyst"],
    )
    name: ShortText | None = Field(
        None, description="What it is called, in prompts and in conversations. Default: its title.", examples=["Amelia"]
    )
    title: ShortText | None = Field(
        None, description="Its profession, in a few words.", examples=["Developer", "Tax Lawyer"]
    )
    role: LongText | None = Field(
        None,
        description="What it is responsible for, in a sentence. A persona needs one of `title`, `role`, `goal`, "
        "`identity`, `principles`, `instructions` and `template`.",
        examples=["Finds what is wrong with a plan while it can still be changed."],
    )
    goal: LongText | None = Field(
        None,
        description="What it works towards.",
        examples=["Three objections that would change the decision, or none."],
    )
    identity: LongText | None = Field(
        None,
        description="Its background and how it thinks.",
        examples=["Twenty years of audits; trusts figures, not words."],
    )
    style: LongText | None = Field(None, description="How it speaks.", examples=["Short sentences. No praise."])
    principles: list[LongText] = Field(
        [],
        max_length=100,
        description="What it holds to, one sentence each.",
        examples=[["Say where each figure comes from."]],
    )
    tier: ShortText | None = Field(
        None,
        description="The class of models that it needs; the routing file says which models these are. Default: "
        "`worker`.",
        examples=["boss"],
    )
    instructions: PromptText | None = Field(
        None,
        description="A prompt of its own, which follows what the other fields say; without them it is "
        "all that a model is told. In a Markdown file it is the text below the front matter.",
        examples=["Answer in one sentence."],
    )
    tools: ToolWishes = Field(
        [],
        max_length=100,
        description="Tools that its agents may call: by name, or as a mapping with a name.",
        examples=[["read_file", {"name": "edit_file", "approval": "ask"}]],
    )
    template: LongText | None = Field(
        None,
        description="The template that makes a prompt of it: a packaged one's name, or its own text with `{{ }}`. "
        "Default: `persona`.",
        examples=["You are {{ persona.title }}. {{ instructions }}"],
    )
    produces: list[ShortText] = Field(
        [], max_length=100, description="What it makes.", examples=[["A list of risks, the worst first"]]
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a persona's file, for editors."""
    return file_schema(PersonaSpec, "persona")


@dataclass(frozen=True, slots=True)
class Persona:
    """Who speaks, resolved."""

    name: str
    """Its id, `dev`."""
    display_name: str
    """What it is called, `Amelia`."""
    role: str
    """What it is responsible for, in a sentence."""
    title: str = ""
    """Its profession, in a few words."""
    identity: str = ""
    """Its background and how it thinks."""
    style: str = ""
    """How it speaks."""
    principles: tuple[str, ...] = ()
    """What it holds to, one sentence each."""
    tier: str | None = "worker"
    """The class of models that it needs."""
    tools: tuple[str | Mapping[str, Any], ...] = ()
    """Tools that its agents may call: by name, or as a mapping with a name."""
    template: str = "persona"
    """The template that makes a prompt of it: a packaged one's name, or its own text."""
    produces: tuple[str, ...] = ()
    """What it makes."""
    goal: str = ""
    """What it works towards."""
    prompt: str = ""
    """Its own instructions: what a file says as `instructions`, or below its front matter."""

    @property
    def is_blank(self) -> bool:
        """Whether nothing is said of it but its name and instructions."""
        said = (self.title, self.role, self.goal, self.identity, self.style, self.principles, self.produces)
        return not any(said) and self.template == "persona"

    def instructions(self, values: Mapping[str, Any] | None = None, own: str = "") -> str:
        """Return the system prompt: the same text for the same persona and values.

        `own` are an agent's instructions, which follow the persona's: all there is of a blank persona, else a section
        at the end, unless a template reads them as `instructions` and so places them itself.

        A template sees the persona's fields as `persona` and the `values` by their names. The packaged one uses
        `squad` (text) and `colleagues` (mappings with `name` and `title`) where given. Raise `TemplateError` where
        the template is wrong or asks for a value that is not given.
        """
        own = "\n\n".join(text for text in (self.prompt, own) if text)
        if own and self.is_blank:
            return own
        fields = {slot: getattr(self, slot) for slot in self.__slots__}
        template = _template(self.template)
        text = template.render({"instructions": own, **(values or {}), "persona": fields})
        places_them = any(name[0] == "instructions" for name in template.names)
        return text if places_them or not own else f"{text.rstrip()}\n\n## Your instructions\n\n{own.strip()}\n"


@lru_cache(maxsize=128)  # a template is a pure function of its text, and parsing costs a hundred renderings
def _template(named: str) -> Template:
    if "{{" in named or "{%" in named:
        return Sandbox().template(named)
    known = {file.name.removesuffix(".md.j2"): file for file in (files("personas") / "templates").iterdir()}
    if named not in known:
        hint = nearest(named, known)
        raise TemplateError(f"{named!r} is not a template ({hint}); a template's text holds '{{{{'")
    return Sandbox().template(known[named].read_text("utf-8"))


class Personas:
    """Personas by name, from one source, each made once."""

    def __init__(self, source: PersonaSource) -> None:
        self._source = source
        self._made: dict[str, Persona] = {}

    def names(self) -> tuple[str, ...]:
        """Return the sorted names that the source can list."""
        return listed(self._source)

    def get(self, name: str) -> Persona:
        """Return the persona written under `name`. Raise `PersonaError` where there is none or it is wrong."""
        if name not in self._made:
            self._made[name] = self.build({"extends": name})
        return self._made[name]

    def build(
        self,
        written: Mapping[str, Any] | Node,
        name: str | None = None,
        over: Mapping[str, Any] | Node | None = None,
        read: Sequence[Problem] = (),
        unnamed: str = UNNAMED,
        may_be_blank: bool = False,
        of_its_own: bool = False,
    ) -> Persona:
        """Return the persona that `written` describes, merged over what it extends; `over` is laid on top.

        Its id is `name`, else that of the nearest ancestor, else its own name in lower case, else `unnamed`. Raise
        `PersonaError` with every mistake at once, those that were `read` in the text among them. Nothing needs to be
        said of one that `may_be_blank`. With `of_its_own` a title or a role in `over` makes somebody else of it: see
        `heirloom`.
        """
        base, top = _tree(written), _tree(over or {})
        if not isinstance(base.value, Mapping):
            raise PersonaError([base.problem((), "wrong-type", "a persona is a mapping of fields")])
        problems = [*read, *checked(PersonaSpec, top)[1], *checked(PersonaSpec, base)[1]]
        ancestors, wrong = self._ancestors(base)
        if problems or wrong:
            raise PersonaError(in_order([*problems, *wrong]))
        merged: dict[str, Any] = {}
        for layer in (*reversed(ancestors), base.plain()):
            merged = merge(merged, layer)
        merged = merge(heirloom(merged, top.plain(), unnamed) if of_its_own else merged, top.plain())
        ancestor = base.plain().get("extends")
        merged.pop("extends", None)
        if not (may_be_blank or any(merged.get(field) for field in _SAY_WHO)):
            message = "a persona needs a role: what it is responsible for, in a sentence"
            hint = "or instructions: in Markdown the text below the front matter"
            raise PersonaError([base.problem(("role",), "missing-field", message, hint)])
        return _persona(merged, name or ancestor or _slug(merged) or unnamed, base, top)

    def _ancestors(self, base: Node) -> tuple[list[Mapping[str, Any]], list[Problem]]:
        """Return what `base` extends, nearest first, and what is wrong with it, told at its `extends`."""
        found: list[Mapping[str, Any]] = []
        lineage: list[str] = []
        layer: Mapping[str, Any] = base.plain()
        while isinstance(parent := layer.get("extends"), str):
            if wrong := self._broken_line(base, parent, lineage):
                return found, [wrong]
            try:
                written = self._source(parent)
            except PersonaAmbiguous as error:
                return found, [base.problem(("extends",), "ambiguous-persona", str(error))]
            except SpecError as error:
                return found, [*error.problems]
            if written is None:
                message = f"{parent!r} is not a persona{_via(lineage)}"
                hint = nearest(parent, self.names())
                return found, [base.problem(("extends",), "unknown-persona", message, hint)]
            lineage.append(parent)
            if problems := checked(PersonaSpec, tree_of(written))[1]:
                is_in_file = isinstance(written, Node)
                return found, problems if is_in_file else [_told_of(base, problem, lineage) for problem in problems]
            layer = tree_of(written).plain()
            found.append(layer)
        return found, []

    def _broken_line(self, base: Node, parent: str, lineage: list[str]) -> Problem | None:
        """Return why a persona cannot come after those of `lineage`, None where it can."""
        if parent in lineage:
            cycle = " -> ".join([*lineage[lineage.index(parent) :], parent])
            return base.problem(("extends",), "cycle", f"personas extend each other: {cycle}")
        if len(lineage) == MAX_ANCESTORS:
            message = f"more than {MAX_ANCESTORS} personas extend each other"
            return base.problem(("extends",), "unbounded", message)
        return None


def _tree(written: Mapping[str, Any] | Node) -> Node:
    return written if isinstance(written, Node) else tree_of(written)


def _told_of(base: Node, problem: Problem, lineage: Sequence[str]) -> Problem:
    """Return a problem with an ancestor as one of what extends it."""
    return base.problem(("extends",), "invalid-persona", f"{problem.message}{_via(lineage)}", problem.hint)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` laid on it: scalars replace, lists append, maps merge. Neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        match merged.get(key), value:
            case list() | tuple() as old, list() | tuple():
                merged[key] = [*old, *value]
            case Mapping() as old, Mapping():
                merged[key] = merge(old, value)
            case _:
                merged[key] = value
    return merged


HABITS = ("name", "goal", "identity", "principles", "produces", "style")
"""What makes a persona this one and no other, beside its title and its role."""


def heirloom(base: Mapping[str, Any], over: Mapping[str, Any], unnamed: str) -> Mapping[str, Any]:
    """Return what is left of `base` for one who overrides it: all, unless that one has a title or role of its own.

    Then it is somebody else, who does not go by the name of `base` but by the title, else as `unnamed`, and has none
    of its habits. A role of its own also leaves the title behind; a title alone keeps the role. Tier, tools and
    template stay.
    """
    title, role = over.get("title"), over.get("role")
    if not (title or role):
        return base
    gone = {*HABITS, "title"} if role else set(HABITS)
    return {"name": title or unnamed, **{field: value for field, value in base.items() if field not in gone}}


def _persona(merged: Mapping[str, Any], name: str, base: Node, top: Node) -> Persona:
    lists: dict[str, Any] = {key: tuple(merged.get(key, ())) for key in ("principles", "tools", "produces")}
    scalars = {
        key: merged[key]
        for key in ("title", "role", "goal", "identity", "style", "tier", "template")
        if merged.get(key)
    }
    scalars |= {"prompt": merged[BODY]} if merged.get(BODY) else {}
    called = merged.get("name") or merged.get("title") or name
    persona = Persona(**{"role": "", **scalars, **lists}, name=name, display_name=called)
    try:
        _template(persona.template)
    except TemplateError as error:
        written = base if top.child("template") is None else top
        raise PersonaError([written.problem(("template",), "invalid-persona", error.message)]) from None
    return persona


def _slug(merged: Mapping[str, Any]) -> str:
    words = re.findall(r"\w+", str(merged.get("name") or merged.get("title") or ""))
    return "-".join(words).lower()


def _via(lineage: Sequence[str]) -> str:
    return f" (in persona {lineage[-1]!r})" if lineage else ""
