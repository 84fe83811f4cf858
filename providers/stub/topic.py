"""What a request is about, read from its words: the offline stub writes from this, no model is asked.

Bounded: the last message and the ends of the few before it are looked at, never a whole transcript.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from providers.documents.unicode import cut
from providers.messages import Message
from providers.stub.texts import LABEL

HEAD_CHARS = 4_000
TAIL_CHARS = 8_000
EARLIER_MESSAGES = 12
EARLIER_CHARS = 2_000
TASK_GRAPHEMES = 400
SUBJECT_GRAPHEMES = 90
FEWEST_WORDS, MOST_WORDS = 3, 5
ENOUGH_WORDS = 2
"""With as many key phrases in the documents' subject, the task adds none."""
SUBJECT_WEIGHT, TASK_WEIGHT = 3, 2
SPARE_WORDS = ("the main path", "the first use", "the saved state")

# Words that carry no subject: grammar, and the verbs and document names that tasks are made of.
_STOP_WORDS = """
    a about above after again all also an and any are as at be been before below between both but by can could did do
    does done each ever every few first for from further get gets had has have he her here him his how i if in into is
    it its itself just last least less let like may me might more most must my never new no nor not now of off on once
    one only or other our out over own per same say says shall she should since so some still such than that the their
    them then there these they thing things this those through to too under until up upon us use used uses using very
    via was we were what when where whether which while who whom why will with within without would yes yet you your
    add agree analyse analyze answer apply break build carries carry change check choose complete create decide define
    deliver describe design develop document draft explain expected find fix give identify implement include keep
    make name need needs plan prepare produce propose provide rank record research review ship smallest state states
    study summarise summarize take test tests think write
    agreed agent analysis answers architecture assistant brief context description document documents evidence exactly
    finding findings format goals guide input inputs json markdown missing none note notes order output outputs prd
    problem project question questions release requirement requirements result results risk risks scope section
    sections story stories summary system task tasks text user user-facing users word words work written
    built conflict criteria decides line moderate names next open participants settled speak turn
"""
_TASK_VERBS = (
    "analyse analyze build check create decide define describe design develop document draft explain implement"
    " investigate make plan prepare propose rank research review ship study summarise summarize test write"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
TASK_VERBS = frozenset(_TASK_VERBS.split())

FRAMES = frozenset(
    ("Memory", "Knowledge", "Context", "Expected output", "The conversation", "A reviewer asks for changes")
)
"""Headings around what was handed over, not of it."""

_RECALLED = re.compile(r"(?s)# (?:Memory|Knowledge)\n\n[^<]{1,600}<(\w+ [0-9a-f]{16})>\n.*?\n</\1>\n*")
"""What an agent remembers, or stands in its documents: not what it is asked."""
_TOKEN = re.compile(r"""\n|[^\s.,;:!?(){}\[\]<>"“”«»。，、；：！？؟،…|*#`=/\\]+|[^\s]""")
_HEADING = re.compile(r"(?m)^#{1,2} +(.{1,200})$")
_TASK_LINE = re.compile(r"(?im)^(?:#+ *|\*\*)?(?:your |current )?task(?:\*\*)?(?: *: *(?P<same>\S.*)|[ :*]*$)")
_NUMBERED = re.compile(r"[\d\s.-]+|[A-Za-z]{1,4}-\d[\d.]*").fullmatch  # 12, S-1, ADR-2.1
_IDENT = re.compile(r"\b[A-Za-z]{1,4}-\d")
_NAMED = re.compile(r"[^:.!?\n]{1,160}: (?P<about>\S+(?: \S+){2}.*)")
"""An instruction, and what it is for: `Sort this ticket: I was charged twice.`"""
_DIFF_FILE = re.compile(r"(?m)^\+\+\+ (?:b/)?(\S{1,200})$")
_DIFF_NAME = re.compile(r"(?m)^[+-]\s*(?:async )?(?:def|class|func|function|fn) (\w{2,60})")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？؟])\s")


@dataclass(frozen=True, slots=True)
class Topic:
    """`task` is what was asked, `subject` what it is about, `words` its key phrases, `basis` titles of documents."""

    task: str
    subject: str
    words: tuple[str, ...]
    basis: tuple[str, ...]

    @property
    def of_the_request(self) -> Topic:
        """The same with key phrases of the request alone: without the spare ones, which fit a product only."""
        own = tuple(word for word in self.words if word not in SPARE_WORDS)
        return replace(self, words=own or (self.subject,))


def topic_of(messages: Sequence[Message]) -> Topic:
    """Return what the request asks for, with the subject of the documents handed over before or in it."""
    near = [*messages[:2], *messages[max(2, len(messages) - EARLIER_MESSAGES) :]]
    last = _asking(near)
    asked = _ends(_RECALLED.sub("", last.text)) if last else ""
    earlier = [m.text[:EARLIER_CHARS] for m in near if m is not last and m.role != "system"]
    task = clip(_task(asked), TASK_GRAPHEMES) or "an unnamed task"
    titles = list(_titles([*earlier, asked]))
    # A title "Brief: a shopping list" names the subject better than a task "Write the PRD" does.
    changed = _changed(asked)
    titled = next((about for _, about in titles if about), "") or _named(task)
    subject = titled or (changed[0] if changed else _bare(task))
    basis = tuple(dict.fromkeys(f"{kind}: {about}" if about else kind for kind, about in titles))
    words = changed or _key_phrases(subject, task, [asked, *earlier], titled=bool(titled))
    return Topic(task, clip(subject, SUBJECT_GRAPHEMES), words, basis[:6])


def _asking(near: Sequence[Message]) -> Message | None:
    """The last message with a line `Task`, else the last of the user, else the last."""
    users = [m for m in near if m.role == "user"]
    tasked = (m for m in reversed(users) if m.name is None and _TASK_LINE.search(_ends(m.text)))
    return next(tasked, None) or next(reversed(users or near), None)


def _ends(text: str) -> str:
    fits = len(text) <= HEAD_CHARS + TAIL_CHARS
    return text if fits else f"{text[:HEAD_CHARS]}\n\n{text[-TAIL_CHARS:]}"


def clip(text: str, graphemes: int) -> str:
    """Return `text` on one line and at most `graphemes` long; no grapheme is cut."""
    flat = " ".join(text.split())
    kept = cut(flat, graphemes)
    return flat if len(kept) == len(flat) else kept.rstrip() + "…"


def _task(asked: str) -> str:
    """The paragraph below a line `Task`, what follows `Task:`, or the first line that is no heading."""
    if marks := list(_TASK_LINE.finditer(asked)):
        found = marks[-1]  # a document above may have such a line of its own
        rest = asked[found.end() :].lstrip()
        if (heading := _HEADING.match(rest)) and heading[1].strip() in FRAMES:
            return found["same"] or ""
        return found["same"] or rest.split("\n\n", 1)[0]
    lines = (line.strip() for line in asked.splitlines())
    return next((line for line in lines if line and not line.startswith(("#", "---", "```", "<"))), asked.strip())


def _titles(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Titles of documents as (kind, subject): a text's first heading, and any further one that names its subject."""
    for text in texts:
        # A document inside JSON has its line ends escaped.
        for number, found in enumerate(_HEADING.finditer(text.replace("\\n", "\n"))):
            kind, _, about = (part.strip() for part in found[1].partition(": "))
            if kind not in FRAMES and (number == 0 or about) and not _TASK_LINE.match(found[0]):
                yield clip(kind, 60), clip(about, SUBJECT_GRAPHEMES)


def _changed(asked: str) -> tuple[str, ...]:
    """The files that a diff in the request changes, and what it changes in them; nothing where there is no diff."""
    files = [line[1] for line in _DIFF_FILE.finditer(asked)]
    names = [line[1] for line in _DIFF_NAME.finditer(asked)] if files else []
    return tuple(clip(word, 40) for word in [*dict.fromkeys([*files[:3], *names])][:MOST_WORDS])


def _named(task: str) -> str:
    """What a task names after a colon, "" where it names none."""
    named = _NAMED.match(task)
    if named is None or _IDENT.search(task, 0, named.start("about")):
        return ""
    return _SENTENCE_END.split(named["about"], maxsplit=1)[0].rstrip(".!? ")


def _bare(task: str) -> str:
    """The first sentence without its leading verb and without the second thing it asks for."""
    sentence = _SENTENCE_END.split(task, maxsplit=1)[0].rstrip(".!? ")
    words = sentence.split()
    if len(words) > 1 and words[0].casefold() in TASK_VERBS:
        words = words[1:]
    for place, word in enumerate(words[1:-1], 1):
        if word.casefold() == "and" and words[place + 1].casefold() in STOP_WORDS:
            words = words[:place]
            break
    if len(words) > 1 and words[0] in ("A", "An", "The"):
        words = [words[0].lower(), *words[1:]]  # the subject stands inside sentences
    return " ".join(words).rstrip(",;:") or task


def _key_phrases(subject: str, task: str, documents: Sequence[str], *, titled: bool) -> tuple[str, ...]:
    """The phrases between stop words, by where and how often they come (after RAKE, Rose et al. 2010)."""
    found = Counter(dict.fromkeys(_phrases(subject), SUBJECT_WEIGHT))
    # A task for documents that have a subject ("Record each decision with its costs") names work, not a subject.
    asked = [phrase for phrase in _phrases(task) if phrase in found or not titled or len(found) < ENOUGH_WORDS]
    found.update(dict.fromkeys(asked, TASK_WEIGHT))
    if len(found) < FEWEST_WORDS:
        # Only then: most phrases of a document are its kind's, not its subject's. A stub's own are all boilerplate.
        written = "\n".join(text for text in documents if LABEL not in text)[: HEAD_CHARS + TAIL_CHARS]
        found.update(phrase for phrase in _phrases(written) if " " in phrase)
    best = [phrase for phrase, _ in found.most_common(MOST_WORDS)]
    return (*best, *SPARE_WORDS[: max(0, FEWEST_WORDS - len(best))])


def _phrases(text: str) -> Iterator[str]:
    run: list[str] = []
    for token in (*_TOKEN.findall(text), "\n"):
        wordy = token[0].isalnum() and token.casefold() not in STOP_WORDS
        if wordy:
            run.append(token)
        if run and (not wordy or len(run) == 3):
            phrase = " ".join(run)
            if len(phrase) > 2 and not _NUMBERED(phrase):
                yield clip(phrase, 40).lower()
            run = []
