"""A person's consent to where a folder's files send their keys: asked at a terminal, given by `--trust`, remembered."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import click

from orchestrator.cli.app import Settings
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.next_step import command_line
from orchestrator.trust import CodeNotTrusted, CodeUse, TrustFile, trust_file
from providers.catalog.model import Catalog
from providers.catalog.trust import Consent, KeyUse, NotTrusted, refused


class NotAllowed(NotTrusted):
    """Keys would go where nobody allowed it. `hint` says how to allow it."""

    def __init__(self, uses: Iterable[KeyUse], hint: str) -> None:
        super().__init__(uses)
        self.hint = hint


def consent(settings: Settings, catalog: Catalog, environ: Mapping[str, str], console: Console) -> Consent:
    """Return what says which key may go where, having seen to it that all that would be sent now may.

    What is not allowed yet is asked at a terminal, or allowed by `--trust`; else `NotAllowed` is raised. Raise
    `CatalogError` for variables that cannot be used.
    """
    store = trust_file()
    wanted = refused((use for one in catalog.candidates(environ) for use in one.uses), store.allows)
    if not wanted:
        return store.allows
    if not settings.trust and not _agreed(wanted, console):
        raise NotAllowed(wanted, how_to_allow(settings))
    return granted(store, wanted, console)


class CodeNotAllowed(CodeNotTrusted):
    """Code would run that nobody allowed. `hint` says how to allow it."""

    def __init__(self, uses: Iterable[KeyUse], hint: str) -> None:
        super().__init__(uses)
        self.hint = hint


def consent_to_code(settings: Settings, uses: Iterable[CodeUse], console: Console) -> Consent:
    """Return what says which code of a folder may run, having seen to it that all of `uses` may.

    What is not allowed yet is asked at a terminal, or allowed by `--trust`; else `CodeNotAllowed` is raised.
    """
    store = trust_file()
    wanted = [use for use in dict.fromkeys(uses) if not store.allows(use)]
    if not wanted:
        return store.allows
    if not settings.trust and not _agreed(wanted, console, CODE_ASKED):
        raise CodeNotAllowed(wanted, how_to_allow(settings, folder_of(wanted)))
    return granted(store, wanted, console)


def either(code: Consent, keys: Consent) -> Consent:
    """Return a consent that asks `code` about code, and `keys` about keys."""
    return lambda use: code(use) if isinstance(use, CodeUse) else keys(use)


def granted(store: TrustFile, uses: Collection[KeyUse], console: Console) -> Consent:
    """Remember that these are allowed, say so, and return what says it. Where nothing can be kept it holds once."""
    for use in uses:
        console.say(f"allowed: {use}")
    try:
        store.allow(uses)
    except OSError as error:
        console.warn(f"what you allowed is not remembered: {store.file}: {error.strerror or error}")
    return lambda use: use in uses or store.allows(use)


def folder_of(uses: Sequence[CodeUse]) -> str:
    """Return the folder whose code it is, empty where that is the working folder."""
    folder = uses[0].folder
    return "" if Path(folder) == Path.cwd().resolve() else folder


def how_to_allow(settings: Settings, folder: str = "") -> str:
    """Return the words for what allows it."""
    command = command_line(settings, "trust", *([folder] if folder else []))
    return f"`{command}` allows it here from now on; so does `--trust` with this command"


KEYS_ASKED = "Files of this folder, or plain http, would give these away:", "Send them there, now and later?"
CODE_ASKED = (
    "Files of this folder would run this, with all that you may do, or send these requests:",
    "Allow it, now and later, as long as it stays as it is?",
)


def _agreed(uses: Sequence[KeyUse], console: Console, words: tuple[str, str] = KEYS_ASKED) -> bool:
    """Ask the person at the terminal; nobody there has agreed to nothing."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    console.write(words[0])
    for use in uses:
        console.write(f"  {use}")
    return click.confirm(words[1], default=False, err=True)
