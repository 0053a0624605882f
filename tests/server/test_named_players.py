"""Players that a request names: by id below ``run.root``, and by path only without a token."""

from pathlib import Path

import pytest

from keisei.config import EvaluationSettings, Run, Server, Settings
from keisei.server.named_players import find_network, find_player


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one run, which has one checkpoint; and a run outside of the folder."""
    root = tmp_path / "runs"
    for run in (root / "20240229-a", tmp_path / "outside"):
        (run / "checkpoints" / "000000000640").mkdir(parents=True)
        (run / "run.toml").touch()
    return root


def settings(root: Path, token_file: str = "") -> Settings:
    """Settings with this ``run.root`` and an engine."""
    return Settings(
        run=Run(root=root),
        server=Server(token_file=token_file),
        evaluation=EvaluationSettings(engines={"strong": "usi:/opt/strong?nodes=1"}),
    )


@pytest.mark.parametrize("token_file", ["", "token"])
def test_runs_checkpoints_and_engines_are_found_by_name(root: Path, token_file: str) -> None:
    known = settings(root, token_file)
    assert find_player("20240229-a", known) == str(root / "20240229-a")
    found = find_player("20240229-a/640", known)
    assert found == str(root / "20240229-a" / "checkpoints" / "000000000640")
    assert find_player("strong", known) == "usi:/opt/strong?nodes=1"
    assert find_player("random", known) == "random"
    assert find_player("shipped", known) == "shipped"


@pytest.mark.parametrize(
    "text",
    ["../outside", "20240229-a/../../outside", "20240229-a/641", "20240229-a/640/", ".", "..", "/",
     "20240229-a/best", "none", "20240229-a\x00", "20240229-a\n", "usi:/bin/sh?nodes=1"],
)  # fmt: skip
def test_nothing_else_is_found_with_a_token(root: Path, text: str) -> None:
    with pytest.raises(ValueError, match="is unknown"):
        find_player(text, settings(root, "token"))


@pytest.mark.parametrize("text", ["a" * 300, "20240229-a/" + "9" * 300])
def test_a_long_name_is_unknown(root: Path, text: str) -> None:
    with pytest.raises(ValueError, match="is unknown"):
        find_player(text, settings(root))


def test_a_path_is_found_only_without_a_token(root: Path) -> None:
    path = str(root / "20240229-a")
    assert find_player(path, settings(root)) == path
    with pytest.raises(ValueError, match=r"is unknown.*RUN/STEP") as caught:
        find_player(path, settings(root, "token"))
    assert "folder" not in str(caught.value)


def test_a_single_move_can_be_asked_of_networks_of_the_run_folder_alone(root: Path) -> None:
    known = settings(root)
    assert find_network("20240229-a", known) == str(root / "20240229-a")
    found = find_network("20240229-a/640", known)
    assert found == str(root / "20240229-a" / "checkpoints" / "000000000640")
    assert [find_network(name, known) for name in ("current", "best")] == ["current", "best"]
    outside = str(root.parent / "outside")
    for text in ("random", "strong", outside, "../outside", "20240229-a?simulations=9"):
        with pytest.raises(ValueError, match="is not a network"):
            find_network(text, known)
