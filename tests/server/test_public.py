"""The settings and checkpoints that strangers see."""

from keisei.config import Server, Settings
from keisei.server.public import visible_checkpoints, visible_settings


def test_a_public_board_shows_only_settings_of_the_training() -> None:
    public = visible_settings(Settings(server=Server(read_only=True)))
    assert "ppo" in public
    assert not {"server", "run", "evaluation", "log", "wandb"} & public.keys()


def test_other_servers_show_all_settings() -> None:
    for server in (Server(), Server(read_only=True, token_file="token")):
        settings = Settings(server=server)
        assert visible_settings(settings) == settings.model_dump(mode="json")


def test_a_public_board_shows_no_folders_of_checkpoints() -> None:
    found = [
        {"step": 20, "path": "/home/lab/runs/a/checkpoints/000020", "created": 1.0, "bytes": 9},
        {"step": 10, "path": "/home/lab/runs/a/checkpoints/000010", "error": "/home/lab: no file"},
    ]
    assert visible_checkpoints(Settings(), found) == found
    public = visible_checkpoints(Settings(server=Server(read_only=True)), found)
    assert [item["path"] for item in public] == ["000020", "000010"]
    assert public[0]["bytes"] == 9
    assert public[1]["error"] == "damaged"
    assert "/home" not in str(public)
