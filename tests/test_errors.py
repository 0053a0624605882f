"""Exceptions that several layers share."""

import pytest

from keisei.errors import TrainingFailed, unwrap


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_groups_of_one_are_unwrapped_to_the_exception_inside(depth: int) -> None:
    inner = ValueError("inside")
    error: Exception = inner
    for _ in range(depth):
        error = ExceptionGroup("a task group", [error])
    assert unwrap(error) is inner


def test_a_group_of_several_exceptions_stays_a_group() -> None:
    several = ExceptionGroup("two", [ValueError("a"), KeyError("b")])
    assert unwrap(several) is several
    assert unwrap(ExceptionGroup("outer", [several])) is several


def test_what_ends_the_program_is_unwrapped_too() -> None:
    stop = KeyboardInterrupt()
    assert unwrap(BaseExceptionGroup("a task group", [stop])) is stop


def test_failed_training_holds_its_traceback_beside_the_message() -> None:
    error = TrainingFailed("ValueError: no", "Traceback ...")
    assert (str(error), error.details) == ("ValueError: no", "Traceback ...")
    assert TrainingFailed("ValueError: no").details == ""
