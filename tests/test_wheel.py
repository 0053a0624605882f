"""The wheel holds the page, the configurations and a network, and uses them from any folder."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keisei.shogi import Position

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="pip install hatchling to build the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in a folder of its own, and return the folder."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    subprocess.run([*command, "--target", str(target), str(wheel)], check=True)
    return target


@pytest.fixture
def environment(installed: Path, tmp_path: Path) -> dict[str, str]:
    """Return an environment in which Python finds the installed package before the checkout."""
    return os.environ | {"PYTHONPATH": str(installed), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}


def names(folder: Path) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_wheel_holds_code_page_and_configs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    for name in names(ROOT / "app") | names(ROOT / "configs"):
        assert f"keisei/_data/{name}" in held
    tops = {name.partition("/")[0] for name in held}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"keisei"}
    assert not [name for name in held if "__pycache__" in name or "/tests/" in name]
    assert {"keisei/py.typed", "keisei/evaluation/openings.usi"} <= held
    assert names(ROOT / "keisei/shipped") <= held


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.fixture
def served(environment: dict[str, str], empty: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the installed command in an empty folder; yield the process and its address."""
    command = [sys.executable, "-m", "keisei", "serve", "--config", "quickstart", "--port", "0"]
    began = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=empty,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = next(
                (url[0] for line in process.stdout if (url := re.search(r"http://\S+", line))), None
            )
            assert address, "the command ended without printing an address"
            assert time.monotonic() - began < 30
            yield process, address
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_installed_command_serves_the_page_from_an_empty_folder(
    served: tuple[subprocess.Popen[str], str], empty: Path
) -> None:
    process, address = served
    for name in sorted(names(ROOT / "app")):  # the kernels still compile
        with urllib.request.urlopen(address + name.removeprefix("app/"), timeout=10) as answer:
            assert answer.read() == (ROOT / name).read_bytes()
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.read() == (ROOT / "app/index.html").read_bytes()
    assert [path.name for path in empty.iterdir()] == ["runs"]
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)  # time is the subject: two signals at once would count as one
    process.send_signal(signal.SIGTERM)  # during compilation this one forces the end
    assert process.wait(30) in {0, 143}


@pytest.mark.slow
@pytest.mark.timeout(300)  # compiles the rules
def test_the_shipped_network_plays_from_an_empty_folder(
    environment: dict[str, str], empty: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "keisei", "usi", "shipped"],
        input="usi\nisready\nposition startpos moves 7g7f\ngo\nquit\n",
        cwd=empty,
        env=environment | {"XDG_CACHE_HOME": str(empty.parent / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.splitlines()
    name = next((ROOT / "keisei/shipped").iterdir()).name
    assert next(line for line in said if line.startswith("id name")).endswith(f"({name})")
    (move,) = [line.split()[1] for line in said if line.startswith("bestmove")]
    position = Position()
    position.push("7g7f")
    position.push(move)
    assert list(empty.iterdir()) == []
