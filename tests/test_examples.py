"""Every code block of README and of the guides runs, or says why it cannot.

The HTML comment ``<!-- not run: REASON -->`` before a block excludes the block. The comment
``<!-- file: NAME -->`` writes the block to a file that other blocks read.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
import yaml
from stream_client import served

from keisei.config import Settings
from keisei.records.write import GameToWrite, write_kif
from keisei.server import create_app
from keisei.store import MatchGame, MatchTable, RunDirectory
from keisei.testing import FakeRun

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs/guide").glob("*.md"))]
RUN = "20260101-120000"
FAIRY = "/usr/games/fairy-stockfish"
ELSEWHERE = {
    ("http-api.md", ""): "server/test_openapi_guide.py",
    ("http-api.md", "python"): "server/test_openapi_guide.py",
    ("http-api.md", "javascript"): "server/test_openapi_guide.py",
    ("runs.md", "python"): "store/test_card.py",
    ("plugins.md", "toml"): "test_plugin_guide.py",
    ("plugins.md", "python"): "test_plugin_guide.py",
    ("plugins.md", ""): "test_plugin_guide.py",
}
"""Tests that run the blocks of a guide in this language."""
TINY = {
    "KEISEI_DEVICE": "cpu",
    "KEISEI_ENV__GAMES": "64",
    "KEISEI_ENV__RESET_POOL": "16",
    "KEISEI_NET__KIND": "resnet",
    "KEISEI_NET__BLOCKS": "1",
    "KEISEI_NET__CHANNELS": "8",
    "KEISEI_PPO__ROLLOUT_PLIES": "8",
    "KEISEI_PPO__MINIBATCH": "512",
    "KEISEI_COMPUTE__THREADS": "1",
    "KEISEI_COMPUTE__COMPILE": "off",
    "KEISEI_EVALUATION__EVERY_STEPS": "0",
    "KEISEI_EVALUATION__GAMES": "2",
    "KEISEI_EVALUATION__MAX_PLY": "16",
    "KEISEI_RUN__STEPS": "512",
    "KEISEI_SERVER__PORT": "0",
}
DRIVER = """
import ast, asyncio, json, sys

blocks, fake = json.load(sys.stdin)
names = {"__name__": "__main__"}
with asyncio.Runner() as runner:
    if fake:
        from keisei.testing import FakeRun
        names["keisei"] = runner.run(FakeRun().start())
        runner.run(names["keisei"].until("running"))
    for block in blocks:
        code = compile(block, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if (awaited := eval(code, names)) is not None:
            runner.run(awaited)
    if fake:
        runner.run(names["keisei"].aclose())
"""


class Block(NamedTuple):
    """A code block of a document."""

    document: str
    line: int
    """Number of the block's first line."""
    language: str
    code: str
    mark: str
    """``not run``, ``file``, or empty."""
    text: str
    """The reason, or the file's name."""

    @property
    def kind(self) -> str:
        """What runs the block: ``commands``, ``curl``, the language, or a mark."""
        if self.mark or (self.document, self.language) in ELSEWHERE:
            return self.mark or "elsewhere"
        if self.language in {"", "sh", "bash"}:
            return "curl" if self.code.startswith("curl") else "commands"
        return self.language

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def read_blocks(document: Path) -> Iterator[Block]:
    text = document.read_text("utf-8")
    tree = re.search(r"(?ms)^## Map of files\n.*?(?=^## )", text)
    pattern = r"(?ms)^(?:<!-- (not run|file): ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$"
    for found in re.finditer(pattern, text):
        if not tree or not tree.start() < found.start() < tree.end():
            line = text.count("\n", 0, found.start()) + 1
            mark, reason, language, code = found.groups()
            yield Block(document.name, line, language, code, mark or "", reason or "")


BLOCKS = [block for document in DOCUMENTS for block in read_blocks(document)]


def of(kind: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind == kind]


def lines_of(code: str) -> list[tuple[str, str]]:
    """The commands of a block, and the lines after each, up to the next command."""
    code = code.replace("\\\n", " ")
    if not code.startswith("$ "):
        lines = [line for line in code.splitlines() if line.strip() and line.lstrip()[0] != "#"]
        return [(line, "") for line in lines]
    return [
        (command, rest)
        for part in re.split(r"(?m)^\$ ", code)[1:]
        for command, _, rest in [part.partition("\n")]
    ]


def test_no_block_is_skipped_silently() -> None:
    kinds = {"commands", "curl", "python", "toml", "yaml", "not run", "file", "elsewhere"}
    assert [str(block) for block in BLOCKS if block.kind not in kinds] == []
    fences = sum(
        line.startswith("```") for path in DOCUMENTS for line in path.read_text().splitlines()
    )
    assert 2 * (len(BLOCKS) + 1) == fences, "a block is not found; README's map is the extra one"
    assert [str(block) for block in of("not run") if len(block.text.split()) < 2] == []
    assert {(block.document, block.language) for block in of("elsewhere")} == set(ELSEWHERE)
    assert [path for path in ELSEWHERE.values() if not (ROOT / "tests" / path).exists()] == []
    assert len(of("not run")) <= 24
    assert len(of("commands")) >= 12


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_settings_of_a_guide_load(block: Block, tmp_path: Path) -> None:
    tree = tomllib.loads(block.code)
    if set(tree) <= set(Settings.model_fields):
        file = tmp_path / "mine.toml"
        file.write_text(block.code)
        Settings.load(file)
    else:
        assert set(tree) == {"project"}, "neither settings nor a pyproject.toml"


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_yaml_of_a_guide_is_yaml(block: Block) -> None:
    assert yaml.safe_load(block.code)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs, records and files that the guides name."""
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "bin").mkdir()
    program = folder / "bin" / "keisei"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m keisei "$@"\n')
    program.chmod(0o755)
    shutil.copytree(ROOT / "configs", folder / "configs")
    run = folder / "runs" / RUN
    assert shell(folder, f"keisei train --run runs/{RUN} --run.steps 4096") == 0
    with RunDirectory.open(run) as opened:
        opened.promote(4096)
        table = MatchTable(run)
        table.begin("5f3a9c01", 4096, {"opponent": "random"})
        fields = {"opening": "startpos", "start": "startpos", "black": RUN, "white": "random"}
        table.add(
            "5f3a9c01",
            [MatchGame(number=0, pair=0, result="black", reason="resignation", plies=1,
                       moves="7g7f", **fields)],
        )  # fmt: skip
        table.close()
    for name in ("mine", "old", "new"):
        shutil.copytree(run, folder / "runs" / name, symlinks=True)
    (folder / "games").mkdir()
    for number in range(8):
        (folder / "games" / f"{number}.kifu").write_text(write_kif(decided_game(number)))
    for block in of("file"):
        (folder / block.text).write_text(block.code)
    return folder


def decided_game(number: int) -> GameToWrite:
    moves = ["7g7f", "3c3d", "2g2f", "8c8d", "2f2e", "8d8e", "6i7h", "4a3b"][: 4 + number % 4]
    return GameToWrite(
        black="a", white="b", start="startpos", moves=moves, reason="resignation",
        result="black" if len(moves) % 2 else "white",
    )  # fmt: skip


def environment(sandbox: Path) -> dict[str, str]:
    path = f"{sandbox}/bin:{os.environ['PATH']}:{Path(FAIRY).parent}"
    return {**os.environ, **TINY, "PATH": path, "PYTHONPATH": str(ROOT)}


def shell(sandbox: Path, command: str, stdin: str = "") -> int:
    """Run a command; return its exit code. SIGTERM stops ``keisei serve`` after training."""
    (sandbox / "stdin").write_text(stdin)
    with (
        (sandbox / "stdin").open() as given,
        subprocess.Popen(
            ["bash", "-c", command],
            cwd=sandbox,
            env=environment(sandbox),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout
        try:
            for line in process.stdout:
                print(line, end="")
                if command.startswith("keisei serve") and "finished" in line:
                    process.send_signal(signal.SIGTERM)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode


def shorter(command: str) -> str:
    """The command with fewer games and epochs: with the numbers of the guide, it takes hours."""
    command = re.sub(r"--(games|epochs) \d+", r"--\1 2", command)
    if "keisei evaluate" in command and "--games" not in command:
        command = command.replace("keisei evaluate", "keisei evaluate --games 2")
    return command.replace("perft 4", "perft 2")


def expected(command: str, rest: str) -> set[int]:
    """The exit codes that are right for a command of a guide."""
    if rest.startswith("keisei: "):
        return {2}
    if "--sprt" in command:
        return {0, 4}  # the verdict
    if command.startswith("keisei doctor"):
        return {0, 3}  # what this machine lacks
    return {0}


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", of("commands"), ids=str)
def test_the_commands_of_a_guide_run(block: Block, sandbox: Path) -> None:
    for command, rest in lines_of(block.code):
        if "fairy-stockfish" in command + block.code and not Path(FAIRY).exists():
            pytest.skip(f"needs {FAIRY}")
        print("$", command)
        if "--run runs/warm" in command:  # two examples make this run
            shutil.rmtree(sandbox / "runs/warm", ignore_errors=True)
        code = shell(sandbox, shorter(command), rest)
        assert code in expected(command, rest), command


@pytest.mark.nightly
@pytest.mark.timeout(180)
@pytest.mark.parametrize("document", sorted({block.document for block in of("python")}))
def test_the_python_blocks_of_a_guide_run_one_after_the_other(document: str, sandbox: Path) -> None:
    codes = [block.code for block in of("python") if block.document == document]
    codes.sort(key=lambda code: "prepare_process" not in code)  # works only at a program's start
    if any(FAIRY in code for code in codes) and not Path(FAIRY).exists():
        pytest.skip(f"needs {FAIRY}")
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", DRIVER],
        check=False,
        cwd=sandbox,
        env=environment(sandbox),
        input=json.dumps([codes, document == "evaluation.md"]),
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.anyio
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("block", of("curl"), ids=str)
async def test_the_curl_commands_of_a_guide_get_answers(block: Block, tmp_path: Path) -> None:
    engines = {"engines": {"fairy": f"usi:{FAIRY}"}}
    settings = Settings.model_validate({"evaluation": engines})
    async with FakeRun(settings, compile_seconds=0) as run, served(create_app(run)) as url:
        await run.until("running")
        output, id = "", ""
        for command, _ in lines_of(block.code):
            host = url.removeprefix("http://").rstrip("/")
            here = re.sub(r"(127\.0\.0\.1|localhost):8700", host, command).replace("<id>", id)
            endless = " -sN " in here
            limit = 2 if endless else 20
            here = here.replace("curl ", f"curl --fail-with-body --max-time {limit} ", 1)
            done = await anyio.to_thread.run_sync(run_curl, here, tmp_path)
            output = done.stdout
            assert done.returncode == (28 if endless else 0), (here, output)
            id = (re.findall(r'"id": "(\w+)"', output) or [id])[0]


def run_curl(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
