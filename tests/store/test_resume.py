"""A resumed run keeps its settings, except those that may change."""

from keisei.config import Settings
from keisei.store import resumed_settings


def test_a_resume_changes_what_may_change_and_names_what_it_ignored() -> None:
    kept = Settings(
        device="cpu",
        run={"steps": 100, "seed": 3},
        ppo={"gamma": 0.9},
        compute={"dtype": "float32", "threads": 2},
    )
    given = Settings(
        device="auto",
        run={"steps": 200, "seed": 4, "checkpoints_kept": 9},
        ppo={"gamma": 0.95, "clip": 0.2},
        compute={"dtype": "auto", "threads": 1},
        server={"port": 9000},
        log={"level": "debug"},
        evaluation={"games": 10},
    )
    settings, ignored = resumed_settings(kept, given)
    assert ignored == ["compute.threads", "ppo.gamma", "run.seed"]
    assert settings.run.steps == 200
    assert settings.run.checkpoints_kept == 9
    assert (settings.server.port, settings.log.level, settings.evaluation.games) == (
        9000,
        "debug",
        10,
    )
    unchanged = {"run": {"steps", "checkpoints_kept"}, "server": True, "log": True}
    for tree in (settings, kept):
        assert tree.device == "cpu"
    assert settings.model_dump(exclude={**unchanged, "evaluation": True}) == kept.model_dump(
        exclude={**unchanged, "evaluation": True}
    )


def test_a_resume_without_explicit_settings_changes_nothing() -> None:
    kept = Settings(run={"steps": 100}, server={"port": 1}, ppo={"gamma": 0.9})
    assert resumed_settings(kept, Settings()) == (kept, [])
