"""Functions of a Python file: what is known without running it, how it runs, and how what is wrong with it is told."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from agents.confined import read_inside
from agents.declared.python_file import load_module
from agents.declared.python_text import CodeText, CodeUnreadable, code_of

pytestmark = pytest.mark.anyio


def written(folder: Path, **files: str) -> CodeText:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return code_of("mytools.py", partial(read_inside, folder))


async def test_imports_find_what_stands_beside_the_file_and_leave_no_trace_for_others(tmp_path, capsys):
    (tmp_path / "shop" / "more").mkdir(parents=True)
    (tmp_path / "shop" / "__init__.py").write_text("from .prices import price\n")
    (tmp_path / "shop" / "prices.py").write_text("import shop.more.tax as tax\ndef price(): return 2 * tax.RATE\n")
    (tmp_path / "shop" / "more" / "__init__.py").write_text("")
    (tmp_path / "shop" / "more" / "tax.py").write_text("RATE = 21\n")
    text = (
        "import json, shop, helpers\nfrom shop import more\nfrom . import helpers as again\nfrom .helpers import one\n"
        "def total():\n    import late\n    print('told')\n"
        "    return [shop.price(), more.tax.RATE, again is helpers, one, late.TWO, json.dumps(1)]\n"
    )
    code = written(tmp_path, mytools=text, helpers="one = 1\n", late="TWO = 2\n", unused="1/0\n")
    path = list(sys.path)
    module = await load_module(code, tmp_path)
    assert module.total() == [42, 21, True, 1, 2, "1"]
    assert sys.path == path
    assert not {"mytools", "helpers", "shop", "late"} & set(sys.modules)
    assert "unused.py" not in code.texts
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "told\n")


async def test_types_of_the_file_are_found_by_dataclasses_and_hints(tmp_path):
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import get_type_hints\n"
        "@dataclass\nclass Money:\n    amount: float\n    paid: Money | None = None\nhints = get_type_hints(Money)\n"
    )
    module = await load_module(written(tmp_path, mytools=text), tmp_path)
    assert module.hints["amount"] is float


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n1 / 0\n", "mytools.py:2: ZeroDivisionError: division by zero"),
        ("import nothing_of_this_name\n", "mytools.py:1: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("import sys\nsys.exit(3)\n", "mytools.py:2: it ends the program when it is loaded (SystemExit)"),
        ("import helpers\n", "helpers.py:2: ValueError: no"),
        ("from helpers import nothing\n", "helpers.py:2: ValueError: no"),
        ("from .. import x\n", "mytools.py:1: ImportError: attempted relative import beyond the folder"),
        ("class E(Exception):\n    def __str__(self): raise self\nraise E\n", "mytools.py:3: "),
        ("eval('1 +')\n", "SyntaxError"),
    ],
)
async def test_what_fails_when_it_is_run_is_told_with_its_file_and_line(tmp_path, text, says):
    code = written(tmp_path, mytools=text, helpers="\nraise ValueError('no')\n")
    before = set(sys.modules)
    with pytest.raises(CodeUnreadable) as failed:
        await load_module(code, tmp_path)
    assert says in str(failed.value)
    assert not [name for name in set(sys.modules) - before if name.startswith("_tools_")]


async def test_a_file_that_never_ends_is_given_up(tmp_path):
    text = "import threading\nthreading.Event().wait()\n"
    with pytest.raises(CodeUnreadable, match="not loaded within"):
        await load_module(written(tmp_path, mytools=text), tmp_path, timeout_s=0.05)


async def test_only_what_was_read_runs(tmp_path):
    code = written(tmp_path, mytools="import helpers\nvalue = helpers.value\n", helpers="value = 1\n")
    (tmp_path / "helpers.py").write_text("value = 2\n")
    assert (await load_module(code, tmp_path)).value == 1
    assert written(tmp_path).sha256 != code.sha256


@pytest.mark.parametrize(
    ("text", "says"),
    [("def f(:\n", "mytools.py:1: it is not Python"), ("x = '\0'\n", "not Python"), ("(" * 5000, "not Python")],
)
async def test_what_does_not_parse_is_told_without_running(tmp_path, text, says):
    with pytest.raises(CodeUnreadable, match=says):
        written(tmp_path, mytools=text)


async def test_what_stands_at_the_top_of_a_file_is_known(tmp_path):
    text = (
        'def f(a: int, *, b="x") -> str:\n    """Say."""\nasync def g(): ...\nclass C: ...\nh = i = f\n'
        "j: object = f\nfrom helpers import k as l\nif f:\n    def m(): ...\nelse:\n    def n(): ...\n"
    )
    declared = written(tmp_path, mytools=text, helpers="").declared()
    assert set(declared) == set("fgChijlmn")
    assert declared["f"].signature == "(a: int, *, b='x') -> str"
    assert (declared["f"].docs, declared["g"].line) == ("Say.", 3)
