"""The settings of a run, from defaults, TOML files, environment variables and flags.

A later source overrides the earlier sources. For example, the environment variable
``KEISEI_PPO__GAMMA`` sets ``ppo.gamma``. An unknown key is an error in every source.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from keisei.match_rules import Mates
from keisei.settings_sources import (
    ENV_PREFIX,
    Layer,
    SettingsError,
    explain,
    merge,
    parse_list,
    parse_table,
    parse_whole_number,
    read_layers,
)

__all__ = ["Settings", "SettingsError"]


def _check_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError("must be auto, cpu, cuda or cuda:N")
    return value


Device = Annotated[
    str,
    AfterValidator(_check_device),
    Field(
        description="Device that computes the networks: auto (the first CUDA device, or else the "
        "CPU), cpu, cuda or cuda:N."
    ),
]
Share = Annotated[float, Field(ge=0, le=1)]
Reaction = Literal["ignore", "alert", "rollback", "stop"]
Names = Annotated[tuple[str, ...], BeforeValidator(parse_list), NoDecode]
Engines = Annotated[dict[str, str], BeforeValidator(parse_table), NoDecode]


class Section(BaseModel):
    """A group of settings. The one-line docstring below a setting describes the setting."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _read_whole_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Turn text from a flag or the environment into a number if the setting is an integer."""
        wanted = cls.model_fields[info.field_name or ""].annotation
        whole = wanted in (int, Mates) and isinstance(value, str)
        return parse_whole_number(value) if whole else value


class Run(Section):
    """How long a run lasts, and which checkpoints and games it keeps."""

    root: Path = Path("runs")
    """Folder that contains the run directories."""
    steps: int = Field(default=0, ge=0)
    """Steps (plies) after which the run ends; 0 = no limit."""
    minutes: float = Field(default=0, ge=0)
    """Minutes after which the run ends; 0 = no limit."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of all random generators of the run."""
    checkpoint_seconds: float = Field(default=60, gt=0)
    """Seconds between two checkpoints."""
    checkpoints_kept: int = Field(default=5, ge=1)
    """Number of newest checkpoints to keep; the run also keeps older checkpoints that it needs."""
    checkpoints_every_steps: int = Field(default=0, ge=0)
    """Steps between two older checkpoints that are kept too; 0 = no older checkpoints are."""
    games_recorded: int = Field(default=32, ge=1)
    """One self-play game out of this number is recorded."""


class Schedule(Section):
    """The schedule on which a setting ``x`` changes linearly to the value ``x_final``."""

    steps: int = Field(default=1_500_000, gt=0)
    """Number of steps after which every scheduled setting has reached its final value."""


class Env(Section):
    """How self-play games begin and end, and how many are played at the same time."""

    games: int = Field(default=128, ge=1, le=65_536)
    """Number of games that are played at the same time."""
    max_ply: int = Field(default=256, ge=16, le=512)
    """Plies after which a game is truncated; a truncated game does not count as a draw."""
    declaration: Literal["27", "24", "none"] = "27"
    """Entering-king rule: 27 (the 27-point rule), 24 (the 24-point rule) or none."""
    mates: Mates = 1
    """Longest mate, in moves of both sides, that is found and played: 0 (none), 1 or 3."""
    reset_share: Share = 0.65
    """Share of games that begin from a mid-game position: value at the start of the schedule."""
    reset_share_final: Share = 0.65
    """Share of games that begin from a mid-game position: value at the end of the schedule."""
    reset_depth: int = Field(default=180, ge=0, le=512)
    """Largest number of random plies that are played to reach a mid-game position."""
    reset_pool: int = Field(default=2048, ge=1)
    """Number of positions in the pool of mid-game positions."""
    reset_refresh: int = Field(default=20, ge=1)
    """Number of iterations after which a new pool of mid-game positions is made."""
    threads: int = Field(default=1, ge=1, le=64)
    """Number of CPU threads that advance the games."""


class Net(Section):
    """Kind and size of the network."""

    kind: str = "se_resnet"
    """Kind of network: se_resnet, resnet, transformer, mlp or a kind that a package adds."""
    blocks: int = Field(default=2, ge=1, le=80)
    """Number of blocks in the network's trunk."""
    channels: int = Field(default=32, ge=8, le=1024, multiple_of=8)
    """Number of channels in the network's trunk, a multiple of 8."""


class PPO(Section):
    """Learning by proximal policy optimisation (PPO)."""

    rollout_plies: int = Field(default=32, ge=1, le=1024)
    """Number of plies that each game adds to a rollout."""
    minibatch: int = Field(default=1024, ge=1)
    """Number of positions in a minibatch."""
    epochs: int = Field(default=2, ge=1, le=20)
    """Number of training passes over each rollout."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """AdamW's learning rate at the start of the schedule."""
    learning_rate_final: float = Field(default=3e-4, ge=0)
    """AdamW's learning rate at the end of the schedule."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """AdamW's decoupled weight decay."""
    gamma: float = Field(default=0.98, gt=0, le=1)
    """Discount factor per ply; with a value below 1, an early win is worth more than a late win."""
    gae_lambda: Share = 0.8
    """Lambda of the negamax GAE (generalised advantage estimation)."""
    clip: float = Field(default=0.2, gt=0, lt=1)
    """Clip range of PPO's probability ratio."""
    value_coefficient: float = Field(default=1.0, ge=0)
    """Weight of the value loss."""
    entropy: float = Field(default=0.01, ge=0)
    """Weight of the entropy bonus at the start of the schedule."""
    entropy_final: float = Field(default=0.01, ge=0)
    """Weight of the entropy bonus at the end of the schedule."""
    grad_clip: float = Field(default=0.5, gt=0)
    """Largest gradient norm; a larger gradient is scaled down to this norm."""
    material: float = Field(default=0.5, ge=0)
    """Weight of material in the bootstrap value, at the start of the schedule."""
    material_final: float = Field(default=0.2, ge=0)
    """Weight of material in the bootstrap value, at the end of the schedule."""
    declaration_reward: Share = 0.3
    """Reward of a win by declaration (mate: 1); with a value below 1, agents learn to mate too."""


class OpponentSettings(Section):
    """Opponents in some of the training games: frozen copies of the network."""

    share: Share = 0.0
    """Share of games that are played against a frozen copy of the network; 0 = none."""
    every: int = Field(default=50, ge=1)
    """Number of iterations after which a copy is made and the playing copies are chosen again."""
    recent: int = Field(default=4, ge=1)
    """Number of newest copies to keep; all these copies are equally likely to be chosen."""
    history: int = Field(default=12, ge=0)
    """Number of older copies to keep; copies with a larger share of wins are chosen more often."""
    active: int = Field(default=2, ge=1)
    """Number of copies that play at the same time."""


class DetectorSettings(Section):
    """How the run reacts when learning goes wrong. Each detector has one setting.

    ``ignore`` does nothing. ``alert`` sends an alert. ``rollback`` sends an alert and restores the
    weights of a good checkpoint. ``stop`` sends an alert and ends the run. No reaction deletes
    checkpoints.
    """

    entropy_collapse: Reaction = "alert"
    """Reaction when the policy's entropy falls below 5 % of the largest possible entropy."""
    entropy_swamp: Reaction = "alert"
    """Reaction when the policy's entropy rises by 25 % of the largest possible entropy."""
    draws: Reaction = "alert"
    """Reaction when more than 30 % of the games end by repetition."""
    declarations: Reaction = "alert"
    """Reaction when more than 70 % of the games end by declaration."""
    truncation: Reaction = "alert"
    """Reaction when the share of truncated games has risen by over 0.3, to over 0.5."""
    value_useless: Reaction = "alert"
    """Reaction when the mean result predicts results better than the value head does."""
    explained_variance: Reaction = "alert"
    """Reaction when the returns' explained variance is negative, unless the returns hardly vary."""
    first_mover: Reaction = "alert"
    """Reaction when black's share of the wins is clearly above 60 % or clearly below 45 %."""
    ratio: Reaction = "alert"
    """Reaction when PPO's ratio clearly differs from 1 before the first optimiser step."""
    nonfinite: Reaction = "alert"
    """Reaction when a loss or gradient is NaN or infinite; the minibatch is always skipped."""
    nonfinite_stop: int = Field(default=10, ge=1)
    """Number of consecutive skipped minibatches that ends the run, unless nonfinite is rollback."""
    rollbacks: int = Field(default=3, ge=0)
    """Largest number of rollbacks; the run ends when it needs one more rollback."""


class Compute(Section):
    """How the machine is used. A new run replaces ``auto`` and 0 by values that fit the machine."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the network's layers: auto, float32 or bfloat16; weights stay float32."""
    threads: int = Field(default=0, ge=0, le=256)
    """Number of torch's CPU threads; 0 = torch's default, usually one thread for each core."""
    compile: bool = False
    """Whether to use torch.compile, and on a GPU also CUDA graphs."""


class EvaluationSettings(Section):
    """Evaluation matches that are played during training."""

    share: Share = 0.1
    """Largest share of the device's time that evaluations take from training."""
    every_steps: int = Field(default=0, ge=0)
    """Steps between two regular evaluations; 0 = off."""
    every_minutes: float = Field(default=0, ge=0)
    """Minutes between two regular evaluations; 0 = off."""
    strategy: str = "gauntlet"
    """Strategy of the regular evaluations: gauntlet, or another installed strategy."""
    agents: Names = ("current",)
    """Ways to play that regular evaluations measure: current, or current?simulations=64."""
    opponents: Names = ("random", "material")
    """Opponents in regular evaluations: random, material, shipped, runs, checkpoints or engines."""
    games: int = Field(default=200, ge=2, multiple_of=2)
    """Number of games in each match of the regular evaluations."""
    promotion_games: int = Field(default=1000, ge=0, multiple_of=2)
    """Largest number of games in a test (SPRT) against the run's best network; 0 = no test."""
    promotion_elo: float = Field(default=20, gt=0, le=800)
    """Elo difference of H1 in the test against the best network; H0 is a difference of 0."""
    memory_mib: int = Field(default=1024, ge=1)
    """Memory limit, in MiB, for the weights of the networks that evaluations load."""
    batch: int = Field(default=4096, ge=1)
    """Largest number of positions that evaluations send to a network at once."""
    engines: Engines = {}
    """Engines by name; each engine is written usi:PATH?nodes=500&OPTION=VALUE."""
    concurrency: int = Field(default=1, ge=1, le=64)
    """Number of games at once against an engine; each game has its own engine process."""
    max_ply: int = Field(default=512, ge=16, le=512)
    """Plies after which a game of an evaluation is stopped (result: capped)."""


class Server(Section):
    """Where the web service listens, and which requests it accepts."""

    host: str = "127.0.0.1"
    """Address to listen on; non-loopback addresses need server.token_file or server.read_only."""
    port: int = Field(default=8700, ge=0, le=65_535)
    """Port that the server listens on; 0 = any free port."""
    allowed_hosts: Names = ("localhost", "127.0.0.1", "[::1]")
    """Host names that the server accepts in the Host header, besides its own addresses."""
    max_streams: int = Field(default=256, ge=1)
    """Largest number of event streams that are served at once."""
    token_file: str = ""
    """File with the access token; a missing file is made; empty = no token is needed."""
    read_only: bool = False
    """Whether to refuse all requests that would change something, as for a public board."""
    tls_certificate: str = ""
    """PEM file with the certificate for HTTPS, and its chain; empty = plain HTTP."""
    tls_key: str = ""
    """PEM file with the certificate's private key; empty = the certificate's file has the key."""
    trusted_proxies: Names = ()
    """Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    cors_origins: Names = ()
    """Origins (scheme, host and port) of other web sites whose pages may use the API."""
    max_streams_per_address: int = Field(default=16, ge=1)
    """Largest number of event streams for one address of another machine."""


class PluginSettings(Section):
    """Sinks and callbacks that the run uses; packages can add more of them."""

    sinks: Names = ()
    """Sinks that receive the run's events: tensorboard, trackio or a sink that a package adds."""
    callbacks: Names = ()
    """Callbacks of packages; the run calls their hooks."""


class WandbSettings(Section):
    """How a run is logged at Weights & Biases (W&B)."""

    mode: Literal["disabled", "offline", "online"] = "disabled"
    """Where W&B logs the run: disabled (nowhere), offline (in the run's folder) or online."""
    project: str = ""
    """W&B project; empty = the environment variable WANDB_PROJECT, or else keisei."""
    entity: str = ""
    """W&B user or team; empty = the environment variable WANDB_ENTITY, or else W&B's default."""
    name: str = ""
    """Name of the W&B run; empty = the environment variable WANDB_NAME, or else the run's id."""
    group: str = ""
    """Group of the W&B run; empty = the environment variable WANDB_RUN_GROUP, or else no group."""
    tags: Names = ()
    """Tags of the W&B run; none = the environment variable WANDB_TAGS, or else no tags."""
    artifacts: bool = False
    """Whether W&B also gets checkpoints, games and ratings, as artifacts."""


class LogSettings(Section):
    """Which log lines are written, and how."""

    format: Literal["console", "json"] = "console"
    """Form of the lines on stderr: console (for people) or json (as in keisei.log)."""
    # This must stay the last key: a `run.toml` without this key counts as incomplete.
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level of the log lines that are written: debug, info, warning or error."""


class Settings(BaseSettings):
    """All settings of a run. ``Settings.load(path)`` reads a TOML file."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        allow_inf_nan=False,
    )

    device: Device = "auto"
    run: Run = Run()
    schedule: Schedule = Schedule()
    env: Env = Env()
    net: Net = Net()
    ppo: PPO = PPO()
    opponents: OpponentSettings = OpponentSettings()
    detectors: DetectorSettings = DetectorSettings()
    compute: Compute = Compute()
    evaluation: EvaluationSettings = EvaluationSettings()
    server: Server = Server()
    plugins: PluginSettings = PluginSettings()
    wandb: WandbSettings = WandbSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Make the constructor use only its arguments; ``load`` reads the other sources."""
        return (init_settings,)

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read the settings from TOML files, the environment and ``overrides``.

        A later source overrides the earlier sources. ``path`` is one file or a sequence of files.
        ``overrides`` maps dotted keys (``"ppo.gamma"``) to values, or to texts that ``load`` turns
        into values. Raises SettingsError, whose message names the source, key, bound and value.
        """
        paths = [path] if isinstance(path, str | Path) else path or []
        return cls.from_layers(read_layers(cls, paths, overrides or {}))

    @classmethod
    def from_layers(cls, layers: Sequence[Layer]) -> Self:
        """Merge the sources; a later source overrides the earlier sources. Raises SettingsError.

        ``keisei.settings_sources.read_layers`` reads the sources.
        """
        try:
            return cls(**merge(layers))
        except ValidationError as error:
            raise explain(error, layers, cls) from None
