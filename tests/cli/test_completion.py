"""``keisei completion``."""

import shutil
import subprocess
from pathlib import Path

import pytest

from keisei.cli.main import main


@pytest.fixture
def bash_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "keisei.bash"
    script.write_text(capsys.readouterr().out)
    return script


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], {"train"}),
        (["serve", "--ppo.ga"], {"--ppo.gamma", "--ppo.gae_lambda"}),
        (["train", "--config", "q"], {"quickstart"}),
        (["train", "--config", "mi"], {"mine.toml"}),
        (["train", "--detectors.draws", ""], {"ignore", "alert", "rollback", "stop"}),
        (["config", "show", "--ori"], {"--origin"}),
        (["perft", "--ppo"], set()),
        (["evaluate", "ru"], {"runs"}),
    ],
)
def test_bash_completes(
    words: list[str], offered: set[str], bash_script: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").touch()
    (tmp_path / "runs").mkdir()
    code = """. "$1"; shift; COMP_WORDS=(keisei "$@"); COMP_CWORD=$#; _shtab_keisei
    printf '%s\\n' "${COMPREPLY[@]}" """
    answer = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", bash_script, *words],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert set(answer.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_names_settings_and_shipped_configs_and_has_no_syntax_error(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for word in ("ppo.gamma", "quickstart", "h100", "--json" if shell != "fish" else "-l json"):
        assert word in text
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)
