"""The settings of a run: one frozen tree, from defaults < TOML < environment < command line.

Environment variables are named ``KEISEI_PPO__GAMMA``. Unknown keys are errors everywhere.
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

from keisei.settings_sources import (
    ENV_PREFIX,
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
        description="Device that computes the networks: auto (the first CUDA device, else the "
        "CPU), cpu, cuda or cuda:N."
    ),
]
Share = Annotated[float, Field(ge=0, le=1)]
Reaction = Literal["ignore", "alert", "rollback", "stop"]
Names = Annotated[tuple[str, ...], BeforeValidator(parse_list), NoDecode]
Engines = Annotated[dict[str, str], BeforeValidator(parse_table), NoDecode]


class Section(BaseModel):
    """A group of settings. The docstring behind a setting, one line, is its description."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _read_whole_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Read the text that a flag or the environment gives for a whole number."""
        wanted = cls.model_fields[info.field_name or ""].annotation
        return parse_whole_number(value) if wanted is int and isinstance(value, str) else value


class Run(Section):
    """How long a run lasts, and what it keeps."""

    root: Path = Path("runs")
    """Folder that holds the run directories."""
    steps: int = Field(default=0, ge=0)
    """The run ends after this many steps (plies); 0 = no limit."""
    minutes: float = Field(default=0, ge=0)
    """The run ends after this many minutes; 0 = no limit."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of all random generators of the run."""
    checkpoint_seconds: float = Field(default=60, gt=0)
    """Seconds between checkpoints."""
    checkpoints_kept: int = Field(default=5, ge=1)
    """Newest checkpoints that are kept; an older one stays while it is needed."""
    games_recorded: int = Field(default=32, ge=1)
    """One self-play game in this many is recorded."""


class Schedule(Section):
    """How settings with a ``*_final`` value move: in a straight line from first to final value."""

    steps: int = Field(default=1_500_000, gt=0)
    """Steps in which a scheduled setting moves from its first to its final value."""


class Env(Section):
    """The games of self-play."""

    games: int = Field(default=128, ge=1, le=65_536)
    """Games played side by side."""
    max_ply: int = Field(default=256, ge=16, le=512)
    """Plies after which a game is truncated, which is not a draw."""
    declaration: Literal["27", "24", "none"] = "27"
    """Entering-king declaration rule: 27 or 24 points, or none."""
    reset_share: Share = 0.65
    """Share of games that begin from a mid-game position, at the start of the schedule."""
    reset_share_final: Share = 0.65
    """Share of games that begin from a mid-game position, at the end of the schedule."""
    reset_depth: int = Field(default=180, ge=0, le=512)
    """Mid-game positions come from random play of at most this many plies."""
    reset_pool: int = Field(default=2048, ge=1)
    """Mid-game positions in the pool that games begin from."""
    reset_refresh: int = Field(default=20, ge=1)
    """Iterations after which a new pool of mid-game positions is drawn."""
    threads: int = Field(default=1, ge=1, le=64)
    """CPU threads that step the games."""


class Net(Section):
    """The network."""

    kind: str = "se_resnet"
    """Kind of the network: se_resnet, resnet, transformer, mlp or one of an installed package."""
    blocks: int = Field(default=2, ge=1, le=80)
    """Blocks of the network's trunk."""
    channels: int = Field(default=32, ge=8, le=1024, multiple_of=8)
    """Channels of the network's trunk, a multiple of 8."""


class PPO(Section):
    """Proximal policy optimisation."""

    rollout_plies: int = Field(default=32, ge=1, le=1024)
    """Plies of each game in one rollout."""
    minibatch: int = Field(default=1024, ge=1)
    """Positions in a minibatch."""
    epochs: int = Field(default=2, ge=1, le=20)
    """Passes over each rollout."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """AdamW's learning rate at the start of the schedule."""
    learning_rate_final: float = Field(default=3e-4, ge=0)
    """AdamW's learning rate at the end of the schedule."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """AdamW's decoupled weight decay."""
    gamma: float = Field(default=0.98, gt=0, le=1)
    """Discount factor per ply: a sooner win is worth more."""
    gae_lambda: Share = 0.8
    """Lambda of the negamax GAE (generalised advantage estimation)."""
    clip: float = Field(default=0.2, gt=0, lt=1)
    """Clip range of the probability ratio."""
    value_coefficient: float = Field(default=1.0, ge=0)
    """Weight of the value loss."""
    entropy: float = Field(default=0.01, ge=0)
    """Weight of the entropy bonus at the start of the schedule."""
    entropy_final: float = Field(default=0.01, ge=0)
    """Weight of the entropy bonus at the end of the schedule."""
    grad_clip: float = Field(default=0.5, gt=0)
    """Largest gradient norm; a longer gradient is scaled down to it."""
    material: float = Field(default=0.5, ge=0)
    """Weight of material in the bootstrap value at the start of the schedule."""
    material_final: float = Field(default=0.2, ge=0)
    """Weight of material in the bootstrap value at the end of the schedule."""
    declaration_reward: Share = 0.3
    """Reward of a win by declaration. Below 1 (a mate's), games do not become races of kings."""


class OpponentSettings(Section):
    """Frozen copies of the network, which play some of the training games."""

    share: Share = 0.0
    """Share of games against a frozen copy of the network; 0 = none."""
    every: int = Field(default=50, ge=1)
    """Iterations between two copies, and between two draws of the copies that play."""
    recent: int = Field(default=4, ge=1)
    """Newest copies that are kept; each is drawn with equal probability."""
    history: int = Field(default=12, ge=0)
    """Older copies that are kept; a copy that still wins is drawn more often."""
    active: int = Field(default=2, ge=1)
    """Copies that play at a time."""


class DetectorSettings(Section):
    """How the run reacts when learning goes wrong: one setting for each detector.

    ``ignore``: nothing. ``alert``: send an alert. ``rollback``: send an alert and go back to the
    weights of the newest good checkpoint. ``stop``: send an alert and end the run; its checkpoints
    stay.
    """

    entropy_collapse: Reaction = "alert"
    """Reaction when the policy's entropy falls below 5 % of its maximum."""
    entropy_swamp: Reaction = "alert"
    """Reaction when the policy's entropy rises by 25 % of its maximum."""
    draws: Reaction = "alert"
    """Reaction when more than 30 % of the games end by repetition."""
    declarations: Reaction = "alert"
    """Reaction when more than 70 % of the games end by declaration."""
    truncation: Reaction = "alert"
    """Reaction when over half of the games are truncated, 30 points more than at the lowest."""
    value_useless: Reaction = "alert"
    """Reaction when the value head predicts results worse than their mean does."""
    explained_variance: Reaction = "alert"
    """Reaction when the explained variance of the returns is negative."""
    first_mover: Reaction = "alert"
    """Reaction when black's share of the wins is surely above 60 % or below 45 %."""
    ratio: Reaction = "alert"
    """Reaction when the probability ratio is not 1 before the first optimiser step."""
    nonfinite: Reaction = "alert"
    """Reaction when a loss or gradient is not finite; its minibatch is always skipped."""
    nonfinite_stop: int = Field(default=10, ge=1)
    """Skipped minibatches in a row after which the run ends."""
    rollbacks: int = Field(default=3, ge=0)
    """Rollbacks after which the run ends."""


class Compute(Section):
    """How the machine is used. ``auto`` is resolved once and the result kept in ``run.toml``."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the network's layers: auto, float32 or bfloat16; weights stay float32."""
    threads: int = Field(default=0, ge=0, le=256)
    """Torch's CPU threads; 0 = one for each core."""
    compile: bool = False
    """Use torch.compile, on a GPU with CUDA graphs."""


class EvaluationSettings(Section):
    """Matches that are played beside training."""

    share: Share = 0.1
    """Largest share of the device's time that evaluations take from training."""
    every_steps: int = Field(default=0, ge=0)
    """Steps between two regular evaluations of the network; 0 = none."""
    every_minutes: float = Field(default=0, ge=0)
    """Minutes between two regular evaluations of the network; 0 = none."""
    strategy: str = "gauntlet"
    """Strategy of the regular evaluations: gauntlet, or another that is installed."""
    opponents: Names = ("random", "material")
    """Opponents in regular evaluations: random, material, a run, a checkpoint, an engine's name."""
    games: int = Field(default=200, ge=2, multiple_of=2)
    """Games of each match in the regular evaluations."""
    promotion_games: int = Field(default=1000, ge=0, multiple_of=2)
    """Most games of the SPRT against the run's best network, in each evaluation; 0 = no test."""
    promotion_elo: float = Field(default=20, gt=0, le=800)
    """Elo difference of H1 in the SPRT against the run's best network; H0 is +0."""
    memory_mib: int = Field(default=1024, ge=1)
    """Most MiB that the weights of networks loaded for evaluations may take."""
    batch: int = Field(default=4096, ge=1)
    """Most positions that evaluations send to a network at once."""
    engines: Engines = {}
    """Engines by name, each as usi:PATH?nodes=500&OPTION=VALUE."""
    concurrency: int = Field(default=1, ge=1, le=64)
    """Games played at once against an engine; each has its own engine process."""
    max_ply: int = Field(default=512, ge=16, le=512)
    """Plies after which a game of an evaluation is capped."""


class Server(Section):
    """The web service."""

    host: str = "127.0.0.1"
    """Address that the server listens on; only loopback is allowed."""
    port: int = Field(default=8700, ge=0, le=65_535)
    """Port that the server listens on; 0 = any free one."""
    allowed_hosts: Names = ("localhost", "127.0.0.1", "[::1]")
    """Host headers that the server answers."""
    max_streams: int = Field(default=256, ge=1)
    """Event streams that are served at once."""


class LogSettings(Section):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged: debug, info, warning or error."""


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
        """Let the constructor use its arguments alone; ``load`` reads the other sources."""
        return (init_settings,)

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read the settings from TOML files, the environment and ``overrides``; the later wins.

        ``path``: one file or several. ``overrides`` maps dotted keys (``"ppo.gamma"``) to values or
        their text. Raises SettingsError, which names the source, key, bound and value.
        """
        paths = [path] if isinstance(path, str | Path) else path or []
        layers = read_layers(cls, paths, overrides or {})
        try:
            return cls(**merge(layers))
        except ValidationError as error:
            raise explain(error, layers, cls) from None
