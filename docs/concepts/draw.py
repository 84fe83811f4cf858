"""Draws the pictures of the concepts: one SVG each, plain text in them, legible in light and dark.

`python docs/concepts/draw.py` writes them beside this file; a test compares file and script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

WIDTH = 720
LINE = 18
"""Between the baselines of two lines of a text."""
GAP = 5
"""Between an arrow's end and what it points at."""

STYLE = """\
text { font: 13px system-ui, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif; fill: #1b1f24; text-anchor: middle }
.left { text-anchor: start } .right { text-anchor: end }
.small { font-size: 12px; fill: #57606a } .bold { font-weight: 600 }
.code { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; font-size: 12px }
.paper { fill: #ffffff; stroke: #d0d7de } .box { fill: #f2f4f7; stroke: #8c959f } .frame { fill: none; stroke: #8c959f }
.dash { stroke-dasharray: 5 4 }
.blue { fill: #dceaf9; stroke: #2f6fb3 } .green { fill: #dcf2e3; stroke: #2c7a4b }
.amber { fill: #fdefcf; stroke: #96690a }
.red { fill: #fbe1de; stroke: #b3392f }
.line { fill: none; stroke: #57606a; stroke-width: 1.5 } .tip { fill: #57606a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e9ed } .small { fill: #a9b1ba }
  .paper { fill: #14171c; stroke: #3a414a } .box { fill: #20252c; stroke: #7d8590 } .frame { stroke: #7d8590 }
  .blue { fill: #16324f; stroke: #6cb0f5 } .green { fill: #15392a; stroke: #5fc98a }
  .amber { fill: #42330c; stroke: #e0b04a }
  .red { fill: #4a1f1c; stroke: #f08a80 }
  .line { stroke: #a9b1ba } .tip { fill: #a9b1ba }
}
"""


def text(x: float, y: float, said: str, kind: str = "") -> str:
    """Return lines of text whose first baseline is `y`; in the middle of `x` unless `kind` has `left` or `right`."""
    named = f' class="{kind}"' if kind else ""
    return "".join(
        f'<text x="{x:g}" y="{y + number * LINE:g}"{named}>{escape(line)}</text>\n'
        for number, line in enumerate(said.split("\n"))
    )


def box(x: float, y: float, w: float, h: float, said: str = "", kind: str = "box", words: str = "") -> str:
    """Return a box with lines of text in its middle."""
    lines = said.split("\n") if said else []
    first = y + h / 2 + 4.5 - (len(lines) - 1) * LINE / 2
    shape = f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="7" class="{kind}"/>\n'
    return shape + (text(x + w / 2, first, said, words) if said else "")


def arrow(*points: tuple[float, float], kind: str = "line") -> str:
    """Return a line through points, with a tip at the last one. Its last part is horizontal or vertical."""
    (fx, fy), (x, y) = points[-2:]
    dx, dy = (x > fx) - (x < fx), (y > fy) - (y < fy)
    path = " ".join(f"{px:g},{py:g}" for px, py in (*points[:-1], (x - 7 * dx, y - 7 * dy)))
    sides = ((x - 9 * dx - 4.5 * dy, y - 9 * dy - 4.5 * dx), (x - 9 * dx + 4.5 * dy, y - 9 * dy + 4.5 * dx))
    tip = " ".join(f"{px:g},{py:g}" for px, py in ((x, y), *sides))
    return f'<polyline points="{path}" class="{kind}"/>\n<polygon points="{tip}" class="tip"/>\n'


def squad() -> Iterator[str]:
    """A squad holds inputs, agents and tasks, and comes to outputs.

    A frame called squad.yaml. The input idea feeds the task research, done by the agent mary; its output goes to the
    task brief, done by the agent paige, which makes the output brief. A budget of 0.50 dollars holds for all of it.
    """
    yield box(110, 30, 500, 180, kind="frame dash")
    yield text(122, 51, "squad.yaml", "left code")
    yield text(506, 51, "budget: at most $0.50", "small")
    yield box(20, 86, 66, 40, "inputs", "amber")
    yield box(150, 86, 170, 40, "task research", "blue", "bold")
    yield box(400, 86, 170, 40, "task brief", "blue", "bold")
    yield box(634, 86, 70, 40, "outputs", "amber")
    yield box(165, 156, 140, 34, "agent mary", "green")
    yield box(415, 156, 140, 34, "agent paige", "green")
    yield arrow((86, 106), (150 - GAP, 106))
    yield arrow((320, 106), (400 - GAP, 106))
    yield text(360, 96, "needs", "small")
    yield arrow((570, 106), (634 - GAP, 106))
    yield arrow((235, 156), (235, 126 + GAP))
    yield arrow((485, 156), (485, 126 + GAP))
    yield text(250, 146, "does", "left small")
    yield text(500, 146, "does", "left small")


def agent() -> Iterator[str]:
    """An agent is a prompt, models that may answer, and tools that it may call.

    A task gives the agent a brief and gets an answer. The agent has a persona or instructions, a tier or a model, and
    tools and memory. It takes turns: it asks a model, which answers or calls tools, until there is an answer.
    """
    yield box(20, 96, 110, 44, "task", "blue")
    yield box(240, 76, 200, 84, "agent\nasks in turns,\nuntil it has an answer", "green")
    yield arrow((130, 108), (240 - GAP, 108))
    yield text(185, 100, "brief", "small")
    yield arrow((240, 130), (130 + GAP, 130))
    yield text(185, 148, "answer", "small")
    yield box(530, 24, 170, 44, "model of its tier", "box")
    yield box(530, 96, 170, 44, "tools", "box")
    yield box(530, 168, 170, 44, "memory, knowledge", "box")
    yield arrow((440, 92), (485, 92), (485, 46), (530 - GAP, 46))
    yield arrow((440, 118), (530 - GAP, 118))
    yield arrow((440, 144), (485, 144), (485, 190), (530 - GAP, 190))
    yield box(240, 190, 200, 40, "persona or instructions", "amber")
    yield arrow((340, 190), (340, 160 + GAP))
    yield text(352, 180, "who it is", "left small")


def persona() -> Iterator[str]:
    """A persona is who an agent is: it becomes the words that a model reads.

    The fields role, identity, style and principles go through a template and become the system prompt. The field tier
    goes another way: it names a class of models, which the routing file defines.
    """
    yield box(30, 30, 220, 184, kind="amber")
    yield text(140, 54, "persona analyst", "bold")
    lines = ("name: Mary", "role: Find what holds", "style: Calm, exact", "principles: [...]")
    for number, line in enumerate(lines):
        yield text(48, 84 + number * 24, line, "left code")
    yield text(48, 190, "tier: boss", "left code")
    yield box(340, 68, 120, 44, "template", "box")
    yield box(560, 68, 140, 44, "system prompt\nof the agent", "green")
    yield arrow((250, 90), (340 - GAP, 90))
    yield arrow((460, 90), (560 - GAP, 90))
    yield text(510, 82, "renders", "small")
    yield box(340, 164, 120, 44, "tier boss", "blue")
    yield arrow((250, 186), (340 - GAP, 186))
    yield text(295, 178, "names", "small")
    yield text(476, 182, "which models that are:", "left small")
    yield text(476, 200, "agent_routing.yaml", "left code")


def tier() -> Iterator[str]:
    """A tier is a class of models: agents name it, and the policy says which models are in it.

    The agents mary and vera name the tier boss, amelia the tier worker. Each tier has a list of models of several
    providers. The first that has a key, room and health answers; if it cannot, the next one does.
    """
    yield box(20, 44, 110, 36, "mary", "green")
    yield box(20, 92, 110, 36, "vera", "green")
    yield box(20, 172, 110, 36, "amelia", "green")
    yield box(210, 66, 120, 40, "tier boss", "blue", "bold")
    yield box(210, 170, 120, 40, "tier worker", "blue", "bold")
    yield arrow((130, 62), (170, 62), (170, 78), (210 - GAP, 78))
    yield arrow((130, 110), (170, 110), (170, 94), (210 - GAP, 94))
    yield arrow((130, 190), (210 - GAP, 190))
    for row, y in ((("groq", "gemini", "openai"), 86), (("cerebras", "mistral", "local"), 190)):
        yield arrow((330, y), (400 - GAP, y))
        for number, name in enumerate(row):
            yield box(400 + number * 104, y - 20, 84, 40, name, "box" if number else "amber")
            if number:
                yield arrow((400 + number * 104 - 20, y), (400 + number * 104 - 3, y))
    yield text(550, 138, "the first that has a key and room; then the next", "small")


def task() -> Iterator[str]:
    """A task is a piece of work: what it needs comes in, its work is done and checked, its output goes on.

    The outputs of needed tasks and the description go in. An agent works. The output is checked by the output_schema;
    repeat does it again until a condition holds, retry after a failure. The output feeds later tasks and a file.
    """
    yield box(20, 52, 130, 44, "outputs of\nits needs", "amber")
    yield box(20, 140, 130, 44, "description", "amber")
    yield box(240, 84, 140, 64, "work\nof an agent", "blue", "bold")
    yield box(460, 84, 110, 64, "check\nby a schema", "box")
    yield arrow((150, 74), (190, 74), (190, 104), (240 - GAP, 104))
    yield arrow((150, 162), (190, 162), (190, 128), (240 - GAP, 128))
    yield arrow((380, 116), (460 - GAP, 116))
    yield arrow((515, 84), (515, 40), (310, 40), (310, 84 - GAP))
    yield text(412, 32, "repeat until it holds; retry after a failure", "small")
    yield box(620, 52, 86, 44, "later\ntasks", "green")
    yield box(620, 140, 86, 44, "output_file", "green")
    yield arrow((570, 104), (596, 104), (596, 74), (620 - GAP, 74))
    yield arrow((570, 128), (596, 128), (596, 162), (620 - GAP, 162))
    yield text(310, 176, "or a conversation, steps, a switch,", "small")
    yield text(310, 194, "a person, another squad", "small")


def conversation() -> Iterator[str]:
    """In a conversation several agents talk by a pattern until a condition holds; the result is one text.

    The task gives the topic. Ann, Bob and a person speak in turn, each hearing what was said before. When terminate
    holds, after six utterances for example, the moderator concludes, and the conclusion is the task's output.
    """
    yield box(20, 98, 90, 44, "task", "blue")
    yield arrow((110, 120), (166 - GAP, 120))
    yield text(138, 112, "topic", "small")
    yield box(166, 40, 270, 160, kind="frame dash")
    yield text(178, 61, "pattern: round_robin", "left code")
    yield box(182, 98, 66, 44, "ann", "green")
    yield box(268, 98, 66, 44, "bob", "green")
    yield box(354, 98, 66, 44, "person", "amber")
    yield arrow((248, 120), (268 - 3, 120))
    yield arrow((334, 120), (354 - 3, 120))
    yield arrow((387, 142), (387, 172), (215, 172), (215, 142 + GAP))
    yield text(301, 190, "each hears what was said", "small")
    yield arrow((436, 120), (520 - GAP, 120))
    yield text(478, 96, "terminate\nholds", "small")
    yield box(520, 98, 90, 44, "moderator\nconcludes", "green")
    yield arrow((610, 120), (640 - GAP, 120))
    yield box(640, 98, 66, 44, "output", "blue")


def run() -> Iterator[str]:
    """A run is a squad at work, once: with inputs, a name, a folder, and an end.

    The squad and its inputs are checked and planned. The run is then at work. It may wait for a person and be resumed,
    or be stopped by a limit or a kill and be resumed. It ends as done or failed.
    """
    yield box(20, 94, 110, 44, "squad\n+ inputs", "amber")
    yield box(190, 94, 110, 44, "checked,\nplanned", "box")
    yield box(370, 94, 110, 44, "at work", "blue", "bold")
    yield arrow((130, 116), (190 - GAP, 116))
    yield arrow((300, 116), (370 - GAP, 116))
    yield box(590, 70, 110, 36, "done", "green")
    yield box(590, 126, 110, 36, "failed", "red")
    yield arrow((480, 106), (530, 106), (530, 88), (590 - GAP, 88))
    yield arrow((480, 126), (530, 126), (530, 144), (590 - GAP, 144))
    yield box(190, 24, 290, 34, "waiting: for a person, for room", "amber")
    yield box(190, 176, 290, 34, "stopped: a cap, Ctrl-C, a kill", "amber")
    yield arrow((450, 94), (450, 58 + GAP))
    yield arrow((400, 58), (400, 94 - GAP))
    yield arrow((450, 138), (450, 176 - GAP))
    yield arrow((400, 176), (400, 138 + GAP))
    yield text(392, 81, "runs resume", "right small")
    yield text(392, 162, "runs resume", "right small")


def journal() -> Iterator[str]:
    """The journal records each step of a run before the next begins, so that a resumed run pays for none twice.

    The run makes steps one, two and three; each is recorded in the journal. Then the process is killed. A second
    process reads the recorded steps, asks no model for them, and goes on with step four.
    """
    yield text(24, 56, "first process", "left small")
    for number, name in enumerate(("step 1", "step 2", "step 3")):
        yield box(140 + number * 110, 34, 80, 36, name, "blue")
        yield arrow((180 + number * 110, 70), (180 + number * 110, 104 - GAP))
    yield box(470, 34, 80, 36, "killed", "red")
    yield arrow((440, 52), (470 - 3, 52))
    yield text(24, 129, "journal", "left bold")
    yield box(120, 104, 580, 40, kind="amber")
    for number in range(4):
        yield text(180 + number * 110 + (110 if number == 3 else 0), 129, f"recorded {number + 1}", "code")
    yield text(24, 200, "second process", "left small")
    yield box(140, 178, 300, 36, "read from the record, not paid for again", "box")
    for number in range(3):
        yield arrow((180 + number * 110, 144), (180 + number * 110, 178 - GAP))
    yield arrow((440, 196), (580 - GAP, 196))
    yield text(510, 188, "goes on", "small")
    yield box(580, 178, 80, 36, "step 4", "blue")
    yield arrow((620, 178), (620, 144 + GAP))


def budget() -> Iterator[str]:
    """Budgets nest; a call is reserved under all that cover it before it is sent, and settled with its true cost.

    A bar of the run's 0.50 dollars: 0.21 spent, 0.06 held by calls in flight, 0.23 left. A task inside it has a cap of
    0.10. A call must fit into both. When too little is left, the run stops, pauses, or takes a cheaper tier.
    """
    yield text(40, 44, "the run: max_cost $0.50", "left bold")
    yield box(40, 58, 269, 40, "spent $0.21", "blue")
    yield box(309, 58, 77, 40, "held $0.06", "amber")
    yield box(386, 58, 294, 40, "left $0.23", "green")
    yield arrow((348, 130), (348, 98 + GAP))
    yield text(360, 126, "held while a call is in flight; then its cost counts", "left small")
    yield text(40, 160, "the task review in it: max_cost $0.10", "left bold")
    yield box(40, 174, 70, 36, "$0.05", "blue")
    yield box(110, 174, 70, 36, "$0.05", "green")
    yield text(220, 188, "A call must fit into both. If it does not, on_exceed says:", "left small")
    yield text(220, 208, "stop, pause, or downgrade_tier", "left code")


def limit() -> Iterator[str]:
    """A limit is what a provider allows in a window of time; a call that has no room goes elsewhere or waits.

    Groq allows three requests in a minute in this picture. Three calls fill the window. The fourth has no room, so it
    goes to Gemini. When the first call has left the window, Groq has room again.
    """
    yield text(24, 60, "groq, 3 requests\nin a minute", "left small")
    yield text(24, 162, "gemini", "left small")
    yield box(150, 36, 330, 60, kind="frame dash")
    yield text(315, 28, "the window: 60 s", "small")
    for number, x in enumerate((170, 260, 350)):
        yield box(x, 48, 60, 36, f"call {number + 1}", "blue")
    yield box(428, 48, 44, 36, "4 ?", "frame dash")
    yield box(420, 138, 60, 36, "call 4", "blue")
    yield arrow((450, 84), (450, 138 - GAP))
    yield text(464, 120, "no room: the next model", "left small")
    yield box(560, 48, 60, 36, "call 5", "blue")
    yield text(590, 40, "call 1 is 60 s old", "small")
    yield arrow((150, 200), (690, 200))
    yield text(420, 220, "time", "small")


PICTURES: dict[str, tuple[Callable[[], Iterator[str]], int]] = {
    "squad": (squad, 230),
    "agent": (agent, 250),
    "persona": (persona, 240),
    "tier": (tier, 240),
    "task": (task, 220),
    "conversation": (conversation, 224),
    "run": (run, 232),
    "journal": (journal, 236),
    "budget": (budget, 236),
    "limit": (limit, 236),
}
"""What draws each of them, and how high it is."""


def picture(name: str) -> str:
    """Return the SVG of a concept."""
    return svg(*PICTURES[name])


def svg(draw: Callable[[], Iterator[str]], height: int) -> str:
    """Return what a function draws as a whole SVG of this height; its docstring is the title and the description."""
    title, _, rest = (draw.__doc__ or "").partition("\n\n")
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">\n'
        f'<title id="title">{escape(title)}</title>\n<desc id="desc">{escape(" ".join(rest.split()))}</desc>\n'
        f"<style>\n{STYLE}</style>\n"
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="9" class="paper"/>\n'
        f"{''.join(draw())}</svg>\n"
    )


if __name__ == "__main__":
    for each in PICTURES:
        (Path(__file__).parent / f"{each}.svg").write_text(picture(each), "utf-8")
