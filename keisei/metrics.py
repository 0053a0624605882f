"""The table of all metrics: name, meaning, unit, and whether higher or lower is better."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that a run writes with each iteration."""

    name: str
    meaning: str
    unit: str
    better: Literal["higher", "lower", ""] = ""
    """Whether higher or lower values are better; empty if neither is true."""
    when: str = ""
    """Condition under which a run writes the metric; empty if every run writes it."""


_ON_OPPONENTS = "with `opponents.share` above 0"
_AFTER_EVALUATION = "after an evaluation"

METRICS = (
    Metric("train/loss_policy", "Clipped surrogate loss of the policy (PPO).", "none"),
    Metric("train/loss_value", "Cross-entropy of the win/draw/loss head.", "nats", "lower"),
    Metric("train/entropy", "Entropy of the policy over legal moves.", "nats"),
    Metric(
        "train/entropy_ratio",
        "Entropy divided by its maximum, the log of the number of legal moves.",
        "share",
    ),
    Metric("train/entropy_weight", "Weight of the entropy bonus, by its schedule.", "none"),
    Metric("train/kl", "Estimated KL divergence of the policy from the rollout's policy.", "nats"),
    Metric(
        "train/clip_fraction",
        "Share of plies whose probability ratio was outside the clip range.",
        "share",
    ),
    Metric(
        "train/ratio_error",
        "Mean numerical error: distance of the probability ratio from 1 before the first step.",
        "none",
        "lower",
    ),
    Metric("train/grad_norm", "Norm of the gradient before it is clipped.", "none"),
    Metric(
        "train/skipped",
        "Minibatches that were skipped because the loss or gradient was not finite.",
        "count",
        "lower",
    ),
    Metric(
        "train/skipped_in_a_row",
        "Largest number of consecutive skipped minibatches.",
        "count",
        "lower",
    ),
    Metric("train/lr", "Learning rate, by its schedule.", "none"),
    Metric("train/material", "Weight of material in the bootstrap value, by its schedule.", "none"),
    Metric(
        "train/explained_variance",
        "Share of the returns' variance that the value head predicted before the update.",
        "share",
        "higher",
    ),
    Metric("train/return_variance", "Variance of the returns, which are in [-1, 1].", "none"),
    Metric(
        "train/value_unseen",
        "Cross-entropy of the value head on the rollout, before it learns from this rollout.",
        "nats",
        "lower",
    ),
    Metric(
        "train/value_base_rate",
        "Cross-entropy of a constant, the mean target: compare `train/value_unseen` with it.",
        "nats",
    ),
    Metric("train/advantage_rms", "Root mean square of the advantages before scaling.", "none"),
    Metric(
        "train/draw_probability",
        "Mean probability of a draw that the value head predicts.",
        "share",
    ),
    Metric("games/ended", "Self-play games that ended in the last 20 iterations.", "count"),
    Metric("games/length", "Mean length of ended games.", "plies"),
    Metric("games/decisive", "Share of ended games that have a winner.", "share", "higher"),
    Metric(
        "games/black_score",
        "Mean score of black (sente): win 1, loss 0, any other end 1/2.",
        "share",
    ),
    Metric("games/black_wins", "Games that black (sente) won.", "count"),
    Metric("games/white_wins", "Games that white (gote) won.", "count"),
    Metric("games/checkmate", "Share of games that ended by checkmate.", "share"),
    Metric(
        "games/no_moves", "Share of games that ended because a side had no legal move.", "share"
    ),
    Metric(
        "games/repetition", "Share of games that ended as a draw by fourfold repetition.", "share"
    ),
    Metric(
        "games/perpetual_check", "Share of games that ended as a loss by perpetual check.", "share"
    ),
    Metric(
        "games/declaration",
        "Share of games that ended by a declaration under the rule `env.declaration`.",
        "share",
    ),
    Metric(
        "games/truncated",
        "Share of ended games that were truncated at `env.max_ply`.",
        "share",
        "lower",
    ),
    Metric("opponents/members", "Frozen networks in the pool.", "count", when=_ON_OPPONENTS),
    Metric(
        "opponents/score_recent",
        "The learner's mean score against the newest frozen networks.",
        "share",
        "higher",
        _ON_OPPONENTS,
    ),
    Metric(
        "opponents/score_history",
        "The learner's mean score against the older frozen networks.",
        "share",
        "higher",
        _ON_OPPONENTS,
    ),
    Metric(
        "opponents/plies",
        "Plies that frozen networks played; they are not counted as steps.",
        "plies",
        when=_ON_OPPONENTS,
    ),
    Metric(
        "eval/score", "Score of the newest evaluation.", "share", "higher", when=_AFTER_EVALUATION
    ),
    Metric(
        "eval/elo",
        "Elo in the newest evaluation, relative to the opponent or, with several, to the anchor.",
        "Elo",
        "higher",
        "after an evaluation that is neither all wins nor all losses",
    ),
    Metric(
        "speed/steps_per_second",
        "Steps per second of training and evaluation together.",
        "steps/s",
        "higher",
    ),
    Metric(
        "speed/share_evaluation", "Share of the total time that was spent on evaluations.", "share"
    ),
    Metric(
        "speed/share_inference",
        "Share of the iteration's time spent on network inference.",
        "share",
    ),
    Metric(
        "speed/share_sampling", "Share of the iteration's time spent on sampling moves.", "share"
    ),
    Metric(
        "speed/share_opponents", "Share of the iteration's time spent on frozen networks.", "share"
    ),
    Metric(
        "speed/share_env", "Share of the iteration's time spent on the rules of shogi.", "share"
    ),
    Metric(
        "speed/share_gae", "Share of the iteration's time spent on advantages and targets.", "share"
    ),
    Metric("speed/share_update", "Share of the iteration's time spent on the update.", "share"),
    Metric(
        "speed/limit_ratio",
        "Share of the iteration's time spent on the network: inference and update.",
        "share",
        "higher",
        "on the CPU",
    ),
    Metric("system/rss_bytes", "Resident memory of the process.", "bytes"),
    Metric("system/heap_bytes", "Memory in use in the C heap; 0 if it is unknown.", "bytes"),
    Metric("system/device_bytes", "GPU memory that torch has allocated; 0 on the CPU.", "bytes"),
    Metric(
        "system/loop_lag_ms",
        "Largest delay of the event loop since the previous iteration.",
        "ms",
        "lower",
    ),
    Metric("system/clients", "Open event streams.", "count"),
    Metric(
        "system/dropped",
        "Events that were dropped since the start because a queue was full.",
        "count",
        "lower",
    ),
)
"""Every metric that Keisei writes, grouped by the part of the name before the slash."""

NAMES = frozenset(metric.name for metric in METRICS)


def markdown_table() -> str:
    """Return the table in Markdown. ``docs/guide/metrics.md`` contains this text."""
    rows = ["| metric | meaning | unit | better | written |", "|---|---|---|---|---|"]
    rows += [
        f"| `{m.name}` | {m.meaning} | {m.unit} | {m.better or '–'} | {m.when or 'always'} |"
        for m in METRICS
    ]
    return "\n".join(rows) + "\n"
