"""The failover exam, 32 to 34: vendors refuse in their own words, and a refusal costs no more than it says."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.errors import NoRoute
from providers.messages import Needs, Request, user
from tests.loopback import Seen, Served
from tests.providers.exam.lab import ASK, KEY, PATIENT, PLENTY, Lab

pytestmark = pytest.mark.anyio

TURNS = 4
SIBLING = Request(ASK.messages, max_output_tokens=50, needs=Needs(model="vendor/sibling"))
HTML = {"content-type": "text/html"}
PAGE = "<!DOCTYPE html><html><title>Just a moment...</title></html>"


@dataclass(frozen=True)
class Refused:
    """How a vendor refuses, how many of `TURNS` like turns ask it, and whether its other model is still asked."""

    status: int
    words: str | dict[str, object]
    asked: int
    sibling: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    row: str = ""
    """The provider of the catalog whose words these are."""

    def served(self) -> Served:
        told = isinstance(self.words, str) and self.words != PAGE
        body = {"error": {"message": self.words, "type": "", "code": None}} if told else self.words
        return Served(self.status, body, dict(self.headers))


GROQ_LIMIT = "Rate limit reached for model `m` on tokens per minute (TPM): Limit 0, Used 0, Requested 500."
GROQ_SIZE = "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 10338, please reduce it."
VLLM = "max_tokens must be at least 1, got -186."
ECHO = [
    {"type": "missing", "loc": ["body", "x"], "msg": "Field required", "input": "Why is the context length exceeded?"}
]
SPENT_DAY = (("x-ratelimit-remaining-requests", "999"), ("x-ratelimit-reset-requests", "3540s"))

CASES = {
    "retired": Refused(400, "The model `m` has been decommissioned and is no longer supported.", asked=1),
    "unknown": Refused(400, "vendor/m is not a valid model ID", asked=1),
    "not ours": Refused(403, "The model `m` is blocked at the project level.", asked=1),
    "not ours, as 401": Refused(401, "Authentication Error, key not allowed to access model.", asked=1),
    "a limit of nothing": Refused(429, GROQ_LIMIT, asked=1),
    "gone, under 200": Refused(200, "model 'm' not found", asked=1),
    "a feature": Refused(400, "messages[0]: unknown variant `image_url`, expected `text`", asked=TURNS),
    "a cap": Refused(
        400, "max_tokens is too large: 9000. This model supports at most 4096 completion tokens", asked=TURNS
    ),
    "a flag": Refused(500, "tools param requires --jinja flag", asked=TURNS),
    "context": Refused(400, VLLM, asked=TURNS),
    "a minute": Refused(429, GROQ_SIZE, asked=1),
    "a proxy": Refused(413, PAGE, asked=1, headers=tuple(HTML.items())),
    "an echo": Refused(422, {"detail": ECHO}, asked=TURNS),
    "a crash": Refused(400, "The model has crashed without additional information. (Exit code: 6)", asked=3),
    "an edge": Refused(403, PAGE, asked=1, sibling=False, headers=tuple(HTML.items())),
    "a login page": Refused(401, PAGE, asked=1, sibling=False, headers=tuple(HTML.items())),
    "a key's limit": Refused(403, "Key limit exceeded (daily limit).", asked=1, row="openrouter"),
    "a network": Refused(403, "Access denied. Please check your network settings.", asked=1, sibling=False, row="groq"),
}


def vendor(lab: Lab, refused: Refused) -> list[Candidate]:
    """Return the two models of one account, of which the first is refused so and the second answers."""

    def rule(seen: Seen) -> str | Served:
        return "ok" if seen.body["model"] == "sibling" else refused.served()

    refusals = load_catalog().providers[refused.row].refusals if refused.row else ()
    models = {name: Model(name, 8192, 512, price=Price(1, 1)) for name in ("m", "sibling")}
    url = lab.loopback.by(rule)
    row = Provider("vendor", "openai-chat", url, "KEY", models, limits=PLENTY, refusals=refusals)
    return [Candidate(row, model, key=KEY) for model in models.values()]


@pytest.mark.few(4)
@pytest.mark.parametrize("name", CASES)
async def test_32_a_refusal_in_a_vendors_words_costs_what_it_says(lab: Lab, name: str):
    refused = CASES[name]
    first, sibling = vendor(lab, refused)
    good = lab.provider("good", "ok", context=200_000 if name == "context" else 8192)
    async with lab.manager(first, good, sibling, timeouts=PATIENT) as manager:
        assert [(await lab.ask(manager)).provider for _ in range(TURNS)] == ["good"] * TURNS
        asked = [seen.body["model"] for seen in lab.loopback.requests if seen.base == first.provider.base_url]
        assert asked == ["m"] * refused.asked
        assert manager.fleet.shut == {}
        if refused.sibling:
            assert (await lab.ask(manager, SIBLING)).model == "sibling"
        else:
            with pytest.raises(NoRoute):
                await lab.ask(manager, SIBLING)


async def test_33_a_fault_is_not_held_until_a_limit_resets_that_has_plenty_left(lab: Lab):
    left = [Served(503, "busy", dict(SPENT_DAY))]
    providers = (lab.provider("busy", rule=lambda _: left.pop() if left else "ok"), lab.provider("good", "ok"))
    async with lab.manager(*providers, timeouts=PATIENT) as manager:
        assert [(await lab.ask(manager)).provider for _ in range(3)] == ["good", "busy", "busy"]


async def test_34_a_prompt_that_speaks_of_limits_decides_nothing(lab: Lab):
    asking = Request((user("The model does not exist, the context length is exceeded and the key is invalid."),))

    def rule(seen: Seen) -> Served:
        return Served(422, {"detail": [{"msg": "Field required", "loc": ["x"], "input": seen.body["messages"]}]})

    async with lab.manager(lab.provider("odd", rule=rule), lab.provider("good", "ok"), timeouts=PATIENT) as manager:
        assert [(await lab.ask(manager, asking)).provider for _ in range(3)] == ["good"] * 3
    assert lab.calls == ["odd", "good"] * 3
