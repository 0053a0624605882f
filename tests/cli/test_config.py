"""``keisei config``."""

import json
import subprocess
import sys
import tomllib

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
    assert "# Discount a ply." in shown


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
