"""Where the files are that a squad includes: on disk, beside it or below, or in the record of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.squad.includes import with_included
from orchestrator.squad.schema_files import with_schemas
from orchestrator.squad.sources import included_in
from orchestrator.squad.squad_paths import refuse_unfit
from providers.documents.yaml import ParsedFile, parse_text, read_once


@dataclass(frozen=True, slots=True)
class IncludedFiles:
    """Reads what a squad's file includes. Paths count from the folder of that file, in included files too.

    `texts` holds what was read before, by path on disk. `sources`: no file is read; `where_gone`: a file that is not
    there any more is read from these.
    """

    texts: dict[str, str]
    sources: Mapping[str, str] | None
    where_gone: Mapping[str, str]
    read: dict[str, str] = field(default_factory=dict)
    """The texts of the included files, by their paths in the squad."""

    def whole(self, parsed: ParsedFile) -> ParsedFile:
        """Return a squad's file with all that it includes."""

        def read(path: str, above: tuple[str, ...]) -> ParsedFile:
            file = Path(parsed.file).parent / path
            refuse_unfit(path, file, above, on_disk=self.sources is None, folder=Path(parsed.file).parent)
            self.read[path] = text = self._text(path, file)
            # JSON may be indented by tabs, which stand in none of its texts; YAML may not.
            return parse_text(text.replace("\t", "  ") if file.suffix == ".json" else text, str(file))

        return with_schemas(with_included(parsed, read), read)

    def _text(self, path: str, file: Path) -> str:
        if self.sources is not None:
            return included_in(self.sources, path)
        if not file.exists() and (gone := self.where_gone.get(f"include {path}")) is not None:
            return self.texts.setdefault(str(file), gone)
        return read_once(file, self.texts)
