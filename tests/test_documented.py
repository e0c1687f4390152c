"""What README.md and docs/ tell to type is what the commands take."""

import re
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tyro

ROOT = Path(__file__).parent.parent
COMMAND = re.compile(
    r"python (?:-m |benchmarks/)([a-z_.]+?)(?:\.py)?(?: +(.*))?$", re.M
)
# A line goes on after a backslash, and in YAML before an indented option.
BREAK = re.compile(r"(?:\\\n|\n(?=\s+(?:--|\$)))\s*")
# What the shell fills in, or the reader.
PLACEHOLDER = re.compile(r"\$\(.*?\)|\$\w+|…")


def code(page: str) -> Iterator[str]:
    """Blocks between fences, and what is between backticks in the text."""
    for i, part in enumerate(page.split("```")):
        if i % 2:
            yield BREAK.sub(" ", part)
        else:
            yield from (" ".join(s.split()) for s in re.findall("`([^`]+)`", part))


def documented() -> list[tuple[str, str]]:
    """Modules and the arguments that some page gives them, but for Python's own."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    pieces = [piece for page in pages for piece in code(page.read_text("utf-8"))]
    found = [match for piece in pieces for match in COMMAND.findall(piece)]
    ours = [match for match in found if match[0] not in sys.stdlib_module_names]
    return list(dict.fromkeys(ours))


class TakenError(Exception):
    """The command has read its line."""


@pytest.fixture
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.usefixtures("_benchmarks")
@pytest.mark.parametrize(("module", "arguments"), documented())
def test_documented_command_is_taken(
    module: str, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = tyro.cli

    def read(*args: Any, **named: Any) -> None:
        cli(*args, **named)
        raise TakenError

    spec = find_spec(module)
    assert spec
    command = f"{module}.__main__" if spec.submodule_search_locations else module
    words = shlex.split(PLACEHOLDER.sub("", arguments), comments=True)
    monkeypatch.setattr(sys, "argv", [module, *words])
    monkeypatch.setattr(tyro, "cli", read)
    with pytest.raises((TakenError, SystemExit)) as ended:
        import_module(command).main()
    assert not getattr(ended.value, "code", None)  # 0 after --help


@pytest.mark.usefixtures("_benchmarks")
@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
)
def test_benchmarks_can_be_imported(name: str) -> None:
    """Each says in its first lines what it measures, and how it is called."""
    assert import_module(name).__doc__


@pytest.mark.parametrize(
    "page",
    [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda p: p.name,
)
def test_links_lead_to_files(page: Path) -> None:
    prose = "".join(page.read_text("utf-8").split("```")[::2])
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", prose)
    local = [target for target in targets if not target.startswith("https://")]
    assert [t for t in local if not (page.parent / t).exists()] == []


def test_commands_are_found() -> None:
    found = documented()
    block = "artifacts/photos.tflite holiday/ --top 3 --format csv"
    assert ("export.predict", block) in found
    assert "formats" in dict(found) and len(found) > 50
