"""The public names, and which modules their import loads."""

import subprocess
import sys

import pytest

import keisei

HEAVY = ("torch", "numba", "numpy", "pydantic", "structlog", "anyio", "starlette", "wandb")


def loaded_by(statement: str) -> set[str]:
    """Return the modules in a fresh interpreter that ran ``statement``."""
    code = f"import sys; {statement}; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(answer.stdout.split())


def test_importing_keisei_loads_nothing_heavy() -> None:
    assert not loaded_by("import keisei").intersection(HEAVY)


def test_the_rules_load_no_torch() -> None:
    assert "torch" not in loaded_by("import keisei.shogi")


def test_a_run_can_be_created_without_loading_torch() -> None:
    """``async with`` imports torch, in a thread."""
    assert "torch" not in loaded_by("from keisei import Keisei, Settings; Keisei(Settings())")


@pytest.mark.parametrize("name", keisei.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(keisei, name).__name__ == name
    assert name in dir(keisei)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Keysay'"):
        _ = keisei.Keysay
