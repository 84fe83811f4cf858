"""`--out` and `--overwrite`: whose files a run replaces, and what the command line says of it."""

from __future__ import annotations


def test_the_second_run_into_a_folder_is_told_how_to_go_on(call, folder):
    assert call("run", "squad.yaml", "--out", "docs").code == 0
    (folder / "docs" / "brief.md").write_text("edited")
    refused = call("run", "squad.yaml", "--out", "docs")
    assert (refused.code, refused.out) == (2, "")
    assert "docs cannot be written: these exist, and this run would replace them: brief.md" in refused.err
    assert "--overwrite" in refused.err
    assert (folder / "docs" / "brief.md").read_text() == "edited"
    assert call("runs", "ls").out.count("pair-") == 1, "nothing was begun"
    assert call("run", "squad.yaml", "--out", "docs", "--overwrite").code == 0
    assert (folder / "docs" / "brief.md").read_text() != "edited"


def test_a_disk_that_fails_pauses_and_the_next_line_works(call, folder):
    (folder / "docs").mkdir()
    text = (folder / "squad.yaml").read_text().replace("brief.md", "sub/brief.md")
    (folder / "squad.yaml").write_text(text)
    (folder / "docs" / "sub").write_text("in the way")
    paused = call("run", "squad.yaml", "--out", "docs", "--run-id", "r")
    assert paused.code == 6
    assert "sub/brief.md cannot be written: Not a directory" in paused.err
    assert "not paid for again" in paused.err
    assert "next: orchestrator runs resume r\n" in paused.err
    (folder / "docs" / "sub").unlink()
    resumed = call("runs", "resume", "r", "--out", "elsewhere")
    assert resumed.code == 0
    assert (folder / "elsewhere" / "sub" / "brief.md").read_text()
    assert [path.name for path in (folder / "docs").iterdir()] == []


def test_an_output_that_cannot_be_told_is_no_success(call, folder):
    text = (folder / "squad.yaml").read_text()
    (folder / "squad.yaml").write_text(text + "  bad: ${{ tasks[inputs.idea].output }}\n")
    ended = call("run", "squad.yaml", "--run-id", "r")
    assert (ended.code, ended.out) == (1, "file: brief.md\n")
    assert "output bad cannot be computed: 'tea' is unknown" in ended.err
    assert "output bad cannot be computed: 'tea' is unknown" in call("runs", "show", "latest").out
    assert "next: orchestrator runs resume r --edited\n" in ended.err
    (folder / "squad.yaml").write_text(text)
    assert call("runs", "resume", "r", "--edited").out == "brief.md\n"


def test_validate_checks_with_inputs_too(call, folder):
    (folder / "each.yaml").write_text(
        "name: each\ninputs: {names: {type: list}}\nagents: {a: {persona: dev}}\nlimits: {max_items: 2}\ntasks:\n"
        "  a:\n    agent: a\n    description: Do ${{ item }}\n    for_each: ${{ inputs.names }}\n    key: ${{ item }}\n"
    )
    assert call("validate", "each.yaml").code == 0
    assert call("validate", "each.yaml", "-i", "names=a,b").code == 0
    told = "each.yaml:9:15: error[too-many-elements]: the list has 3 elements; at most 2"
    for refused in (call("validate", "each.yaml", "-i", "names=a,b,c"), call("run", "each.yaml", "-i", "names=a,b,c")):
        assert refused.code == 1
        assert told in refused.out + refused.err


def test_configuration_is_no_output_file(call, folder):
    text = (folder / "squad.yaml").read_text().replace("brief.md", "sub/.env.local")
    (folder / "squad.yaml").write_text(text)
    for refused in (call("validate", "squad.yaml"), call("run", "squad.yaml")):
        assert refused.code == 1
        assert "error[unsafe-path]: .env.local is configuration, which only people write" in refused.out + refused.err
    (folder / "squad.yaml").write_text(text.replace("sub/.env.local", "gated.yaml"))
    assert call("validate", "squad.yaml").code == 0, "that depends on --out"
    refused = call("run", "squad.yaml", "--out", ".", "--overwrite")
    assert refused.code == 2
    assert "gated.yaml: it is a YAML file beside this run's configuration, which only people write" in refused.err


def test_code_that_python_would_import_first_is_not_written_beside_the_squad(call, folder):
    """`python -m orchestrator` looks in the working folder for each module; a folder below is as free as ever."""
    (folder / "tools.py").write_text("ours = 1")
    text = (folder / "squad.yaml").read_text()

    def run(name: str, out: str) -> int:
        (folder / "squad.yaml").write_text(text.replace("brief.md", name))
        return call("run", "squad.yaml", "--out", out, "--overwrite").code

    for name in ("yaml.py", "json.py", "click/__init__.py", "tools.py", "Tools.py"):
        assert run(name, ".") == 2, name
    assert (folder / "tools.py").read_text() == "ours = 1"
    assert run("yaml.py", "docs") == 0
    assert run("main.py", ".") == 0
