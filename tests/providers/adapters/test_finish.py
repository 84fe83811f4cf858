"""What vendors' words for the end of an answer mean, known and unknown ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters.finish import FAULT, meaning, word_of
from providers.messages import FinishReason

WORDS = {
    FinishReason.STOP: [
        "stop", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "completed", "end", "STOP", "Stop",
        "end_of_text", "<|eot_id|>", "<|im_end|>", "STOP_SEQUENCE", "endTurn", "normal", "finished", "stop_token",
    ],
    FinishReason.LENGTH: [
        "length", "max_tokens", "MAX_TOKENS", "model_length", "max_new_tokens", "maxTokens", "max-output-tokens",
        "model_context_window_exceeded", "token_limit", "time_limit", "incomplete", "not_finished", "pause_turn",
        "max_output_tokens", "length_limit_reached", "truncated", "repetition", "never heard of", "load", "42",
    ],
    FinishReason.TOOL_CALLS: ["tool_calls", "tool_use", "function_call", "TOOL_CALL", "toolUse", "tool_call"],
    FinishReason.CONTENT_FILTER: [
        "content_filter", "SAFETY", "RECITATION", "refusal", "content_filtered", "guardrail_intervened", "sensitive",
        "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "safety_stop", "ERROR_TOXIC", "moderation",
    ],
    FAULT: [
        "error", "abort", "aborted", "timeout", "timed_out", "cancelled", "canceled", "engine_error", "ERROR",
        "insufficient_system_resource", "network_error", "USER_CANCEL", "internal_error", "server_overloaded",
        "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "interrupted", "failed", "disconnected", "preempted",
        "stop_on_error", "tool_call_failed", "deadline_exceeded", "connection_closed", "rate_limit",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("word", "found"), [(word, found) for found, words in WORDS.items() for word in words])
def test_a_word_means(word, found):
    assert meaning(word) == found


@pytest.mark.parametrize("value", [None, "", " ", False, "null", "None", "none", "FINISH_REASON_UNSPECIFIED", {}])
def test_what_says_nothing_is_no_word(value):
    assert word_of(value) == ""


def test_what_is_no_text_is_a_word_that_nobody_knows():
    assert meaning(word_of({"type": "stop"})) is FinishReason.STOP
    for value in (7, [1], {"type": 3}, True):
        assert meaning(word_of(value)) is FinishReason.LENGTH


@pytest.mark.long
@given(st.text(min_size=1))
def test_only_a_word_that_says_so_ends_an_answer_as_whole(word):
    if meaning(word) is FinishReason.STOP:
        said = ("stop", "end", "eos", "eot", "complete", "finish", "done", "success", "ok", "normal")
        assert any(each in word.lower() for each in said)
