"""Each check of ``keisei doctor``: what it finds, and what it advises."""

import os
import resource
import socket
from pathlib import Path

import pytest

from keisei.cli import checks
from keisei.cli.checks import Finding, examine
from keisei.config import Settings
from keisei.nets import policy
from keisei.store import filesystem


def found(settings: Settings | None = None) -> dict[str, Finding]:
    """The findings by name."""
    chosen = settings or Settings(server={"port": 0})
    return {finding.name: finding for finding in examine(chosen)}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No W&B account and no cache of the machine's owner."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))


def test_every_warning_and_problem_says_what_to_do() -> None:
    engines = {"cat": "usi:/bin/true?nodes=5", "gone": "usi:/nope?nodes=5"}
    shown = found(Settings(evaluation={"engines": engines}, compute={"threads": 256}))
    assert {finding.verdict for finding in shown.values()} >= {"ok", "warning"}
    assert all(bool(item.advice) == (item.verdict != "ok") for item in shown.values())


def test_a_device_that_is_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy.torch.cuda, "is_available", lambda: False)
    device = found(Settings(device="cuda:7", server={"port": 0}))["device"]
    assert device.verdict == "problem"
    assert "cuda:7" in device.found


def test_more_threads_than_cores_are_a_warning() -> None:
    threads = found(Settings(env={"threads": 64}, server={"port": 0}))["threads"]
    assert (threads.verdict, threads.found[:17]) == ("warning", "env.threads is 64")


def test_the_memory_limit_of_a_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(checks, "CGROUP_LIMIT", limit)
    limit.write_text("1073741824\n")
    assert found()["memory"].found == "1.0 GiB available"
    assert found()["memory"].verdict == "warning"
    limit.write_text("max\n")
    assert found()["memory"].found != "1.0 GiB available"


def test_few_descriptors_are_a_warning() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        assert found()["descriptors"].verdict == "warning"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_folder_that_cannot_be_written_is_a_problem() -> None:
    disk = found(Settings(run={"root": "/proc/runs"}, server={"port": 0}))["disk"]
    assert disk.verdict == "problem"
    assert disk.found.startswith("/proc/runs: ")


def test_little_space_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LITTLE_SPACE", 2**60)
    assert found()["disk"].verdict == "warning"


def test_a_network_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("server:/x / nfs4 rw 0 0\n")
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    disk = found()["file system"]
    assert disk.verdict == "problem"
    assert "network file system (nfs4)" in disk.found
    assert disk.advice.startswith("choose a folder on a local disk")


def test_a_port_in_use_is_a_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = found(Settings(server={"port": other.getsockname()[1]}))["port"]
    assert port.verdict == "problem"
    assert "another program uses" in port.found
    assert "--port" in port.advice


def test_a_cache_that_cannot_be_written_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/cache")
    assert found()["kernel cache"].verdict == "warning"


def test_an_engine_is_started_and_named(tmp_path: Path) -> None:
    engine = tmp_path / "engine"
    engine.write_text(
        "#!/bin/sh\nwhile read line; do case $line in\n"
        "usi) echo id name Deep Cat; echo usiok;;\nisready) echo readyok;;\nquit) exit;;\nesac; done"
    )
    engine.chmod(0o755)
    text = f"usi:{engine}?nodes=5"
    given = {"good": text, "wrong": f"{text}&Hash=3", "gone": "usi:/nope?nodes=5", "odd": "x"}
    shown = found(Settings(evaluation={"engines": given}, server={"port": 0}))
    assert (shown["engine good"].verdict, shown["engine good"].found[:8]) == ("ok", "Deep Cat")
    assert shown["engine wrong"].found.startswith("Deep Cat has no option 'Hash'")
    assert shown["engine gone"].found == "/nope: no such engine"
    assert shown["engine odd"].verdict == "problem"  # a run refuses this setting at its start


@pytest.mark.parametrize("place", ["environment", "netrc"])
def test_the_key_of_wandb_is_found_and_never_shown(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no API key" in found()["wandb"].found
    if place == "environment":
        monkeypatch.setenv("WANDB_API_KEY", "sesame")
    else:
        Path(os.environ["NETRC"]).write_text("machine api.wandb.ai login user password sesame\n")
    shown = found()
    assert "an API key is set" in shown["wandb"].found
    assert "sesame" not in str(shown)


@pytest.mark.parametrize(
    ("mode", "verdict"), [("disabled", "ok"), ("offline", "ok"), ("online", "warning")]
)
def test_the_mode_of_wandb_is_shown_and_online_needs_a_key(mode: str, verdict: str) -> None:
    shown = found(Settings(wandb={"mode": mode}, server={"port": 0}))["wandb"]
    assert f"wandb.mode is {mode}" in shown.found
    assert shown.verdict == verdict
    assert ("wandb login" in shown.advice) == (mode == "online")


def test_a_check_that_fails_itself_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(path: Path) -> str:
        raise ZeroDivisionError("no reason")

    monkeypatch.setattr(filesystem, "check_file_system", fail)
    shown = found()
    assert shown["file system"].found == "the check failed: ZeroDivisionError: no reason"
    assert shown["port"].verdict == "ok"
