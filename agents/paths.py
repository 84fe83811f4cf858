"""What paths below a run's folder may be. Pure: no disk is asked."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOST_PARTS = 32
"""Folders in one another, the file among them: who walks through the files of a run needs no deeper stack."""
PART_BYTES = 255
PATH_BYTES = 1024
"""Of a path below its folder, in UTF-8: macOS takes no longer one, other systems at most four times that."""


def length_fault(parts: Sequence[str]) -> str:
    """Return why a path of these parts is too long or too deep, empty where it is neither. Pure."""
    sizes = [len(part.encode("utf-8", "replace")) for part in parts]
    if len(parts) > MOST_PARTS:
        return f"it has {len(parts)} parts; at most {MOST_PARTS} can be in one another"
    if max(sizes, default=0) > PART_BYTES:
        return f"a part of it has {max(sizes)} bytes; at most {PART_BYTES} fit into a name"
    if (size := sum(sizes) + len(sizes) - 1) > PATH_BYTES:
        return f"it has {size} bytes; at most {PATH_BYTES} can be stored everywhere"
    return ""


Parts = tuple[str, ...]
"""A path as names that compare equal where any system takes them for the same: see `folded`."""
VERSIONED = frozenset({".git", ".hg", ".svn"})
"""Folders whose files say which programs a later command of the version control starts."""
RESERVED = VERSIONED | {".orchestrator", "agent_routing.yaml", "agent_routing.yml", "agent_routing.json"}
"""Names that configure this program, or what surrounds it, wherever they stand."""
SECRETS = ".env"
"""How the names of files begin that hold keys: `.env`, `.env.local`, `.envrc`."""
KEY_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store"})
KEY_NAME = re.compile(
    r"id_(rsa|dsa|ecdsa|ed25519)(_sk)?|\.?(netrc|_netrc|pgpass|pypirc|npmrc|git-credentials|htpasswd|dockercfg|s3cfg)"
    r"|.*\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk|env)|credentials(\.json|\.ya?ml|\.toml)?|secrets\.(json|ya?ml|toml)"
    r"|client_secrets?.*\.json|application_default_credentials\.json|\.vault-token|\.my\.cnf|\.boto|shadow"
)
"""Names, folded, of files that hold keys by habit of the programs that read them."""
PRIVATE_KEY = re.compile(
    rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr]|[A-Za-z-]{1,40}: [^\n]{0,200}\n)*[A-Za-z0-9+/]{24}"
)
"""A private key in a text, or in a string of JSON: its head with what it holds, as code may name the head alone."""
CODE = frozenset({"agents", "conftest", "orchestrator", "personas", "providers", "sitecustomize", "usercustomize"})
"""Names at the top of a configuration folder that Python, or a squad, reads there before anything else."""

MODULE = re.compile(r"([^.]+)(?:\..*)?\.(?:py|pyc|pyw|pyd|so)")
"""A file that Python takes for the module whose name stands first."""


def folded(name: str) -> str:
    """Return one spelling for all names that some system takes for the same file.

    Windows leaves off blanks and dots at the end, and what follows a colon; macOS ignores invisible characters; both
    ignore case, and how a letter is composed.
    """
    plain = unicodedata.normalize("NFKC", name.partition(":")[0])
    return unicodedata.normalize(
        "NFKC", "".join(letter for letter in plain if unicodedata.category(letter) != "Cf").casefold()
    ).rstrip(". ")


def parts_of(path: str, root: Parts = ()) -> Parts:
    """Return the folded names of a path below `root`, `.` and `..` resolved without asking a disk."""
    made = [*root]
    for name in re.split(r"[/\\]", path):
        if name == "..":
            del made[-1:]
        elif name not in ("", "."):
            made.append(folded(name))
    return tuple(made)


@dataclass(frozen=True, slots=True)
class Protected:
    """The configuration of a run, by absolute path without links: what models write must never become that.

    `files` and `folders` (with all below them) say what each is. `homes` are the folders that configuration is read
    from.
    """

    files: Mapping[Parts, str] = field(default_factory=dict)
    folders: Mapping[Parts, str] = field(default_factory=dict)
    homes: frozenset[Parts] = frozenset()
    modules: frozenset[str] = frozenset()
    """Names, folded, of what is installed besides Python's own modules: a file of that name would be imported instead,
    for Python looks in the working folder first."""

    def fault(self, root: Parts, path: str) -> str:
        """Return why the file `path` below the folder `root` is not for tools and artifacts, empty where it is."""
        below = parts_of(path)
        whole = parts_of(path, root)
        if name := next(filter(None, map(reserved, below)), ""):
            return f"{name} is configuration, which only people write"
        if VERSIONED & {*root}:
            return "the run's folder belongs to version control, which only people configure"
        if (what := self.files.get(whole)) is not None:
            return f"it is {what}, which only people write"
        for folder, what in self.folders.items():
            if whole[: len(folder)] == folder and len(folder) >= len(root):
                return f"it lies in {what}, which only people write"
        for home in self.homes:
            if len(home) >= len(root) and whole[: len(home)] == home and self._configures(whole[len(home) :]):
                return "it would be read as configuration where this run's own stands; only people write that"
        return ""

    def _configures(self, below: Parts) -> bool:
        """Return whether what stands so in a configuration folder is read by this program, Python or a user's tool."""
        if not below:
            return False
        if below[0].startswith(".") or below[0].removesuffix(".py") in CODE:
            return True
        module = MODULE.fullmatch(below[0]) if len(below) == 1 else MODULE.fullmatch(below[1])
        if module is None or (len(below) > 1 and (len(below) > 2 or module[1] != "__init__")):
            return False
        name = module[1] if len(below) == 1 else below[0]
        return name in sys.stdlib_module_names or name in self.modules


def reserved(name: str) -> str:
    """Return the name of the configuration for which a folded name stands, empty where it is for none."""
    if name.startswith(SECRETS):
        return name
    for one in sorted(RESERVED):
        stem = one.strip(".").partition(".")[0]
        if name == one or re.fullmatch(re.escape(stem[:6]) + r"~\d+(\..*)?", name):
            return one  # a short name of Windows: GIT~1 is .git there
    return SECRETS if re.fullmatch(r"env~\d+(\..*)?", name) else ""


def is_secret(path: str) -> bool:
    """Return whether a path names a file that holds keys, which no model may read."""
    return any(reserved(name).startswith(SECRETS) for name in parts_of(path))


def holds_keys(path: str) -> bool:
    """Return whether a file holds keys, by its name or a folder that it lies in: one rule for all that models read."""
    parts = parts_of(path)
    if parts[:1] == ("proc",) and parts[-1] == "environ":
        return True
    return is_secret(path) or bool(parts and (KEY_FOLDERS & {*parts} or KEY_NAME.fullmatch(parts[-1])))
