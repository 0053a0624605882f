"""tools/gpu: its parts, their results, and what it reads from a trace."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ROOT / "tools" / "gpu_parts"


def gpu(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PARTS), *words], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def event(kind: str, name: str, start: float, length: float) -> dict[str, Any]:
    return {"ph": "X", "cat": kind, "name": name, "ts": start, "dur": length}


@pytest.fixture
def gaps(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module that reads traces."""
    monkeypatch.syspath_prepend(str(PARTS))
    import gaps as module  # type: ignore[import-not-found, unused-ignore]

    found: ModuleType = module
    return found


def test_the_list_names_every_part_with_a_description() -> None:
    lines = gpu("list").stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert {"tests", "train-base", "train-h100-compiled", "ppo", "profile-base", "learn", "resume",
            "memory"} <= {*names}  # fmt: skip
    assert all(len(line.split()) > 2 for line in lines)


def test_a_wrong_part_is_named_beside_the_right_ones() -> None:
    answer = gpu("resume", "trian-base", "--cpu")
    assert answer.returncode == 2
    assert "'trian-base' is not one of: list, all, tests, train-base" in answer.stderr


def test_a_part_leaves_its_results_its_log_and_its_trace(tmp_path: Path) -> None:
    answer = gpu("profile-base", "--cpu", "--out", str(tmp_path))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    report = json.loads((tmp_path / "profile-base.json").read_text())
    assert report["exit_code"] == 0
    assert report["cpu_only"]
    assert {"torch", "python"} <= report["versions"].keys()
    results = report["results"]
    assert 0 < results["busy"] < 1
    assert {"inference", "update"} <= results["idle_by_phase"].keys()
    assert results["top_kernels"][0]["ms"] >= results["top_kernels"][1]["ms"] > 0
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"profile-base.json", "profile-base.txt", "profile-base.trace.json.gz"}


def test_a_part_that_fails_says_where_its_log_is(tmp_path: Path) -> None:
    answer = gpu("memory", "--out", str(tmp_path))  # without --cpu
    if "ok" in answer.stdout:
        pytest.skip("this machine has a GPU")
    log = tmp_path / "memory.txt"
    assert answer.returncode == 1
    assert f"FAILED, see {log}" in answer.stdout
    assert "number of CUDA devices: 0" in log.read_text()


def test_gaps_are_the_times_without_work_in_any_stream(gaps: ModuleType) -> None:
    work = [
        event("kernel", "a", 0, 10),
        event("kernel", "b", 5, 2),
        event("gpu_memcpy", "c", 30, 5),
    ]
    (gap,) = gaps.find_gaps(work)
    assert (gap.start, gap.end, gap.after, gap.before) == (10, 30, "a", "c")


def test_a_gap_belongs_to_the_phase_and_the_call_in_which_the_cpu_was(gaps: ModuleType) -> None:
    events = [
        event("kernel", "a", 0, 10), event("kernel", "b", 50, 10), event("kernel", "b", 80, 20),
        event("user_annotation", "phase env", 8, 50), event("cpu_op", "aten::add", 61, 18),
        event("cuda_runtime", "cudaStreamSynchronize", 12, 30), {"ph": "M", "name": "thread"},
    ]  # fmt: skip
    found = gaps.analyse(events)
    assert found["busy"] == pytest.approx(0.4)
    assert found["launches"] == 3
    assert found["idle_by_phase"] == {
        "env": {"ms": 0.04, "gaps": 1}, "other": {"ms": 0.02, "gaps": 1},
    }  # fmt: skip
    first, second = found["largest_gaps"]
    assert (first["us"], first["phase"], first["host"]) == (40, "env", "cudaStreamSynchronize")
    assert (second["us"], second["phase"], second["host"]) == (20, "other", "aten::add")
    assert found["top_kernels"][0] == {"ms": 0.03, "calls": 2, "name": "b"}
