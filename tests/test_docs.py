"""The documentation names what the code has, and nothing else; its lines can be read."""

import argparse
import ast
import importlib
import inspect
import io
import re
import shlex
import tokenize
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from starlette.routing import Route

import keisei.events
import keisei.server
import keisei.shogi
import keisei.testing
from keisei.cli import main

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs/guide").glob("*.md"))
FOR_USERS = [ROOT / "README.md", *GUIDES]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
EMBEDDING = ROOT / "docs/guide/embedding.md"
HTTP = ROOT / "docs/guide/http-api.md"

LONGEST_LINE = 100
PUBLIC = ("keisei", "keisei.shogi", "keisei.server", "keisei.testing")


def identify(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(path: Path) -> str:
    """The text of a document, without the README's map: that repeats the modules' docstrings."""
    text = path.read_text("utf-8")
    return re.sub(r"(?ms)^## Map of files\n.*?(?=^## )", "", text)


class Block(NamedTuple):
    """A fenced code block of a document."""

    path: Path
    language: str
    code: str


def blocks(paths: list[Path]) -> list[Block]:
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [Block(path, *found) for path in paths for found in fence.findall(read(path))]


def spans(text: str) -> list[str]:
    """The inline code of Markdown."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```$", "", text))


def section(path: Path, title: str) -> str:
    """The text from a heading to the next one of level 2."""
    _, _, rest = read(path).partition(f"\n## {title}\n")
    assert rest, f"{path.name} has no section {title!r}"
    return rest.partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows without the headings."""
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    headings = {i - 1 for i, row in enumerate(cells) if set(row[0]) <= set("-:")}
    return [row for i, row in enumerate(cells) if i not in headings and i - 1 not in headings]


# ---------------------------------------------------------------- commands


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: child
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, child in action.choices.items()
    }


@pytest.fixture(scope="module")
def commands() -> dict[str, set[str]]:
    """Every subcommand with its actions, such as ``games`` with ``export``."""
    parser = argparse.ArgumentParser()
    adder = parser.add_subparsers()
    for module in main._COMMANDS.values():
        module.add_parser(adder)
    return {name: set(subparsers(child)) for name, child in subparsers(parser).items()}


def named_commands(paths: list[Path]) -> set[tuple[str, str]]:
    """Every ``keisei WORD [WORD]`` in code."""
    code = [span for path in paths for span in spans(read(path))]
    code += [line for block in blocks(paths) for line in block.code.splitlines()]
    name = re.compile(r"(?<![\w.+-])keisei ([a-z]+)(?: ([a-z]+)\b)?")
    found = [match for text in code for match in name.findall(text)]
    return {(command, action) for command, action in found if command != "import"}


def test_every_command_is_in_the_readme_or_a_guide(commands: dict[str, set[str]]) -> None:
    assert commands.keys() - {command for command, _ in named_commands(FOR_USERS)} == set()


def test_every_action_of_a_command_is_in_the_documentation(commands: dict[str, set[str]]) -> None:
    actions = {(command, action) for command, all_ in commands.items() for action in all_}
    assert actions - named_commands(DOCUMENTS) == set()


def test_every_command_in_the_documentation_exists(commands: dict[str, set[str]]) -> None:
    unknown = [
        f"keisei {command} {action}".strip()
        for command, action in named_commands(DOCUMENTS)
        if command not in commands
        or (action and commands[command] and action not in commands[command])
    ]
    assert unknown == []


def example_commands() -> Iterator[tuple[str, str]]:
    """Each command line that begins a line of a code block, and the line after it."""
    start = re.compile(r"(?:\$ )?(?:torchrun .*?-m (?:-- )?|exec \S*/)?(keisei [a-z].*)")
    for block in blocks(FOR_USERS):
        lines = block.code.replace("\\\n", " ").splitlines()
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if found := start.fullmatch(line):
                yield found[1], following


def arguments(line: str) -> list[str]:
    """What the shell hands to keisei."""
    words = shlex.split(line, comments=True)[1:]
    return words[: words.index(">")] if ">" in words else words


ACCEPTED = sorted({line for line, after in example_commands() if not after.startswith("keisei: ")})
REFUSED = sorted({(line, after) for line, after in example_commands() if after[:8] == "keisei: "})


@pytest.mark.parametrize("line", ACCEPTED)
def test_the_flags_of_an_example_exist(line: str) -> None:
    assert main._parse(arguments(line)).command


@pytest.mark.parametrize(("line", "answer"), REFUSED)
def test_an_example_of_a_refusal_prints_what_the_guide_shows(
    line: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(arguments(line)) == 2
    assert capsys.readouterr().err.splitlines() == [answer]


# ---------------------------------------------------------------- routes and events


def served() -> set[tuple[str, str]]:
    """Method and path of every route of the service."""
    found = set()
    for route in keisei.server.create_app(keisei.testing.FakeRun()).routes:
        if not isinstance(route, Route):
            continue
        methods = route.methods or {
            name.upper() for name in ("get", "post", "delete") if hasattr(route.endpoint, name)
        }
        found |= {(method, route.path) for method in methods - {"HEAD"}}
    return found


def test_every_route_is_in_the_http_guide_and_every_request_there_is_a_route() -> None:
    described = {
        (method, path.replace("/ID", "/{id}").replace("/NUMBER", "/{number}"))
        for row in rows(section(HTTP, "Requests"))
        for method, path in re.findall(r"`([A-Z]+) ([^?`]+)", row[0])
    }
    assert described == served()


def event_classes() -> list[type[keisei.events.Event]]:
    event = keisei.events.Event
    return [
        item
        for _, item in inspect.getmembers(keisei.events, inspect.isclass)
        if issubclass(item, event) and item is not event
    ]


def event_names(event: type[keisei.events.Event]) -> set[str]:
    """What ``event:`` on the stream can be."""
    if issubclass(event, keisei.events.Status):
        return set(typing.get_args(typing.get_type_hints(event)["kind"]))
    return {event.__name__.lower()}


def test_the_table_of_events_holds_every_class_with_its_topic_and_names() -> None:
    shown = {
        name: (*spans(topic), {*spans(events)})
        for topic, classes, events, _ in rows(section(HTTP, "Events"))
        for name in spans(classes)
    }
    by_topic: dict[str, set[str]] = {topic: set() for topic in keisei.events.TOPICS}
    for event in event_classes():
        by_topic[event.topic] |= event_names(event)
    assert shown == {
        event.__name__: (event.topic, by_topic[event.topic]) for event in event_classes()
    }


def test_the_table_of_events_names_fields_that_the_events_have() -> None:
    for _, classes, _, data in rows(section(HTTP, "Events")):
        fields = {
            name for item in spans(classes) for name in getattr(keisei.events, item).__slots__
        }
        assert set(spans(data)) - fields == set()


# ---------------------------------------------------------------- public names


def public_names(module: str) -> set[str]:
    """``__all__``, or else the public classes that the module defines."""
    package = importlib.import_module(module)
    if names := getattr(package, "__all__", None):
        return set(names)
    return {
        name
        for name, item in inspect.getmembers(package, inspect.isclass)
        if item.__module__ == module and not name.startswith("_")
    }


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_table_of_the_embedding_guide(module: str) -> None:
    shown = [
        span
        for home, names, _ in rows(section(EMBEDDING, "All public names"))
        if home == f"`{module}`"
        for span in spans(names)
    ]
    assert sorted(shown) == sorted(public_names(module))


class Import(NamedTuple):
    """One name that an example in a guide imports from Keisei."""

    guide: Path
    module: str
    name: str | None


def imports() -> list[Import]:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    found = []
    for block in blocks(FOR_USERS):
        if block.language != "python":
            continue
        for node in ast.walk(compile(block.code, block.path.name, "exec", flags)):
            if isinstance(node, ast.Import):
                found += [Import(block.path, alias.name, None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                found += [Import(block.path, module, alias.name) for alias in node.names]
    return [item for item in found if item.module.partition(".")[0] == "keisei"]


def test_the_guides_import_public_names_only() -> None:
    private = {
        f"{item.guide.name}: {item.module}"
        for item in imports()
        if item.module not in PUBLIC or (item.name and item.name not in public_names(item.module))
    }
    assert private == set()


def test_what_the_guides_import_exists() -> None:
    missing = [
        f"{item.guide.name}: {item.module}.{item.name}"
        for item in imports()
        if item.name and not hasattr(importlib.import_module(item.module), item.name)
    ]
    assert missing == []


# ---------------------------------------------------------------- links and lines


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=identify)
def test_links_lead_to_files_and_headings_that_exist(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", read(path)):
        name, _, fragment = target.partition("#")
        if ":" in name:
            continue
        file = (path.parent / name).resolve() if name else path
        headings = file.is_file() and fragment and re.findall(r"(?m)^#+ (.*)$", read(file))
        if not file.exists() or (fragment and fragment not in map(anchor, headings)):
            broken.append(target)
    assert broken == []


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of Markdown with their numbers, without code, tables and lines of one word."""
    fenced = False
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("|") and " " in line.strip().lstrip("- "):
            yield number, line


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that hold nothing but a comment, and lines of docstrings, with their numbers."""
    text = path.read_text("utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            yield number, line
    if path.suffix != ".py":
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.STRING and token.line.lstrip().startswith(('"""', 'r"""')):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def commented() -> list[Path]:
    tools = [path for path in (ROOT / "tools").rglob("*") if path.is_file()]
    files = [path for path in tools if path.suffix != ".pyc"]
    return sorted([*files, *(ROOT / "configs").iterdir(), ROOT / "pyproject.toml", Path(__file__)])


@pytest.mark.parametrize("path", DOCUMENTS, ids=identify)
def test_lines_of_prose_are_short(path: Path) -> None:
    assert [item for item in prose(path) if len(item[1]) > LONGEST_LINE] == []


@pytest.mark.parametrize("path", commented(), ids=identify)
def test_lines_of_comments_are_short(path: Path) -> None:
    assert [item for item in comments(path) if len(item[1]) > LONGEST_LINE] == []
