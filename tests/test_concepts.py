"""The pages of concepts: their pictures are what the script draws, legible in light and dark, and told in words."""

from __future__ import annotations

import re
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

CONCEPTS = Path(__file__).parents[1] / "docs" / "concepts"
DRAWN = runpy.run_path(str(CONCEPTS / "draw.py"))
NAMES = sorted(DRAWN["PICTURES"])
SVG = "{http://www.w3.org/2000/svg}"
# As wide as a letter gets in the middle of the fonts that are named, by its size: a text must not leave its box.
WIDTH = {13: 7.2, 12: 6.8}


def test_each_page_has_a_picture_and_each_picture_a_page() -> None:
    pages = {page.stem for page in CONCEPTS.glob("*.md")} - {"index"}
    assert pages == set(NAMES) == {picture.stem for picture in CONCEPTS.glob("*.svg")}


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_what_the_script_draws(name: str) -> None:
    made = DRAWN["picture"](name)
    assert (CONCEPTS / f"{name}.svg").read_text("utf-8") == made, "run python docs/concepts/draw.py"
    page = (CONCEPTS / f"{name}.md").read_text("utf-8")
    assert f"![{_title(made)}]({name}.svg)" in page, "the words beside the picture are its title"


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_told_in_words_and_legible_in_the_dark(name: str) -> None:
    root = ET.fromstring(DRAWN["picture"](name))  # our own
    assert root.get("role") == "img"
    assert _title(DRAWN["picture"](name)).endswith(".")
    assert len(root.findtext(f"{SVG}desc") or "") > 80
    assert not root.findall(f".//{SVG}path")  # text is text
    light, _, dark = (root.findtext(f"{SVG}style") or "").partition("@media (prefers-color-scheme: dark)")
    coloured = set(re.findall(r"\.(\w+) \{[^}]*#", light))
    for kind in coloured:
        assert f".{kind} {{" in dark, f"{kind} has no colour in the dark"
    assert len(coloured) > 5


@pytest.mark.parametrize("name", NAMES)
def test_no_text_leaves_its_box_or_the_picture(name: str) -> None:
    root = ET.fromstring(DRAWN["picture"](name))  # our own
    boxes = [tuple(float(one.get(key, 0)) for key in ("x", "y", "width", "height")) for one in root.iter(f"{SVG}rect")]
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for each in root.iter(f"{SVG}text"):
        kinds = (each.get("class") or "").split()
        long = len(each.text or "") * WIDTH[12 if {"small", "code"} & {*kinds} else 13]
        x, y = float(each.get("x", 0)), float(each.get("y", 0))
        left = x if "left" in kinds else x - long if "right" in kinds else x - long / 2
        assert left > 0, each.text
        assert left + long < width, each.text
        assert 10 < y < height - 4, each.text
        around = [one for one in boxes[1:] if one[0] < x < one[0] + one[2] and one[1] < y < one[1] + one[3]]
        for bx, _, w, _ in around:
            assert bx <= left, each.text
            assert left + long <= bx + w + 1, each.text


def _title(svg: str) -> str:
    return (re.search(r'<title id="title">(.*?)</title>', svg) or ["", ""])[1]
