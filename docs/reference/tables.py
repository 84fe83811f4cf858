"""Renders a JSON Schema (2020-12) as Markdown for people: a section for each kind of mapping, a table of its fields.

The generators of the pages beside it use `rendered`. Pure. Three conventions of the schemas:

- `title` is what people call a thing: of a mapping the heading of its section ("Task"), of any other type the words
  that stand in the column "type" ("duration such as `30s`").
- A description that ends in `Default: ...` says what holds where a field is left out; that goes to its own column.
- A field without `default`, or with `null`, has none.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

WIDTH = 120
"""Characters of a line of prose."""
LONGEST = 60
"""Characters of an example in a cell; a longer one stands below its table."""
_WORDS = {
    "string": ("text", "texts"),
    "integer": ("whole number", "whole numbers"),
    "number": ("number", "numbers"),
    "boolean": ("`true` or `false`", "`true` or `false`"),
    "null": ("nothing", "nothing"),
    "object": ("mapping", "mappings"),
    "array": ("list", "lists"),
}
"""By type: one value in words, and several."""
_DEFAULT = re.compile(r"\s*\bDefault: (.+?)\.?\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page.

    `name` is the definition of `$defs` whose fields its table shows, "" the document itself, None where it has no
    table. `text` is Markdown above the table, in place of the definition's description; `after` stands below it.
    `only` names the fields that are shown, all where it is empty. The first section of a name is where types that
    mention it link to.
    """

    title: str
    name: str | None = None
    text: str = ""
    after: str = ""
    only: tuple[str, ...] = ()
    level: int = 2


def rendered(
    schema: Mapping[str, Any], sections: Sequence[Section] = (), elsewhere: Mapping[str, str] | None = None
) -> str:
    """Return the Markdown of the sections, then one of each mapping that they mention and that has none yet.

    Without sections the document itself comes first. `elsewhere` has the address of definitions that another page
    describes. Raise `ValueError` where two sections have one title, and where a section names what does not exist.
    """
    page = _Page(schema, dict(elsewhere or {}))
    wanted = list(sections) or [Section(str(schema.get("title", "The file")), "")]
    for section in wanted:
        page.place(section)
    lines = [line for section in wanted for line in page.section(section)]
    while page.missing:
        lines += page.section(page.missing.pop(0))
    return "\n".join(lines).rstrip("\n") + "\n"


def slug(title: str) -> str:
    """Return the anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def code(text: str) -> str:
    """Return a text as code in a cell of a table."""
    ticks = "``" if "`" in text else "`"
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}".replace("|", "\\|")


def cell(text: str) -> str:
    """Return prose as it may stand in a cell of a table: on one line, nothing in it taken for markup but code, links
    and bold letters."""
    parts = re.split(r"(`+[^`]*`+)", " ".join(text.split()))
    safe = [part if index % 2 else re.sub(r"([<]|(?<!\*)\*(?!\*))", r"\\\1", part) for index, part in enumerate(parts)]
    return "".join(safe).replace("|", "\\|")


def prose(text: str) -> list[str]:
    """Return paragraphs with lines of at most `WIDTH` characters; lists, tables and fenced code stay as they are."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n(?=(?:[^`]|`(?!``)|```.*?```)*\Z)", text.strip(), flags=re.DOTALL):
        is_laid_out = re.match(r"\s*([-*|>#]|```|\d+\. )", paragraph) or "```" in paragraph
        lines += [*(paragraph.splitlines() if is_laid_out else _wrapped(paragraph)), ""]
    return lines if text.strip() else []


def _wrapped(paragraph: str) -> list[str]:
    kept = re.sub(r"(`+)[^`].*?\1", lambda code_: code_[0].replace(" ", "\0"), " ".join(paragraph.split()))
    lines = textwrap.wrap(kept, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def written(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def block(value: Any) -> str:
    """Return a value as YAML of several lines."""
    text = yaml.dump(value, Dumper=_Dumper, width=WIDTH - 10, allow_unicode=True, sort_keys=False, indent=2)
    return text.removesuffix("\n")


class _Dumper(yaml.SafeDumper):
    """YAML as this project reads it: `on` and `yes` are words, and texts of several lines stand as they are."""

    yaml_implicit_resolvers: ClassVar[Any] = {
        first: [(tag, pattern) for tag, pattern in known if not (tag.endswith(":bool") and first not in "tTfF")]
        for first, known in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002  # as in PyYAML
        return super().increase_indent(flow, False)  # lists stand to the right of their field

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # as in PyYAML
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


@dataclass(slots=True)
class _Page:
    schema: Mapping[str, Any]
    anchors: dict[str, str]
    """By name of a definition: where it is described."""
    titles: set[str] = field(default_factory=set)
    missing: list[Section] = field(default_factory=list)
    """Sections of definitions that were mentioned, and that are still to be written."""

    @property
    def definitions(self) -> Mapping[str, Any]:
        return self.schema.get("$defs", {})  # type: ignore[no-any-return]  # a schema's definitions are a mapping

    def place(self, section: Section) -> Section:
        """Take a section in, and return it: from now on it is linked to."""
        if slug(section.title) in self.titles:
            raise ValueError(f"two sections are called {section.title!r}")
        self.titles.add(slug(section.title))
        if section.name is not None:
            known = {**self.definitions, "": self.schema}
            if section.name not in known:
                raise ValueError(f"the schema defines no {section.name!r}")
            if unknown := set(section.only) - set(known[section.name].get("properties", {})):
                raise ValueError(f"{section.name or 'the document'} has no field {', '.join(sorted(unknown))}")
            self.anchors.setdefault(section.name, f"#{slug(section.title)}")
        return section

    def made(self, name: str) -> Section:
        """Return the section of a definition that nothing was said of."""
        title = str(self.definitions[name].get("title", name))
        return Section(title if slug(title) not in self.titles else _split(name), name)

    def section(self, section: Section) -> Iterator[str]:
        """Yield its lines."""
        yield from (f"{'#' * section.level} {section.title}", "")
        known = None if section.name is None else self.definitions[section.name] if section.name else self.schema
        yield from prose(section.text or ("" if known is None else str(known.get("description", ""))))
        if known is not None:
            yield from self.table(known, section.only)
        yield from prose(section.after)

    def table(self, known: Mapping[str, Any], only: Sequence[str]) -> Iterator[str]:
        """Yield the table of a mapping's fields, and below it the examples that are too long for a cell."""
        fields = {
            name: one if isinstance(one, Mapping) else {}  # `true` is a schema, too
            for name, one in known.get("properties", {}).items()
            if not only or name in only
        }
        if not fields:
            return
        long: dict[str, Any] = {}
        yield from ("| field | type | default | what it does | example |", "|---|---|---|---|---|")
        for name, one in fields.items():
            told, default = self.said(one, name in known.get("required", ()))
            example = _example(one)
            if example is None:
                long[name] = one["examples"][0]
            cells = [code(name), cell(self.phrase(one)), cell(default), cell(told), example or ""]
            yield f"| {' | '.join(cells if example is not None else [*cells[:-1], 'below'])} |"
        yield ""
        for name, value in long.items():
            yield from ("```yaml", block({name: value}), "```", "")

    def said(self, schema: Mapping[str, Any], is_required: bool) -> tuple[str, str]:
        """Return what a field does, and what holds without it."""
        told = str(schema.get("description") or self._named(schema).get("description", ""))
        if is_required:
            return told, "**required**"
        found = _DEFAULT.search(told)
        told = told[: found.start()] if found else told
        default = schema.get("default")
        if (
            isinstance(default, Mapping)
            and default
            and any(self._named(one) for one in (schema, *_alternatives(schema)))
        ):
            return told, "that of each of its fields"
        if default not in (None, "", [], {}):
            return told, code(written(default)).replace("\\|", "|")
        return told, found[1] if found else "none"

    def _named(self, schema: Any) -> Mapping[str, Any]:
        """Return the definition that a type is; an empty one where it is none."""
        reference = schema.get("$ref", "") if isinstance(schema, Mapping) else ""
        return self.definitions.get(reference.rpartition("/")[2], {})

    def phrase(self, schema: Any, many: bool = False, seen: frozenset[str] = frozenset()) -> str:
        """Return a type in words; `many`: of the elements of a list."""
        if not isinstance(schema, Mapping):
            return "nothing" if schema is False else "values" if many else "any value"
        parts = _alternatives(schema)
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]), many, seen)
        if len(schema.get("allOf", ())) == 1:
            return self.phrase({**schema["allOf"][0], **{k: v for k, v in schema.items() if k != "allOf"}}, many, seen)
        if "title" in schema and "properties" not in schema:
            return str(schema["title"])
        if "const" in schema:
            return code(written(schema["const"])).replace("\\|", "|")
        if "enum" in schema:
            listed = ", ".join(code(written(one)).replace("\\|", "|") for one in schema["enum"] if one is not None)
            return listed if many or len(schema["enum"]) == 1 else f"one of {listed}"
        if parts:
            return _either([self.phrase(one, many, seen) + _mark(schema, one) for one in parts])
        return self._plain(schema, many, seen)

    def _plain(self, schema: Mapping[str, Any], many: bool, seen: frozenset[str]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            kinds = [one for one in kind if one != "null"]
            return _either([self._plain({**schema, "type": one}, many, seen) for one in kinds])
        if kind == "array" or "prefixItems" in schema:
            return self._list(schema, many, seen)
        if kind == "object" or "additionalProperties" in schema:
            return self._mapping(schema, many, seen)
        if kind not in _WORDS:
            return "values" if many else "any value"
        return _WORDS[kind][many] + _limits(schema)

    def _reference(self, reference: str, many: bool, seen: frozenset[str]) -> str:
        name = reference.rpartition("/")[2] if reference.startswith("#/$defs/") else ""
        known = self.schema if reference == "#" else self.definitions.get(name)
        if known is None:
            return code(reference).replace("\\|", "|")
        if name not in self.anchors and "properties" not in known:
            return "the same again" if name in seen else self.phrase(known, many, seen | {name})
        if name not in self.anchors:
            self.missing.append(self.place(self.made(name)))
        word = _lowered(str(known.get("title", _split(name) or "document")))
        return f"[{_plural(word) if many else word}]({self.anchors[name]})"

    def _list(self, schema: Mapping[str, Any], many: bool, seen: frozenset[str]) -> str:
        unique = ", each once" if schema.get("uniqueItems") else ""
        if firsts := schema.get("prefixItems"):
            return (
                f"{_WORDS['array'][many]} of {', then '.join(self.phrase(one, False, seen) for one in firsts)}{unique}"
            )
        items = self.phrase(schema.get("items", True), True, seen)
        return f"{_WORDS['array'][many]} of {_count(schema, 'minItems', 'maxItems')}{items}{unique}"

    def _mapping(self, schema: Mapping[str, Any], many: bool, seen: frozenset[str]) -> str:
        values = schema.get("additionalProperties", True)
        patterned = list(schema.get("patternProperties", {}).values())
        if isinstance(values, Mapping) or patterned:
            of = [values] if isinstance(values, Mapping) else patterned
            told = _either([self.phrase(one, True, seen) for one in of])
            return f"{_WORDS['object'][many]} of {_count(schema, 'minProperties', 'maxProperties')}names to {told}"
        return _WORDS["object"][many]


def _alternatives(schema: Mapping[str, Any]) -> list[Any]:
    """Return the types of which one holds, without null: a field that may be null may be left out."""
    found: list[Any] = []
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if isinstance(one, Mapping) and set(one) <= {"anyOf", "oneOf"}:
            found += _alternatives(one)
        elif not (isinstance(one, Mapping) and one.get("type") == "null"):
            found.append(one)
    return found


def _either(told: Sequence[str]) -> str:
    """Return the alternatives as one phrase."""
    flat = [word for one in told for word in ("`true`", "`false`") if one == _WORDS["boolean"][0]]
    words = list(dict.fromkeys([*flat, *(one for one in told if one != _WORDS["boolean"][0])]))
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _mark(schema: Mapping[str, Any], one: Any) -> str:
    """Return by which word a reader tells this alternative from others, where the schema says so."""
    told = schema.get("discriminator", {})
    names = [name for name, target in told.get("mapping", {}).items() if target == one.get("$ref")]
    return f" (`{told['propertyName']}: {'`, `'.join(names)}`)" if names else ""


def _example(schema: Mapping[str, Any]) -> str | None:
    """Return the cell with the examples of a field, None where the first one is too long for it."""
    texts = [written(one) for one in schema.get("examples", ())]
    if texts and (len(texts[0]) > LONGEST or "\n" in texts[0]):
        return None
    return " or ".join(code(text) for text in texts[:2] if len(text) <= LONGEST)


def _limits(schema: Mapping[str, Any]) -> str:
    """Return the limits of a text or a number, in words."""
    if schema.get("type") == "string":
        least, pattern = schema.get("minLength", 0), schema.get("pattern", "")
        told = [
            _range(least if least > 1 else None, schema.get("maxLength"), " characters"),
            "" if pattern in ("", r"\S") else f"matches {code(pattern)}".replace("\\|", "|"),
            str(schema.get("format", "")),
        ]
    else:
        told = [
            _range(schema.get("minimum"), schema.get("maximum")),
            f"more than {schema['exclusiveMinimum']:,}" if "exclusiveMinimum" in schema else "",
            f"less than {schema['exclusiveMaximum']:,}" if "exclusiveMaximum" in schema else "",
            f"a multiple of {schema['multipleOf']:,}" if "multipleOf" in schema else "",
        ]
    limits = ", ".join(filter(None, told))
    return f" ({limits})" if limits else ""


def _range(least: float | None, most: float | None, unit: str = "") -> str:
    if least is not None and most is not None:
        return f"{least:,} to {most:,}{unit}"
    if least is not None:
        return f"{least:,}{unit} or more"
    return "" if most is None else f"at most {most:,}{unit}"


def _count(schema: Mapping[str, Any], least: str, most: str) -> str:
    """Return how many elements there may be, in words before them."""
    told = _range(schema.get(least) or None, schema.get(most))
    return f"{told} " if told else ""


def _split(name: str) -> str:
    """Return the words of a class's name: `ToolUse` is "Tool use"."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z\s_]+", name)
    return " ".join(word if index == 0 or word.isupper() else word.lower() for index, word in enumerate(words))


def _lowered(title: str) -> str:
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def _plural(word: str) -> str:
    if found := re.match(r"(.+?)( (?:of|in|with) .+)", word):
        return _plural(found[1]) + found[2]
    if word.endswith("s"):
        return word
    return word[:-1] + "ies" if re.search(r"[^aeiou]y$", word) else word + "s"
