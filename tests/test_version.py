"""The version stands in _version.py, in CHANGELOG and, once it is released, in a tag: they agree."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from orchestrator._version import __version__

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
VERSIONS = re.findall(r"^## (\d\S*)(?: - (.+))?$", CHANGELOG, re.MULTILINE)


def released(changelog: str, version: str) -> str:
    made: str = runpy.run_path(str(ROOT / ".ci/new-version"))["released"](changelog, version, "2027-01-31")
    return made


def test_the_newest_version_of_the_changelog_is_that_of_the_code() -> None:
    assert VERSIONS[0][0] == __version__
    assert re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)[0] == "Unreleased"


def test_dates_are_dates_and_only_the_newest_version_may_lack_one() -> None:
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for _, date in VERSIONS[1:])
    assert re.fullmatch(r"(\d{4}-\d\d-\d\d)?", VERSIONS[0][1])


def test_a_tag_on_this_commit_is_its_version() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("tags are known in a git checkout alone: this is none, such as an unpacked sdist")
    tags = subprocess.run(["git", "tag", "--points-at", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    versions = [tag for tag in tags.stdout.split() if re.match(r"v\d", tag)]
    assert versions in ([], [f"v{__version__}"])
    assert not versions or VERSIONS[0][1], f"CHANGELOG has no date for {__version__}: run .ci/new-version {__version__}"


OLD = "# Changelog\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n## 0.1.0 - 2026-12-01\n\nFirst.\n"


def test_what_is_unreleased_becomes_a_version() -> None:
    made = (
        "# Changelog\n\n## Unreleased\n\n"
        "## 0.2.0 - 2027-01-31\n\n### Added\n\n- A thing.\n\n## 0.1.0 - 2026-12-01\n\nFirst.\n"
    )
    assert released(OLD, "0.2.0") == made


def test_a_version_that_waits_for_its_date_gets_it() -> None:
    waiting = "# Changelog\n\n## Unreleased\n\n## 0.1.0\n\nFirst.\n"
    assert released(waiting, "0.1.0") == waiting.replace("0.1.0", "0.1.0 - 2027-01-31")


@pytest.mark.parametrize(
    ("changelog", "version", "told"),
    [
        (OLD, "0.1.0", "released already"),
        (OLD, "next", "is no version"),
        (OLD.replace("- A thing.", "").replace("### Added", ""), "0.2.0", "nothing stands under"),
        (OLD.replace(" - 2026-12-01", ""), "0.1.0", "move what stands"),
        ("# Changelog\n", "0.2.0", "has no `## Unreleased`"),
    ],
)
def test_what_cannot_be_released_is_refused(changelog: str, version: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        released(changelog, version)
