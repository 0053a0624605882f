"""``keisei doctor`` as a person or a program meets it."""

import json
import socket

import pytest

from keisei.cli.main import main


def test_findings_are_lines_and_the_exit_code_says_whether_a_run_can_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--server.port", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line[9:22].strip() for line in lines if not line.startswith(" ")]
    expected = ["python", "torch", "device", "bfloat16", "threads", "memory", "descriptors", "disk"]
    assert names[:8] == expected
    assert names[8:] == ["file system", "port", "kernel cache", "chromium", "engines", "wandb"]


def test_a_problem_gives_exit_code_3_and_advice(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["doctor", "--server.port", port]) == 3
        lines = capsys.readouterr().out.splitlines()
        [at] = [number for number, line in enumerate(lines) if line.startswith("problem")]
        assert lines[at].split()[1] == "port"
        assert lines[at + 1].split()[0] == "->"
        assert main(["doctor", "--server.port", port, "--json"]) == 3
    shown = json.loads(capsys.readouterr().out)
    assert shown["can_train"] is False
    assert {item["name"] for item in shown["findings"] if item["verdict"] == "problem"} == {"port"}
