from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import PathEscapes, confined
from agents.confined import list_inside, read_inside, write_inside
from agents.errors import PathRefused

ESCAPES = ["../x", "a/../../x", "/etc/passwd", "a/..", "..", "", ".", "a\0b", "//x"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


class TestConfinement:
    @pytest.mark.parametrize("path", ESCAPES)
    def test_no_path_leaves_the_folder(self, root, path):
        with pytest.raises(PathEscapes):
            write_inside(root, path, b"x")
        with pytest.raises(PathEscapes):
            read_inside(root, path)
        assert tree(root.parent) == ["run"]

    @pytest.mark.parametrize("path", ["link/secret", "link/new", "file"])
    def test_no_link_is_followed(self, root, outside, path):
        (root / "link").symlink_to(outside)
        (root / "file").symlink_to(outside / "secret")
        with pytest.raises(PathEscapes, match="symbolic link"):
            write_inside(root, path, b"x")
        with pytest.raises(PathEscapes, match="symbolic link"):
            read_inside(root, path)
        assert tree(outside) == ["secret"]
        assert (outside / "secret").read_text() == "secret"
        assert (root / "file").is_symlink()

    def test_a_link_inside_the_folder_is_not_followed_either(self, root):
        write_inside(root, "a/x", b"1")
        (root / "b").symlink_to(root / "a")
        with pytest.raises(PathEscapes):
            read_inside(root, "b/x")
        assert list_inside(root) == ["a/"]

    def test_the_folder_itself_may_be_reached_by_a_link(self, root, tmp_path):
        (tmp_path / "alias").symlink_to(root)
        write_inside(tmp_path / "alias", "x", b"1")
        assert (root / "x").read_bytes() == b"1"

    @pytest.mark.parametrize("path", ESCAPES[:4])
    def test_no_listing_leaves_the_folder(self, root, path):
        with pytest.raises(PathEscapes):
            list_inside(root, path)

    @pytest.mark.skipif(not confined.HAS_DIR_FD, reason="the platform cannot open a file relative to a folder")
    def test_a_link_put_there_in_a_race_leads_nowhere(self, root, outside):
        write_inside(root, "d/secret", b"mine")
        stop = threading.Event()

        def swap() -> None:
            while not stop.is_set():
                (root / "d").rename(root / "real")
                (root / "d").symlink_to(outside)
                (root / "d").unlink()
                (root / "real").rename(root / "d")

        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            for _ in range(300):
                try:
                    assert read_inside(root, "d/secret") == b"mine"
                except (PathEscapes, OSError):
                    continue
        finally:
            stop.set()
            swapper.join()

    @given(st.lists(st.sampled_from(["..", ".", "a", "b", "/", "", "~"]), max_size=6).map("/".join))
    def test_whatever_is_written_is_inside(self, tmp_path_factory, path):
        base = tmp_path_factory.mktemp("base")
        root = base / "r"
        try:
            written = write_inside(root, path, b"x")
        except (PathEscapes, OSError):
            assert set(tree(base)) <= {"r"}
        else:
            assert written.resolve().is_relative_to(root.resolve())
            assert written.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("d/" * 1200 + "f", "1201 parts; at most 32"),
        ("d/" * 32 + "f", "33 parts; at most 32"),
        ("n" * 256, "256 bytes; at most 255"),
        ("ü" * 128 + "/f", "256 bytes; at most 255"),
        ("/".join(["n" * 200] * 6), "1205 bytes; at most 1024"),
    ],
)
def test_a_path_that_is_too_deep_or_too_long_is_refused_and_leaves_nothing(root, path, why):
    for use in (
        lambda: write_inside(root, path, b"x"),
        lambda: read_inside(root, path),
        lambda: list_inside(root, path),
    ):
        with pytest.raises(PathRefused, match=why) as told:
            use()
        assert len(str(told.value)) < 300
    assert tree(root) == []


def test_the_deepest_and_the_longest_path_can_be_written(root):
    for path in ("d/" * 31 + "f", "/".join(["n" * 204] * 5)):
        assert write_inside(root, path, b"x").read_bytes() == b"x"


class TestWriting:
    def test_folders_are_made_and_the_path_is_returned(self, root):
        path = write_inside(root, "docs/a/guide.md", "größe\n".encode())
        assert path == root / "docs" / "a" / "guide.md"
        assert path.read_text(encoding="utf-8") == "größe\n"
        assert tree(root) == ["docs", "docs/a", "docs/a/guide.md"]

    def test_the_folder_itself_is_made(self, tmp_path):
        assert write_inside(tmp_path / "new" / "run", "x", b"1").read_bytes() == b"1"

    def test_a_file_is_replaced_whole(self, root):
        write_inside(root, "x", b"a long first version")
        held = (root / "x").open("rb")
        write_inside(root, "x", b"second")
        with held:
            assert held.read() == b"a long first version"
        assert (root / "x").read_bytes() == b"second"

    def test_a_failure_leaves_no_trace(self, root):
        write_inside(root, "x", b"first")
        (root / "folder").mkdir()
        with pytest.raises(OSError, match="director"):
            write_inside(root, "folder", b"data")
        with pytest.raises(TypeError):
            write_inside(root, "x", "text")  # type: ignore[arg-type]
        assert tree(root) == ["folder", "x"]
        assert (root / "x").read_bytes() == b"first"


class TestReading:
    def test_too_long_a_file_is_refused(self, root):
        write_inside(root, "x", b"12345")
        assert read_inside(root, "x", 5) == b"12345"
        with pytest.raises(ValueError, match="5 bytes"):
            read_inside(root, "x", 4)

    def test_what_is_no_file_is_refused_without_waiting(self, root):
        os.mkfifo(root / "pipe")
        (root / "folder").mkdir()
        with pytest.raises(ValueError, match="not a file"):
            read_inside(root, "pipe")
        with pytest.raises((ValueError, OSError)):
            read_inside(root, "folder")
