from __future__ import annotations

from pathlib import Path

import pytest

from agents.toolbox import builtin
from providers.messages import ToolCall


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.mark.anyio
class TestTools:
    async def ask(self, root, name, **arguments):
        import json

        return await builtin(root)[name].call(ToolCall("c", name, json.dumps(arguments)))

    async def test_what_was_written_can_be_listed_and_read(self, root):
        assert (await self.ask(root, "list_files")).content == "(empty)"
        written = await self.ask(root, "write_file", path="src/a.py", content="print('ø 👩‍🚀')\n")
        assert written.content == "wrote 24 bytes to src/a.py"
        assert (await self.ask(root, "list_files")).content == "src/"
        assert (await self.ask(root, "list_files", path="src")).content == "a.py"
        assert (await self.ask(root, "read_file", path="src/a.py")).content == "print('ø 👩‍🚀')\n"

    @pytest.mark.parametrize(
        ("name", "arguments", "says"),
        [
            ("read_file", {"path": "../x"}, "leaves its folder"),
            ("read_file", {"path": "nothing"}, "No such file"),
            ("read_file", {"path": "binary"}, "not UTF-8"),
            ("write_file", {"path": "/x", "content": ""}, "leaves its folder"),
            ("list_files", {"path": "nothing"}, "No such file"),
        ],
    )
    async def test_mistakes_are_told_to_the_model(self, root, name, arguments, says):
        (root / "binary").write_bytes(b"\xff\xfe\x00")
        result = await self.ask(root, name, **arguments)
        assert result.is_error
        assert says in result.content

    async def test_text_that_cannot_be_encoded_is_made_safe(self, root):
        await self.ask(root, "write_file", path="x", content="a\ud83db\x00")
        assert (root / "x").read_bytes() == "a\ufffdb".encode()

    async def test_without_a_folder_they_say_so(self):
        for name, more in (
            ("read_file", {"path": "x"}),
            ("list_files", {}),
            ("write_file", {"path": "x", "content": ""}),
        ):
            result = await self.ask(None, name, **more)
            assert result.is_error
            assert "keeps no files" in result.content
