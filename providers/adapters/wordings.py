"""The words by which vendors refuse, as far as many share them: no list of sentences, but what they have in common.

Words of one vendor stand in its row. What neither knows stays a `BadRequest`, and another provider is asked. All
patterns are read over text of at most 3,200 characters, and none repeats a repetition. Sources: docs/sources.md#errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

from providers.adapters.error_report import ErrorReport
from providers.catalog.refusals import Meaning

REFUSALS = frozenset((0, 400, 404, 405, 409, 410, 412, 413, 422, 424))
"""Statuses whose words decide; 0 is an error inside a 200 that names none. A 500 is believed less."""

Find = Callable[[str], object]


def _any(*patterns: str) -> Find:
    """Return a search that compiles its pattern on use: a process that meets no refusal compiles none."""

    @cache
    def pattern() -> re.Pattern[str]:
        return re.compile("|".join(patterns), re.IGNORECASE)

    def search(text: str) -> object:
        return pattern().search(text)

    return search


# ---- what does not fit

_CAP = r"max(?:imum)?[ _]?(?:completion|output|new)?[ _]?tokens?\b|maxOutputTokens|(?:output|completion) tokens"
# "`max_tokens` must be less than or equal to `8192`, the maximum value ... is less than the `context_window`" (Groq).
_cap_compared = _any(
    rf"(?<!\+ )(?<!\+ [`'\"])(?:{_CAP})[^.]{{0,40}}"
    r"(?:less than or equal|<=|at most|no (?:more|greater) than|smaller than)"
)
_cap_too_large = _any(
    rf"(?:{_CAP})[^.]{{0,80}}(?:too (?:large|high|big)|exceed|larger|greater|less than|> \d|range|maximum"
    r"|limit|between|must be)",
    rf"(?:range|maximum|limit|too many|exceeds?)[^.]{{0,60}}(?:{_CAP})",
    r"maximum tokens you requested exceeds",
)
_context = _any(
    r"context[ _-]?(?:length|window|size|limit|overflow)|exceed\w* [^.]{0,30}\bcontext\b",
    r"long context|maximum (?:allowed )?(?:context|prompt|input|sequence|model) (?:length|size)",
    r"input is too large to process",
    r"(?:prompt|input|messages?|conversation|transcript|sequence|text|request)\b[^.:;]{0,40}\btoo long",
)
# Of a 429 these could be about a minute's tokens.
_overflow = _any(
    r"exceed\w* (?:the )?(?:model(?:'s)? |max\w* |allowed |number of )*(?:token limit|number of (?:input )?tokens)",
    r"(?:token limit|tokens?) exceeded\b|tokens in request more than|range of input length",
    r"(?<!output )(?<!completion )(?<!max )\btokens exceeds? (?:the )?(?:model|max|limit)",
    r"(?:prompt|input|messages?|request) (?:has|have|contains?|is|with) [\d,]+ (?:input )?tokens",
    r"(?:prompt|input|message)s?[`']? (?:tokens?|length|contains|has|must have|count|token count)\b[^.]{0,80}"
    r"(?:exceed|larger|longer|greater|too large|more than|> ?\d|<= ?\d|less than|fewer than)",
    r"(?:prompt|input|messages|conversation)\b[^.]{0,40}\b(?:longer than|exceeds? (?:the )?max|too (?:large|big))",
    r"inputs?[`']? (?:tokens )?\+|tokens? \+ [`']?max",
    r"max_tokens must be at least 1",  # what the window leaves for the answer: vLLM
    r"reduce (?:the|your) (?:length|number|size) of (?:the |your |input )*(?:messages|prompts?|inputs?|tokens)",
)
_too_many_tokens = _any(r"too many (?:(?:input|prompt|total) )?tokens")
_size = _any(
    r"(?:request|payload|body|entity|content|message)(?: body| entity| payload)?(?: size)?(?: is| was)? too large",
    r"(?:request|payload|body)(?: payload)?(?: size)? exceeds"
    r"|exceeds the (?:maximum|limit)[^.]{0,30}(?:bytes|[mk]i?b\b)",
)
_of_a_window = _any(r"too large\b.*(?:\bper (?:minute|hour|day)|\bTP[MDH]\b)")
_limit = re.compile(r"\blimit(?: is|:)? ?(\d[\d,]{0,15})(?!\.?\d)", re.IGNORECASE).search
_asked = re.compile(r"\b(?:requested|requires):? ?(\d[\d,]{0,15})(?!\.?\d)", re.IGNORECASE).search
_no_allowance = _any(
    r"(?<!remaining )(?<!left )\blimit(?: is|:)? ?`?0(?![\d]|[.,]\d)", r"does not have a free (?:quota )?tier"
)

CONTEXT_CODES = frozenset(
    (
        "context_length_exceeded",
        "context_window_exceeded",
        "exceed_context_size_error",
        "model_context_window_exceeded",
        "too_many_prompt_tokens",
        "prompt_too_long",
    )
)
LENGTH_CODES = frozenset(("string_above_max_length", "array_above_max_length"))
SIZE_CODES = frozenset(("request_too_large", "request_body_too_large_after_decoding", "payload_too_large"))

# ---- the model

_gone_code = re.compile(
    r"\w{0,30}?(?:model|deployment)s?[._-]?(?:is[._-])?(?:not|un|no|in)[._-]?(?:longer[._-])?(?:found|available|supported|"
    r"exists?|known|valid|open|active|allowed|accessible|authorized|enabled)"
    r"|\w{0,30}?model[._-]\w{0,20}?(?:decommissioned|deprecated|retired|removed|discontinued|blocked|terms|disabled|"
    r"restricted|denied)\w{0,20}"
    r"|(?:invalid|unknown|unavailable|unsupported|no_such|nonexistent|deprecated)[._-]?model",
    re.IGNORECASE,
).fullmatch
# "for this model", "with the model": not what is gone, but what lacks something.
_object = re.compile(
    r"\b(?:for|with|by|in|of|from|on|using) (?:(?:this|the|that|your|selected|requested|chosen) ){0,2}models?\b",
    re.IGNORECASE,
).sub
_LACKS = (
    r"(?! (?:with|when|while|together)\b"
    r"| (?:for|by) (?:tools?|functions?|images?|vision|structured|json|stream\w*|audio|files?)\b)"
)
_SO_MUCH = r"(?:(?!\. ).){0,120}?\b"  # within the sentence; a name like gpt-4.1 is no end of one
_gone = _any(
    rf"\b(?:model|deployment|engine)s?\b{_SO_MUCH}(?:has|have|is|are|was|were|been) (?:\w+ ){{0,2}}"
    r"(?:decommissioned|retired|removed|discontinued|sunset\w*|deprecated|shut down)",
    rf"\b(?:model|deployment|engine)s?\b{_SO_MUCH}(?:end[- ]of[- ]life|end of its life"
    r"|(?:does|do|did) not exist|not (?:be )?found|not exist"
    r"|no longer (?:\w+ )?(?:available|supported|served|offered|exists?|hosted))",
    rf"\bmodels?\b{_SO_MUCH}(?:is|are|was|were|been) (?:not (?:a )?(?:valid|known|available|offered|served|enabled"
    r"|deployed|active|accessible|recogni[sz]ed|permitted|allowed|hosted|open)|unavailable|unknown|blocked|restricted|disabled"
    rf"|invalid|gated)\b{_LACKS}",
    rf"\bmodels?\b[: ]?[ `'\"]{{0,2}}[\w./:@-]{{0,80}}"
    rf"[`'\"]? ?\b(?:is|are) (?:currently )?(?:not supported|unsupported){_LACKS}",
    r"(?:unknown|invalid|no such|unsupported|unavailable|non-serverless|nonexistent|deprecated|retired|unrecogni[sz]ed)"
    r" (?:\w+ )?model\b(?! (?:output|response|param|setting|config|option|reply))",
    rf"\bmodels?\b{_SO_MUCH}(?:is|are) only (?:available|offered|accessible) (?:to|on|in)\b",
    rf"\bmodels?\b{_SO_MUCH}requires? (?:\w+ ){{0,3}}(?:terms|acceptance|approval|agreement|subscription)\b",
    r"not a (?:valid|known|recogni[sz]ed|supported|chat) model|model\b.? (?:must|should) be one of",
    r"valid model (?:id|name)s? (?:are|is)|supported (?:api )?model names",
    r"no (?:endpoints?|providers?|allowed providers|deployments?)\b[^.]{0,20}\b(?:found|available)\b(?! that)",
)
_no_access = _any(
    r"\b(?:not?|cannot|unable|denied)\b[^.]{0,40}\baccess(?: to)? [`'\"]?@?[\w-]{1,40}/[\w-]",  # an id with its maker
    r"does not work with (?:this|the) (?:\w+ )?model",
    r"not support (?:the )?(?:chat|completions?|v1/\S{1,40}|this) ?(?:endpoint|api)",
    r"(?:\bnot?|cannot|unable|denied|lacks?|without|must be)\b[^.]{0,60}(?:access|permission|allowed|authorized|"
    r"entitled|permitted|eligible|subscribed|verified)\b[^.]{0,60}\b(?:this|the|that|to|use|from)\b[^.]{0,20}"
    r"\bmodels?\b(?!\.\w)",
    r"\bmodel\b[^.]{0,40}\b(?:terms|licen[cs]e)\b|\b(?:terms|licen[cs]e)\b[^.]{0,60}\bmodel\b",
    r"(?:not find|no) (?:the |a )?model\b|request access to",
)
_about_a_model = _any(r"\bmodels?\b(?!\.\w)|\bdeployment\b")
_of_the_key = _any(r"access(?: to)?(?: the| this)? model|_model_access_denied")

# ---- a passing state

_passing = _any(
    r"\bdegraded function|\bdegraded (?:state|mode|and)\b|is degraded|\bcrashed\b|^\W*degraded\b"
    r"|high (?:load|demand)|not ready",
    r"unexpectedly (?:stopped|terminated|exited)",
    r"overloaded|(?:at|over|no|out of|insufficient) capacity|capacity (?:exceeded|constraint)|no more data centers",
    r"temporarily (?:unavailable|disabled|down|out of|not)|currently (?:unavailable|overloaded|loading|busy|down)",
    r"available\b[^.]{0,40}(?:at (?:this|the) (?:time|moment)|right now)",
    r"\bmodels?\b[^.]{0,60}\b(?:is|are|was) (?:(?:still|being|currently) ){0,2}(?:(?:un)?loaded|loading"
    r"|starting|warming|busy)",
    r"no models? (?:is |are )?loaded|failed to load (?:the )?model|out of memory",
)
_later = _any(r"try again (?:later|in a (?:few|moment))|please retry\b")
_limited_in_words = _any(r"rate[ _-]?limit|too many requests")
_busy = _any(r"overloaded|(?:at|over|no|out of) capacity|capacity exceeded|no more data centers|upstream")
CAPACITY_CODES = frozenset(
    (
        "server_is_overloaded",
        "overloaded_error",
        "engine_overloaded_error",
        "capacity_exceeded",
        "queue_exceeded",
        "slow_down",
        "model_overloaded",
        "model_capacity_exhausted",
        "service_unavailable",
    )
)

# ---- what a model lacks

PARAMETERS = frozenset(
    (
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "seed",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "reasoning",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
    )
)
"""What of a request is a wish that other vendors may grant."""
UNSUPPORTED_CODES = frozenset(("unsupported_parameter", "unsupported_value", "not_implemented", "not_supported"))
_lacking = _any(
    r"not support|unsupported|only supported|not implemented|no endpoints found|is unavailable now",
    r"not (?:enabled|available|allowed|permitted) (?:for|in|with|on|when)\b|not available|no such|not found",
    r"not exist|deprecated",
    r"requires? [^.]{0,40}--[a-z]|mmproj",  # a server that was started without it: llama.cpp, vLLM
)
_feature = _any(
    r"unknown (?:variant|name|field|parameter|argument|key|property)|unrecogni[sz]ed",
    r"unexpected (?:field|keyword|argument)|array too long|not a (?:multi-?modal|vision|reasoning) model|only supports",
    r"\b(?:one|any|all)Of\b|additionalProperties|(?:tool|function)s?[ .](?:names?|descriptions?)\b",
    r"stop[ _]sequences?|\bstop:",
    r"too many (?!requests|tokens|input|prompt)(?:\w+ ){0,3}(?:parameters|propert|tools|functions|states|schemas"
    r"|images|function|stop|enum|unions?|nest|types)",
    r"number of (?:tools|functions|images|schemas)|only text (?:content|input)|\bimage_url\b",
    r"[`'\"]\w{1,40}[`'\"]:? (?:is|are) not (?:allowed|permitted)",
    r"at most \d+ (?:image|tool|function|audio|video|stop|file)",
    r"schema\w*\b[^.]{0,80}\b(?:too (?:complex|large|deep\w*|many|long)|exceeds?|not (?:supported|valid|allowed))",
    r"grammar is too large|invalid (?:json )?schema|schema for (?:response_format|function)",
    r"schema\b[^.]{0,30}\binvalid",
    r"\b(?:temperature|top_p|top_k|reasoning_effort|parallel_tool_calls|tool_choice|response_format)\b",
    r"\b(?:image|vision|multi-?modal|audio)\w*\b[^.]{0,60}\b(?:not|only|cannot|unsupported)\b",
    r"roles must alternate|only user(?:,| and) |system role|prefill|end with a user message",
    r"thought_signature|reasoning_content|redacted_thinking|expected [`']?thinking|in [`']?thinking",
)
_never_made_for = _any(  # what a server's 500 says every time
    r"does not support|not supported|unsupported|parser for this template"
    r"|requires? [^.]{0,40}--[a-z]|not implemented|mmproj",
    r"roles must alternate|only user(?:,| and) ",
)
_of_a_request = _any(
    r"no endpoints found that|requested parameters|verified to stream",
    r"support(?:s|ed)? (?:tool|function|image|audio|vision|structured|streaming)",
)

# ---- money, keys, content

_money = _any(
    r"insufficient[ _](?:\w+ )?(?:balance|credit|fund|quota)|credit balance",
    r"(?:more|no|any|out of|all available) credits|not (?:have )?(?:enough|sufficient) (?:balance|credit|fund)",
    r"balance\b[^.]{0,20}\b(?:insufficient|too low|exhausted|depleted)",
    r"spend(?:ing)? (?:limit|cap)|billing (?:hard )?limit|payment required|purchase credits|in arrears|overdue balance",
    r"prepa(?:id|y)[^.]*(?:depleted|exhausted|insufficient|run out)",
)
_allowance = _any(r"(?:\bkey|credit|usage|budget|quota|allowance)\b[^.]{0,50}\b(?:exceeded|exhausted|used up|reached)")
_budget = _any(r"\bbudget\b[^.]{0,40}\b(?:exceeded|exhausted|used up|reached)|reached (?:its|your|the) budget")
_long_window = _any(
    r"(?:per[ _-]|/ ?)(?:day|month|week)\b|daily|weekly|monthly|\b(?:RPD|TPD)\b|free allocation|usage limit"
)
_filtered = _any(
    r"content violates|usage (?:guidelines|policy|policies)|content[ _](?:policy|filter|management)|filtering policy",
    r"flagged|moderation|safety_check|guardrail",
)
_bad_key = _any(
    r"(?:invalid|incorrect|missing|wrong) (?:x-)?(?:api|authentication)[ _-]?(?:key|header|token)",
    r"\bapi[ _-]?key (?:not (?:valid|found)|expired|invalid|was|has been|is (?:not|in))",
    r"organization has been disabled|location is not supported|country, region, or territory not supported",
)
KEY_CODES = frozenset(("invalid_api_key", "api_key_invalid", "unsupported_country_region_territory"))
FILTER_CODES = frozenset(
    (
        "content_filter",
        "content_policy_violation",
        "content_filter_error",
        "moderation_blocked",
        "data_inspection_failed",
    )
)


def heard(kind: int, headers: Mapping[str, str], report: ErrorReport, at: float | None) -> Meaning | None:
    """Return what an error of this status says in words that vendors share, None where only the status tells.

    The order is the point: the specific first.
    """
    if not report.is_json and kind in (401, 403):
        return _at_the_edge(kind, report)
    report = replace(report, said=_whole_words(report.said))
    said, codes = report.said, report.codes
    # With an instant to wait for, a 429 that advises to buy more is a limit all the same.
    if kind == 402 or (_money(said) and (kind in (0, 400, 401, 403) or (kind == 429 and at is None))):
        return "no_money"
    if (found := _too_much(kind, report)) is not None:
        return found
    if codes & FILTER_CODES or (kind in (0, 400, 403, 451) and _filtered(said)):
        return "declined"
    if kind == 429 or (kind in (0, 403) and _limited_in_words(said)):
        return limited(headers, report)
    if kind in (401, 403):
        return _forbidden(kind, report)
    if codes & KEY_CODES or (kind in (0, 400, 422) and _bad_key(said)):
        return "key"
    if kind in REFUSALS:
        return _of_the_model(kind, report)
    return "unsupported" if kind == 501 else _no_fault(report) if kind == 500 else None


def _no_fault(report: ErrorReport) -> Meaning | None:
    """Return what a 500 is that says more than that something broke."""
    if _passing(report.said):
        return "overloaded"
    return "unsupported" if _never_made_for(report.said) else "gone" if _says_gone(report) else None


def _whole_words(said: str) -> str:
    """Return what was said without contractions: "isn't" is "is not"."""
    return said.replace("\u2019", "'").replace("n't", " not")


def _at_the_edge(kind: int, report: ErrorReport) -> Meaning:
    """A firewall says 403, a gateway's login page 401; a bare 401 is the API's own."""
    return "edge" if kind == 403 or report.is_page else "key"


def _too_much(kind: int, report: ErrorReport) -> Meaning | None:
    """Return whether the request is too much for the model's window, for a limit, or its cap for the model."""
    said, codes = report.said, report.codes
    if codes & LENGTH_CODES:
        return "size" if "content" in f"{report.param} {said}" else "unsupported"
    if codes & SIZE_CODES or (kind in (413, 429) and _of_a_window(said)):
        return "size"
    if codes & CONTEXT_CODES or (kind in (429, 500) and _context(said)):
        return "context"
    return _too_much_in_words(kind, said) if kind in REFUSALS else None


def _too_much_in_words(kind: int, said: str) -> Meaning | None:
    if _cap_compared(said):
        return "unsupported"
    if _context(said) or _overflow(said):
        return "context"
    if kind == 413 or _size(said):
        return "context" if _too_many_tokens(said) else "size"
    if _cap_too_large(said):
        return "unsupported"
    return "context" if _too_many_tokens(said) else None


def limited(headers: Mapping[str, str], report: ErrorReport) -> Meaning:
    """Return what a 429 is: a limit of the moment or a longer one, one that this request passes alone, or capacity."""
    said = report.said
    if report.codes & CAPACITY_CODES or _busy(said):
        return "overloaded"
    if allows_nothing(headers, report):
        return "gone"
    if _asks_for_more(said):
        return "size"
    return "quota" if _long_window(said) or _budget(said) or "budget_exceeded" in report.codes else "rate"


def _asks_for_more(said: str) -> bool:
    """Whether the request alone is more than the limit, however little else is used: no waiting cures that."""
    limit, asked = _limit(said), _asked(said)
    if limit is None or asked is None:
        return False
    return int(asked[1].replace(",", "")) > int(limit[1].replace(",", ""))


def allows_nothing(headers: Mapping[str, str], report: ErrorReport) -> bool:
    """Whether the limit that a 429 is about is 0: what is never allowed is not waited for.

    A header alone is believed where none says when to come again: some proxies write 0 for what they don't know.
    """
    if _no_allowance(f"{report.said} {report.quotas}"):
        return True
    zero = any(value.strip() == "0" for name, value in headers.items() if "ratelimit-limit" in name)
    return zero and "retry-after" not in headers


def _forbidden(kind: int, report: ErrorReport) -> Meaning:
    """Return what is forbidden: one model, a spent allowance, or all that the key would do."""
    said = report.said
    if _says_gone(report) or (kind == 403 and _about_a_model(said)) or _of_the_key(said):
        return "gone"
    return "quota" if kind == 403 and _allowance(said) else "key"


def _of_the_model(kind: int, report: ErrorReport) -> Meaning | None:
    """Return whether the model is ill for now, gone for good, or lacks what the request wants."""
    said, codes = report.said, report.codes
    if _passing(said) or (kind == 404 and _later(said)) or codes & CAPACITY_CODES:
        return "overloaded"
    if kind in (404, 410):
        return "unsupported" if _of_a_request(said) else "gone"
    if kind in (0, 400) and _allowance(said):
        return "quota"
    if codes & UNSUPPORTED_CODES or _of_a_request(said):
        return "unsupported"
    if _says_gone(report):
        return "gone"
    if kind == 405 or report.param.split("[")[0].split(".")[0] in PARAMETERS or _feature(said):
        return "unsupported"
    if _lacking(said) if kind else _never_made_for(said):
        return "unsupported"
    return "overloaded" if _later(said) else None


def _says_gone(report: ErrorReport) -> bool:
    said = report.said
    if report.param == "model" or any(map(_gone_code, (*report.codes, said[:100]))):
        return True
    return bool(_gone(_object("", said)) or _no_access(said))
