"""The tests on other Pythons: `pipx run nox`, or `pipx run nox -s tests-3.13`. docs/testing.md says more."""

from __future__ import annotations

import nox

nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Run what README's command runs, or what is given after `--`."""
    session.install("--quiet", "-c", "constraints.txt", "-e", ".[test,e2e]")
    session.run("python", "-m", "pytest", "-q", "-n", "auto", *session.posargs)
