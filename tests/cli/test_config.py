"""``keisei config``."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from keisei.cli.main import main
from keisei.config import Settings


def test_config_show_prints_toml_that_reads_back_as_the_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    engines = {"an engine": 'usi:/x?nodes=5&A "quoted"=#\u007f'}
    given = {"ppo.gamma": 0.5, "evaluation.engines": json.dumps(engines)}
    assert main(["config", "show", *(f"--{key}={value}" for key, value in given.items())]) == 0
    shown = capsys.readouterr().out
    assert Settings(**tomllib.loads(shown)) == Settings.load(None, given)
    assert Settings(**tomllib.loads(shown)).evaluation.engines == engines
    assert "# Discount factor per ply" in shown


def test_config_show_does_not_import_torch() -> None:
    code = (
        "import sys, keisei.cli.main as cli; cli.main(['config', 'show']);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_config_show_prints_json_with_values_of_the_environment(
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


def test_origin_names_the_source_of_each_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    low, high = tmp_path / "low.toml", tmp_path / "high.toml"
    low.write_text('[ppo]\ngamma = 0.5\nclip = 0.1\n[evaluation.engines]\na = "usi:/a"\n')
    high.write_text('[ppo]\nclip = 0.3\n[evaluation.engines]\nb = "usi:/b"\n')
    monkeypatch.setenv("KEISEI_NET__BLOCKS", "7")
    monkeypatch.setenv("KEISEI_RUN", '{"seed": 3}')
    words = ["--config", str(low), "--config", str(high), "--ppo.epochs", "3", "--device", "cpu"]
    assert main(["config", "show", "--origin", "--json", *words]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["device"] == {"value": "cpu", "origin": "command line"}
    assert shown["ppo"]["epochs"] == {"value": 3, "origin": "command line"}
    assert shown["ppo"]["gamma"] == {"value": 0.5, "origin": str(low)}
    assert shown["ppo"]["clip"] == {"value": 0.3, "origin": str(high)}
    assert shown["ppo"]["entropy"] == {"value": 0.01, "origin": "default"}
    assert shown["net"]["blocks"] == {"value": 7, "origin": "environment KEISEI_NET__BLOCKS"}
    assert shown["run"]["seed"] == {"value": 3, "origin": "environment KEISEI_RUN"}
    assert shown["evaluation"]["engines"]["origin"] == f"{low}, {high}"


def test_origin_prints_toml_that_reads_back_as_the_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["config", "show", "--origin", "--ppo.gamma", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert Settings(**tomllib.loads(shown)).ppo.gamma == 0.5
    assert re.search(r"^gamma = 0\.5 +# command line$", shown, re.MULTILINE)
