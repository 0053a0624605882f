"""The settings of a run: one frozen tree, from defaults < TOML < environment < command line.

Environment variables are named ``KEISEI_PPO__GAMMA``. Unknown keys are errors everywhere.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
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
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from keisei.hint import did_you_mean

ENV_PREFIX = "KEISEI_"


def _split(value: Any) -> Any:
    """A list given as text, ``a,b`` or JSON, as on a command line or in the environment."""
    if not isinstance(value, str):
        return value
    if value.startswith("[") and not re.match(r"\[[\da-fA-F]*:", value):  # as "[::1]" does
        return _json(value, 'a list: a,b or, as JSON, ["a", "b"]')
    return [part.strip() for part in value.split(",")]


def _table(value: Any) -> Any:
    """A table given as JSON text, as on a command line or in the environment."""
    if not isinstance(value, str):
        return value
    return _json(value, 'a table, as JSON: {"name": "usi:PATH?nodes=500"}')


def _json(text: str, wanted: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise ValueError(f"must be {wanted}") from None


def whole(text: str) -> int:
    """A whole number as a person writes it: ``1000000``, ``1_000_000``, ``1e6``. Raises ValueError."""
    with suppress(ValueError):
        return int(text)  # exact, however long
    with suppress(ValueError):
        number = float(text)
        if number.is_integer():
            return int(number)
    raise ValueError("must be a whole number")


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError("must be auto, cpu, cuda or cuda:N")
    return value


Device = Annotated[
    str,
    AfterValidator(_device),
    Field(description="Where it runs: auto, cpu, cuda or cuda:N."),
]
Share = Annotated[float, Field(ge=0, le=1)]
Reaction = Literal["ignore", "alert", "rollback", "stop"]
Names = Annotated[tuple[str, ...], BeforeValidator(_split), NoDecode]


Engines = Annotated[dict[str, str], BeforeValidator(_table), NoDecode]


class SettingsError(ValueError):
    """Settings that can't be used. One line per problem: where, key, bound, value."""


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _read_whole(cls, value: Any, info: ValidationInfo) -> Any:
        """Whole numbers that a flag or the environment gives as text."""
        wanted = cls.model_fields[info.field_name or ""].annotation
        return whole(value) if wanted is int and isinstance(value, str) else value


class Run(Section):
    """How long a run lasts and what it keeps."""

    root: Path = Field(default=Path("runs"), description="Folder that holds the run directories.")
    steps: int = Field(
        default=0, ge=0, description="End after this many steps (plies); 0 = endless."
    )
    minutes: float = Field(default=0, ge=0, description="End after this many minutes; 0 = endless.")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of every random generator of the run."
    )
    checkpoint_seconds: float = Field(default=60, gt=0, description="Seconds between checkpoints.")
    checkpoints_kept: int = Field(
        default=5, ge=1, description="Checkpoints kept; the oldest go first."
    )
    games_recorded: int = Field(
        default=32, ge=1, description="One self-play game in this many is recorded."
    )


class Schedule(Section):
    """Over how many steps the annealed settings go from their first to their ``*_final`` value."""

    steps: int = Field(
        default=1_500_000, gt=0, description="Steps from the first value to the last."
    )


class Env(Section):
    """The vectorised games."""

    games: int = Field(default=128, ge=1, le=65_536, description="Games played side by side.")
    max_ply: int = Field(default=256, ge=16, le=512, description="Plies after which a game is cut.")
    declaration: Literal["27", "24", "none"] = Field(
        default="27", description="Entering-king declaration rule."
    )
    reset_share: Share = Field(
        default=0.65, description="Share of games begun from mid-game positions at the start."
    )
    reset_share_final: Share = Field(default=0.65, description="... and at the end.")
    reset_depth: int = Field(
        default=180, ge=0, le=512, description="Deepest random start position, plies."
    )
    reset_pool: int = Field(default=2048, ge=1, description="Mid-game positions in the pool.")
    reset_refresh: int = Field(
        default=20, ge=1, description="Iterations between draws of a new pool."
    )
    threads: int = Field(default=1, ge=1, le=64, description="Threads that step the games.")


class Net(Section):
    """The network."""

    kind: str = Field(default="se_resnet", description="Name in the registry of networks.")
    blocks: int = Field(default=2, ge=1, le=80, description="Residual blocks.")
    channels: int = Field(
        default=32, ge=8, le=1024, multiple_of=8, description="Channels of the trunk."
    )


class PPO(Section):
    """Proximal policy optimisation. ``*_final`` values are reached at ``schedule.steps``."""

    rollout_plies: int = Field(
        default=32, ge=1, le=1024, description="Plies a game in one rollout."
    )
    minibatch: int = Field(default=1024, ge=1, description="Positions a minibatch.")
    epochs: int = Field(default=2, ge=1, le=20, description="Passes over a rollout.")
    learning_rate: float = Field(default=1e-3, gt=0, description="AdamW's step size at the start.")
    learning_rate_final: float = Field(default=3e-4, ge=0, description="... and at the end.")
    weight_decay: float = Field(default=1e-4, ge=0, description="AdamW's decoupled weight decay.")
    gamma: float = Field(default=0.98, gt=0, le=1, description="Discount a ply.")
    gae_lambda: Share = Field(default=0.8, description="Lambda of the negamax GAE.")
    clip: float = Field(default=0.2, gt=0, lt=1, description="Clip range of the probability ratio.")
    value_coefficient: float = Field(default=1.0, ge=0, description="Weight of the value loss.")
    entropy: float = Field(
        default=0.01, ge=0, description="Weight of the entropy bonus at the start."
    )
    entropy_final: float = Field(default=0.01, ge=0, description="... and at the end.")
    grad_clip: float = Field(default=0.5, gt=0, description="Largest gradient norm.")
    material: float = Field(
        default=0.5, ge=0, description="Weight of material in the bootstrap value at the start."
    )
    material_final: float = Field(default=0.2, ge=0, description="... and at the end.")
    declaration: Share = Field(
        default=0.3,
        description="What a win by declaration is worth in training: less than a mate's 1 keeps "
        "games from becoming races of kings.",
    )


class OpponentSettings(Section):
    """Older selves in some of the games."""

    share: Share = Field(default=0.0, description="Share of games against a frozen opponent.")
    every: int = Field(
        default=50, ge=1, description="Iterations between frozen copies, and between draws."
    )
    recent: int = Field(default=4, ge=1, description="Newest copies, drawn with equal probability.")
    history: int = Field(
        default=12, ge=0, description="Older copies, drawn by how much they still win."
    )
    active: int = Field(default=2, ge=1, description="Copies that play at a time.")


class DetectorSettings(Section):
    """What to do when learning goes wrong, by detector.

    ``ignore``; ``alert`` tells it; ``rollback`` also goes back to the weights of the newest checkpoint
    at which nothing was wrong; ``stop`` ends the run, whose checkpoints stay.
    """

    entropy_collapse: Reaction = Field(
        default="alert", description="Moves are hardly drawn any more: entropy under 5 %."
    )
    entropy_swamp: Reaction = Field(
        default="alert", description="Moves become random again: entropy rose by a quarter."
    )
    draws: Reaction = Field(default="alert", description="More than 30 % end by repetition.")
    declarations: Reaction = Field(default="alert", description="More than 70 % by declaration.")
    truncation: Reaction = Field(
        default="alert", description="Games cut at the maximum ply rose by 30 points past half."
    )
    value_useless: Reaction = Field(
        default="alert", description="The value head is worse than the mean outcome."
    )
    explained_variance: Reaction = Field(
        default="alert", description="The value head explains less than nothing."
    )
    first_mover: Reaction = Field(
        default="alert", description="Black wins more than 60 % or less than 45 % for sure."
    )
    ratio: Reaction = Field(
        default="alert", description="The probability ratio is not 1 before the first step."
    )
    nonfinite: Reaction = Field(
        default="alert", description="Loss or gradient not finite; such a minibatch is skipped."
    )
    nonfinite_stop: int = Field(
        default=10, ge=1, description="Skipped minibatches in a row that end the run."
    )
    rollbacks: int = Field(default=3, ge=0, description="Rollbacks before the run is ended.")


class Compute(Section):
    """How the machine is used. ``auto`` is decided once and kept in ``run.toml``."""

    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Precision of the network's layers (weights stay float32)."
    )
    threads: int = Field(default=0, ge=0, le=256, description="Torch's threads; 0 = all cores.")
    compile: bool = Field(
        default=False, description="Use torch.compile, on a GPU with CUDA graphs."
    )


class EvaluationSettings(Section):
    """Matches played beside training."""

    share: Share = Field(
        default=0.1, description="Largest share of the device's time for evaluation."
    )
    every_steps: int = Field(
        default=0, ge=0, description="Steps between two evaluations of the network; 0 = none."
    )
    every_minutes: float = Field(
        default=0, ge=0, description="Minutes between two evaluations of the network; 0 = none."
    )
    strategy: str = Field(default="gauntlet", description="Of these evaluations.")
    opponents: Names = Field(
        default=("random", "material"),
        description="Of these: random, material, a run or checkpoint, or one of the engines.",
    )
    games: int = Field(default=200, ge=2, multiple_of=2, description="Games of a match.")
    promotion_games: int = Field(
        default=1000,
        ge=0,
        multiple_of=2,
        description="Most games of the sequential test beside each of these evaluations: the "
        "network against the run's best so far, whose place it takes if it is stronger; 0 = no test.",
    )
    promotion_elo: float = Field(
        default=20, gt=0, le=800, description="Difference that this test looks for, against none."
    )
    memory_mib: int = Field(
        default=1024, ge=1, description="Most MiB of networks' weights that evaluations may load."
    )
    batch: int = Field(
        default=4096, ge=1, description="Most positions that evaluations ask a network at once."
    )
    engines: Engines = Field(
        default={}, description="Engines by name: usi:PATH?nodes=500&OPTION=VALUE."
    )
    concurrency: int = Field(
        default=1, ge=1, le=64, description="Games at once against an engine: processes of it."
    )
    max_ply: int = Field(
        default=512, ge=16, le=512, description="Plies after which a game is capped."
    )


class Server(Section):
    """The web service."""

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; loopback only for now."
    )
    port: int = Field(
        default=8700, ge=0, le=65_535, description="Port to listen on; 0 = any free one."
    )
    allowed_hosts: Names = Field(
        default=("localhost", "127.0.0.1", "[::1]"),
        description="Host headers that are answered.",
    )
    max_streams: int = Field(default=256, ge=1, description="Event streams served at once.")


class LogSettings(Section):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Threshold."
    )


class Settings(BaseSettings):
    """Everything a run needs to know. ``Settings.load(path)`` reads a TOML file."""

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
        """Direct construction takes its arguments alone; ``load`` brings in the other sources."""
        return (init_settings,)

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """Settings from TOML files, the environment and overrides, the later winning.

        ``path``: one file or several. ``overrides`` maps dotted keys (``"ppo.gamma"``) to values or
        their text. Raises SettingsError naming file or source, key, bound and value.
        """
        paths = [path] if isinstance(path, str | Path) else path or []
        layers = [(str(each), _read_toml(Path(each))) for each in paths]
        layers.append(("environment", _read_environment(cls)))
        layers.append(("command line", _nest(overrides or {})))
        try:
            return cls(**reduce(_merge, (tree for _, tree in layers)))
        except ValidationError as error:
            raise SettingsError(_explain(error, layers[::-1])) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows writes a mark first
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file or folder") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None


def _read_environment(settings: type[Settings]) -> dict[str, Any]:
    known = {
        f"{ENV_PREFIX}{name}__{key}".upper()
        for name, field in settings.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    } | {f"{ENV_PREFIX}{name}".upper() for name in settings.model_fields}
    for name in os.environ:
        word = name.upper()
        if word.startswith(ENV_PREFIX) and word not in known:
            key = word.removeprefix(ENV_PREFIX).strip("_")
            nearer = {found for found in known if found.endswith(f"__{key}")}
            hint = did_you_mean(word, nearer or known)
            raise SettingsError(f"environment: {name}: no such setting{hint}")
    return EnvSettingsSource(settings)()


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, leaf = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    return tree


def _merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _explain(error: ValidationError, layers: Sequence[tuple[str, dict[str, Any]]]) -> str:
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        source = next((name for name, tree in layers if _holds(tree, path)), "settings")
        message = problem["msg"].replace("Input should be", "must be", 1)
        message = message.removeprefix("Value error, ")
        if problem["type"] == "model_type":
            message = "is a section: set one of its keys"
        elif problem["type"] == "extra_forbidden":
            section = Settings.model_fields.get(path[0])
            names = getattr(section.annotation, "model_fields", {}) if section else {}
            message = "no such setting" + did_you_mean(path[-1], names or Settings.model_fields)
        lines.append(f"{source}: {'.'.join(path)}: {message} (got {problem['input']!r})")
    return "\n".join(lines)


def _holds(tree: Any, path: list[str]) -> bool:
    for part in path:
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


__all__ = ["Settings", "SettingsError"]
