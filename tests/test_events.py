"""Events: their names and their JSON."""

import json
from dataclasses import fields
from typing import Any

import pytest

from keisei.events import Alert, Board, Evaluation, Event, Failed, Iteration, Reset, Status, dumps
from keisei.runtime.evaluation_records import EvaluationRecord


def test_json_has_null_for_nan_and_infinities() -> None:
    content = {"a": [float("nan"), (float("inf"), 1.5)], "b": {"c": -float("inf")}, "d": "日"}
    plain = {"a": [None, [None, 1.5]], "b": {"c": None}, "d": "日"}
    assert json.loads(dumps(content)) == plain
    assert dumps(content, ensure_ascii=False, separators=(",", ":")) == (
        '{"a":[null,[null,1.5]],"b":{"c":null},"d":"日"}'
    )


def test_a_record_has_the_fields_of_an_evaluation_event() -> None:
    """A new field of the event needs no change of the record."""
    shown = {field.name for field in fields(Evaluation)} - {field.name for field in fields(Event)}
    record = EvaluationRecord({"id": "a", "score": 0.5, "nosuch": 1})
    assert record.fields.keys() == shown | {"created", "finished"}
    known = Evaluation(run="r", step=1, time=0.0, id="a", score=0.5).to_dict()
    assert {key: record.fields[key] for key in shown} == {key: known[key] for key in shown}


@pytest.mark.parametrize(
    ("kind", "values", "name"),
    [
        (Iteration, {"iteration": 1, "values": {}}, "iteration"),
        (Board, {"game": 1, "sfen": "", "last_move": None, "ply": 0, "value": None}, "board"),
        (Evaluation, {"id": "a"}, "evaluation"),
        (Alert, {"name": "a", "level": "info", "message": ""}, "alert"),
        (Status, {"kind": "paused", "state": "paused"}, "paused"),
        (Reset, {"state": "running"}, "reset"),
        (Failed, {"type": "ValueError"}, "failed"),
    ],
)
def test_every_event_gives_its_name_in_its_payload(
    kind: type[Event], values: dict[str, Any], name: str
) -> None:
    event = kind(run="r", step=0, time=0.0, **values)
    assert event.event == name
    assert event.to_dict()["event"] == name
