"""The settings that strangers see."""

from keisei.config import Server, Settings
from keisei.server.public import visible_settings


def test_a_public_board_shows_only_settings_of_the_training() -> None:
    public = visible_settings(Settings(server=Server(read_only=True)))
    assert "ppo" in public
    assert not {"server", "run", "evaluation", "log", "wandb"} & public.keys()


def test_other_servers_show_all_settings() -> None:
    for server in (Server(), Server(read_only=True, token_file="token")):
        settings = Settings(server=server)
        assert visible_settings(settings) == settings.model_dump(mode="json")
