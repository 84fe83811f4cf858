from __future__ import annotations

from inspect import cleandoc

import pytest

from agents.docstrings import described

GOOGLE = """Look up the weather.

    Note: it is only a guess.

    Args:
        city (str): The city's name,
            in English.
        *days: How many: at most 9.
        other: of something else

    Returns:
        The forecast.
    """
NUMPY = """Look up the weather.

    Parameters
    ----------
    city, town : str
        The city's name,
        in English.
    days : int, optional

    Returns
    -------
    str
        The forecast.
    """
SPHINX = """Look up the weather.

    :param str city: The city's name,
        in English.
    :param days: How many: at most 9.
    :type days: int
    :param other: of something else
    :returns: The forecast.
    """


def test_google() -> None:
    text, said = described(cleandoc(GOOGLE), ["city", "days"])
    assert said == {"city": "The city's name, in English.", "days": "How many: at most 9."}
    assert text == "Look up the weather.\n\nNote: it is only a guess.\n\nReturns:\n    The forecast."


def test_numpy() -> None:
    text, said = described(cleandoc(NUMPY), ["city", "days", "town"])
    assert said == {"city": "The city's name, in English.", "town": "The city's name, in English.", "days": ""}
    assert text == "Look up the weather.\n\nReturns\n-------\nstr\n    The forecast."


def test_sphinx() -> None:
    text, said = described(cleandoc(SPHINX), ["city", "days"])
    assert said == {"city": "The city's name, in English.", "days": "How many: at most 9."}
    assert text == "Look up the weather.\n\n:param other: of something else\n:returns: The forecast."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "One line.",
        "Args: none of a list.",
        "Arguments:\n    they: are of a debate",
        "Title\n-----\n\nWords.",
        "A text\n\n    Args:\n        city: stands in an example",
        ":city: no field of a parameter",
        "Args:",
    ],
)
def test_what_speaks_of_no_parameter_stays_as_it_is(text: str) -> None:
    assert described(text, ["city"]) == (text, {})
