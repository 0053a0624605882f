"""The table of all metrics: each one's name, meaning, unit, and which direction is better."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that a run writes with each iteration."""

    name: str
    meaning: str
    unit: str
    better: Literal["higher", "lower", ""] = ""
    """Empty where neither direction is better in itself."""
    when: str = ""
    """Condition under which a run writes it; empty if every run does."""


_ON_OPPONENTS = "with `opponents.share` above 0"
_AFTER_EVALUATION = "after an evaluation"

METRICS = (
    Metric("train/loss_policy", "Clipped surrogate loss of the policy (PPO).", "none"),
    Metric("train/loss_value", "Cross-entropy of the win/draw/loss head.", "nats", "lower"),
    Metric("train/entropy", "Entropy of the policy over legal moves.", "nats"),
    Metric("train/entropy_ratio", "Entropy over its maximum, the log of the legal moves.", "share"),
    Metric("train/entropy_weight", "Weight of the entropy bonus, by its schedule.", "none"),
    Metric("train/kl", "Estimated KL divergence of the policy from the rollout's.", "nats"),
    Metric("train/clip_fraction", "Plies whose probability ratio was outside the clip.", "share"),
    Metric(
        "train/ratio_error",
        "Mean distance of the probability ratio from 1 before the first step: numerical error.",
        "none",
        "lower",
    ),
    Metric("train/grad_norm", "Norm of the gradient before it is clipped.", "none"),
    Metric(
        "train/skipped", "Minibatches skipped: loss or gradient was not finite.", "count", "lower"
    ),
    Metric("train/skipped_in_a_row", "Longest row of skipped minibatches.", "count", "lower"),
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
        "Cross-entropy of the value head on the rollout, before it learns from it.",
        "nats",
        "lower",
    ),
    Metric(
        "train/value_base_rate",
        "Cross-entropy of a constant prediction: the mean target. Compare `train/value_unseen`.",
        "nats",
    ),
    Metric("train/advantage_rms", "Root mean square of the advantages before scaling.", "none"),
    Metric("train/draw_probability", "Mean probability of a draw, by the value head.", "share"),
    Metric("games/ended", "Self-play games that ended in the last 20 iterations.", "count"),
    Metric("games/length", "Mean length of ended games.", "plies"),
    Metric("games/decisive", "Ended games that have a winner.", "share", "higher"),
    Metric("games/black_score", "Mean score of black (sente); any other end counts half.", "share"),
    Metric("games/black_wins", "Games that black (sente) won.", "count"),
    Metric("games/white_wins", "Games that white (gote) won.", "count"),
    Metric("games/checkmate", "Ended games that ended by checkmate.", "share"),
    Metric("games/no_moves", "Ended games in which a side had no legal move.", "share"),
    Metric("games/repetition", "Ended games drawn by fourfold repetition.", "share"),
    Metric("games/perpetual_check", "Ended games lost by perpetual check.", "share"),
    Metric(
        "games/declaration",
        "Ended games won by declaration, by the rule of `env.declaration`.",
        "share",
    ),
    Metric("games/truncated", "Ended games cut off at `env.max_ply`.", "share", "lower"),
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
        "Elo in the newest evaluation: over its opponent, or over the anchor of several matches.",
        "Elo",
        "higher",
        "after an evaluation that was not won or lost entirely",
    ),
    Metric(
        "speed/steps_per_second",
        "Steps per second of training and evaluation together.",
        "steps/s",
        "higher",
    ),
    Metric("speed/share_evaluation", "Share of the time that evaluation took.", "share"),
    Metric(
        "speed/share_inference", "Time of the iteration spent in the network's answers.", "share"
    ),
    Metric("speed/share_sampling", "Time of the iteration spent drawing moves.", "share"),
    Metric("speed/share_opponents", "Time of the iteration spent on frozen networks.", "share"),
    Metric("speed/share_env", "Time of the iteration spent on the rules.", "share"),
    Metric("speed/share_gae", "Time of the iteration spent on advantages and targets.", "share"),
    Metric("speed/share_update", "Time of the iteration spent on the update.", "share"),
    Metric(
        "speed/limit_ratio",
        "Time of the iteration spent in the network: its answers and its update.",
        "share",
        "higher",
        "on the CPU",
    ),
    Metric("system/rss_bytes", "Resident memory of the process.", "bytes"),
    Metric("system/heap_bytes", "Memory in use in the C heap; 0 if it is unknown.", "bytes"),
    Metric("system/device_bytes", "GPU memory that torch has allocated; 0 on the CPU.", "bytes"),
    Metric(
        "system/loop_lag_ms",
        "Largest delay of the event loop since the iteration before.",
        "ms",
        "lower",
    ),
    Metric("system/clients", "Open event streams.", "count"),
    Metric("system/dropped", "Events that full queues dropped since the start.", "count", "lower"),
)
"""Every metric that Keisei writes, grouped by the part of the name before the slash."""

NAMES = frozenset(metric.name for metric in METRICS)


def markdown_table() -> str:
    """Return the table as Markdown, as ``docs/guide/metrics.md`` holds it."""
    rows = ["| metric | meaning | unit | better | written |", "|---|---|---|---|---|"]
    rows += [
        f"| `{m.name}` | {m.meaning} | {m.unit} | {m.better or '–'} | {m.when or 'always'} |"
        for m in METRICS
    ]
    return "\n".join(rows) + "\n"
