"""The command as a person meets it: one line of error, the right exit code, data on stdout."""

import json
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from keisei.cli.main import main
from keisei.config import Settings


def stderr_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "--prot", "1"], "--prot, did you mean --port?"),
        (["serve", "--ppo.gama", "1"], "ppo.gama: no such setting, did you mean gamma?"),
        (["serve", "--ppo.gamma", "2"], "command line: ppo.gamma: must be less than or equal to 1"),
        (["serve", "--port", "99999"], "server.port: must be less than or equal to 65535"),
        (["serve", "--config", "nope.toml"], "nope.toml: no such file"),
        (["serve", "--device", "tpu"], "device"),
        (["train", "--net.kind", "rnn"], "net.kind: 'rnn' is not one of"),
        (["serve", "--run", "a", "--resume", "--init", "b"], "--init: not allowed with"),
        (["train", "--ppo.gamma"], "--ppo.gamma: needs a value"),
        (["config", "show", "--nosuch.key=1"], "nosuch"),
        (["config", "schema", "--ppo.clip=1"], "takes no settings"),
        (["perft", "2", "--ppo.clip=1"], "takes no settings"),
        (["perft", "two"], "two"),
        (["moves", "not an sfen"], "board"),
        (["bench", "loop", "--config", "nosuch"], "nosuch: no such file"),
        (["bench", "contention", "--ppo.gama", "1"], "ppo.gama: no such setting"),
        (["bench", "loop", "--clients", "0"], "--clients: 1 to 256 (got 0)"),
        (["bench", "loop", "--seconds", "0"], "--seconds: more than 0 (got 0.0)"),
        (["bench", "match", "--games", "3"], "--games: even, 2 or more (got 3)"),
        (["bench", "match", "--repeats", "0"], "--repeats: 1 or more (got 0)"),
        (["bench", "contention", "--rounds", "0"], "--rounds: 1 or more (got 0)"),
        (["bench", "contention", "--evaluation.share=0"], "evaluation.share: more than 0"),
        (["bench", "env", "--steps", "0"], "--steps: 1 or more (got 0)"),
        (["bench", "match", "--net.kind", "rnn"], "'rnn'"),
        (["dance"], "dance"),
        ([], "COMMAND"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in stderr_line(capsys)


def test_a_bad_file_is_named_with_key_and_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[ppo]\nclip = 1.5\n")
    assert main(["train", "--config", str(file)]) == 2
    assert f"{file}: ppo.clip: must be less than 1 (got 1.5)" in stderr_line(capsys)


def test_broken_toml_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[ppo\n")
    for command in (["train"], ["bench", "loop"]):
        assert main([*command, "--config", str(file)]) == 2
        assert "line 1" in stderr_line(capsys)


def test_a_taken_port_is_exit_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), "--run", str(tmp_path / "run")]) == 3
    assert f"127.0.0.1:{port}" in stderr_line(capsys)
    assert not (tmp_path / "run").exists(), "a run that can't be watched must not begin"


@pytest.mark.parametrize("bench", ["train", "match"])
def test_a_device_that_is_not_there_is_exit_3(
    bench: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", bench, "--device", "cuda:99"]) == 3
    assert "cuda:99" in stderr_line(capsys)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("keisei ")


def test_config_show_is_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    engines = {"an engine": 'usi:/x?nodes=5&A "quoted"=#\u007f'}
    given = {"ppo.gamma": 0.5, "evaluation.engines": json.dumps(engines)}
    assert main(["config", "show", *(f"--{key}={value}" for key, value in given.items())]) == 0
    shown = capsys.readouterr().out
    assert Settings(**tomllib.loads(shown)) == Settings.load(None, given)
    assert Settings(**tomllib.loads(shown)).evaluation.engines == engines
    assert "# Discount factor per ply: a sooner win is worth more." in shown


def test_config_show_is_light() -> None:
    code = (
        "import sys, keisei.cli.main as cli; cli.main(['config', 'show']);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_config_show_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEISEI_NET__BLOCKS", "7")
    assert main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["net"]["blocks"] == 7


def test_config_schema_describes_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    sections = schema["$defs"]
    assert sections["PPO"]["properties"]["gamma"]["maximum"] == 1
    keys = [key for section in sections.values() for key in section["properties"].items()]
    assert [name for name, key in keys if not key.get("description")] == []


def test_a_closed_pipe_is_no_traceback() -> None:
    command = [sys.executable, "-m", "keisei", "config", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 0
