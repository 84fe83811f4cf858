"""What is in a wheel and an sdist, by the build back end's own selection: a file that is missing there is found here.

.ci/release builds both for real, and uses them where there is no checkout.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

ROOT = Path(__file__).parents[1]
PACKAGES = ("orchestrator", "agents", "personas", "providers")


def in_wheel() -> set[str]:
    return {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}


def on_disk(folder: str) -> set[str]:
    """The files below a folder of the checkout, but for what Python leaves there."""
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_a_wheel_has_the_four_packages_with_all_their_data() -> None:
    wheel = in_wheel()
    for package in PACKAGES:
        assert on_disk(package) - wheel == set()
        assert f"{package}/py.typed" in wheel
    assert {name.partition("/")[0] for name in wheel} == {*PACKAGES}


def test_each_folder_that_code_reads_as_package_data_is_in_the_wheel() -> None:
    wheel, read = in_wheel(), set()
    for file in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        named = r"\bfiles\(\"([\w.]+)\"\)((?:\s*/\s*\"[\w.-]+\")*)(?:\.joinpath\(\"([\w.-]+)\")?"
        for package, below, joined in re.findall(named, file.read_text("utf-8")):
            parts = [*package.split("."), *re.findall(r'"([^"]+)"', below), *filter(None, [joined])]
            read.add("/".join(parts))
    assert len(read) >= 8
    for path in read:
        assert any(name == path or name.startswith(f"{path}/") for name in wheel), path


def test_a_wheel_has_no_tests_keys_or_records() -> None:
    odd = re.compile(r"(^|/)(tests?|conftest\.py|\.[^/]*|__pycache__)(/|$)|\.(db|pyc|env|log|pem|key)$")
    assert [name for name in in_wheel() if odd.search(name)] == []


def test_an_sdist_has_what_building_and_testing_needs() -> None:
    sdist = {file.path: Path(file.path) for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    names = {Path(name).relative_to(ROOT).as_posix() for name in sdist}
    for folder in (*PACKAGES, "tests", "examples", "docs"):
        assert {name for name in on_disk(folder) if not is_made(name)} - names == set(), folder
    assert {
        "hatch_build.py",
        "README.md",
        "CHANGELOG.md",
        "constraints.txt",
    } <= names  # and what hatchling always takes
    assert [name for name in names if is_made(name)] == []
    large = {name: (ROOT / name).stat().st_size for name in names}
    assert {name: size for name, size in large.items() if size > 512 << 10} == {}


def is_made(name: str) -> bool:
    """Whether .gitignore names the file: what commands and tools leave in a checkout."""
    return (
        re.search(r"(^|/)(\.orchestrator|out|\.\w+_cache|\.hypothesis|build|dist|_build)/|\.env$|\.pyc$", name)
        is not None
    )


def test_the_long_description_has_no_link_that_leads_nowhere() -> None:
    text = str(ProjectMetadata(str(ROOT), PluginManager()).core.readme)
    assert "# squad-orchestrator" in text
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [target for target in targets if not target.startswith("https://")] == []


@pytest.mark.parametrize(
    ("source", "made"),
    [
        (None, "A page, a part, [far](https://x.org)."),
        ("https://x/main", "A [page](https://x/main/a.md), a part, [far](https://x.org)."),
    ],
    ids=["no address", "an address"],
)
def test_links_of_the_long_description(source: str | None, made: str) -> None:
    long_description = runpy.run_path(str(ROOT / "hatch_build.py"))["long_description"]
    assert long_description("A [page](a.md), [a part](#b), [far](https://x.org).![seen](c.svg)", source) == made
