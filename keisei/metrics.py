"""The table of all metrics: names, meanings, units, and which values are better."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that a run writes with each iteration."""

    name: str
    meaning: str
    unit: str
    better: Literal["higher", "lower", ""] = ""
    """``higher`` or ``lower`` if such values are better, else empty."""
    when: str = ""
    """Condition under which a run writes the metric; empty if every run writes it."""


_ON_OPPONENTS = "with `opponents.share` above 0"
_AFTER_EVALUATION = "after an evaluation"

METRICS = (
    Metric(
        "train/loss_policy",
        "Policy loss: PPO's clipped surrogate, or the cross-entropy of a proven mating move.",
        "none",
    ),
    Metric(
        "train/loss_value",
        "Cross-entropy of the value head, which predicts win, draw or loss.",
        "nats",
        "lower",
    ),
    Metric("train/entropy", "Entropy of the policy over the legal moves of a position.", "nats"),
    Metric(
        "train/entropy_ratio",
        "Entropy divided by the largest possible entropy (log of the number of legal moves).",
        "share",
    ),
    Metric("train/entropy_weight", "Present weight of the entropy bonus.", "none"),
    Metric(
        "train/kl",
        "Estimated KL divergence of the policy from the policy that played the rollout.",
        "nats",
    ),
    Metric(
        "train/clip_fraction",
        "Share of plies whose probability ratio was outside the clip range.",
        "share",
    ),
    Metric(
        "train/ratio_error",
        "Mean distance of the probability ratio from 1 before the optimiser's first step (rounding error).",
        "none",
        "lower",
    ),
    Metric("train/grad_norm", "Norm of the gradient before it is clipped.", "none"),
    Metric(
        "train/skipped",
        "Number of minibatches that were skipped because their loss or gradient was not finite.",
        "count",
        "lower",
    ),
    Metric(
        "train/skipped_in_a_row",
        "Largest number of consecutive skipped minibatches.",
        "count",
        "lower",
    ),
    Metric("train/lr", "Present learning rate.", "none"),
    Metric("train/material", "Present weight of material in the bootstrap value.", "none"),
    Metric(
        "train/explained_variance",
        "Share of the returns' variance that the value head predicted before the update.",
        "share",
        "higher",
    ),
    Metric("train/return_variance", "Variance of the returns, which are in [-1, 1].", "none"),
    Metric(
        "train/value_unseen",
        "Cross-entropy of the value head on a rollout before the network learns from the rollout.",
        "nats",
        "lower",
    ),
    Metric(
        "train/value_base_rate",
        "Cross-entropy of a constant prediction, the mean target; baseline for `train/value_unseen`.",
        "nats",
    ),
    Metric(
        "train/advantage_rms", "Root mean square of the advantages before they are scaled.", "none"
    ),
    Metric(
        "train/draw_probability",
        "Mean probability that the value head gives to a draw.",
        "share",
    ),
    Metric(
        "train/mates",
        "Share of the learner's plies on which the side to move had a proven mate (`env.mates`).",
        "share",
    ),
    Metric(
        "train/mate_probability",
        "Mean probability of the proven mating moves before the update; NaN if no mate was proven.",
        "share",
        "higher",
    ),
    Metric(
        "games/ended", "Number of self-play games that ended in the last 20 iterations.", "count"
    ),
    Metric("games/new", "Number of self-play games that ended in this iteration.", "count"),
    Metric("games/length", "Mean length of the ended games.", "plies"),
    Metric("games/decisive", "Share of the ended games that have a winner.", "share", "higher"),
    Metric(
        "games/black_score",
        "Mean score of black (sente): win 1, loss 0, any other end 1/2.",
        "share",
    ),
    Metric("games/black_wins", "Number of games that black (sente) won.", "count"),
    Metric("games/white_wins", "Number of games that white (gote) won.", "count"),
    Metric("games/checkmate", "Share of games that ended by checkmate.", "share"),
    Metric(
        "games/no_moves", "Share of games that ended because a side had no legal move.", "share"
    ),
    Metric(
        "games/repetition", "Share of games that ended in a draw by fourfold repetition.", "share"
    ),
    Metric("games/perpetual_check", "Share of games that a side lost by perpetual check.", "share"),
    Metric(
        "games/declaration",
        "Share of games that ended by a declaration under the rule `env.declaration`.",
        "share",
    ),
    Metric(
        "games/truncated",
        "Share of the ended games that were truncated at `env.max_ply` plies.",
        "share",
        "lower",
    ),
    Metric(
        "opponents/members",
        "Number of frozen networks that can be chosen as opponents.",
        "count",
        when=_ON_OPPONENTS,
    ),
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
        "Number of plies that frozen networks played; such plies do not count as steps.",
        "plies",
        when=_ON_OPPONENTS,
    ),
    Metric(
        "eval/score", "Score of the newest evaluation.", "share", "higher", when=_AFTER_EVALUATION
    ),
    Metric(
        "eval/elo",
        "Elo in the newest evaluation: relative to the anchor if there were several matches, else "
        "relative to the opponent.",
        "Elo",
        "higher",
        "after an evaluation, but not after a single match with score 0 or 1",
    ),
    Metric(
        "speed/steps_per_second",
        "Number of steps divided by the time of training and evaluation together.",
        "steps/s",
        "higher",
    ),
    Metric(
        "speed/share_evaluation",
        "Share of the time of training and evaluation that is spent on evaluation.",
        "share",
    ),
    Metric(
        "speed/share_inference",
        "Share of the iteration's time that the device thread spends on network inference.",
        "share",
    ),
    Metric(
        "speed/share_sampling",
        "Share of the iteration's time that is spent on sampling moves.",
        "share",
    ),
    Metric(
        "speed/share_opponents",
        "Share of the iteration's time that is spent on the moves of frozen networks.",
        "share",
    ),
    Metric(
        "speed/share_env",
        "Share of the iteration's time that is spent on the rules of shogi.",
        "share",
    ),
    Metric(
        "speed/share_gae",
        "Share of the iteration's time that is spent on computing advantages and targets.",
        "share",
    ),
    Metric(
        "speed/share_update",
        "Share of the iteration's time that is spent on the update of the weights.",
        "share",
    ),
    Metric(
        "speed/limit_ratio",
        "Share of the iteration's time that is spent on the network (inference and update).",
        "share",
        "higher",
        "on the CPU",
    ),
    Metric("system/rss_bytes", "Resident memory of the process.", "bytes"),
    Metric(
        "system/heap_bytes",
        "Bytes of the C heap that are in use; 0 if this number is unknown.",
        "bytes",
    ),
    Metric(
        "system/device_bytes",
        "GPU memory that torch has allocated; 0 if the device is the CPU.",
        "bytes",
    ),
    Metric(
        "system/loop_lag_ms",
        "Largest delay of the event loop since the previous iteration.",
        "ms",
        "lower",
    ),
    Metric("system/clients", "Number of open event streams.", "count"),
    Metric(
        "system/callback_failures",
        "Number of exceptions that the hooks of callbacks have raised since the start.",
        "count",
        "lower",
        "with `plugins.callbacks`",
    ),
    Metric(
        "system/dropped",
        "Number of events that were dropped since the start because a queue was full.",
        "count",
        "lower",
    ),
)
"""All metrics that Keisei writes. The metrics of a group (the part before ``/``) are adjacent."""

NAMES = frozenset(metric.name for metric in METRICS)


def markdown_table() -> str:
    """Return the Markdown table of all metrics, which ``docs/guide/metrics.md`` contains."""
    rows = ["| metric | meaning | unit | better | written |", "|---|---|---|---|---|"]
    rows += [
        f"| `{m.name}` | {m.meaning} | {m.unit} | {m.better or '–'} | {m.when or 'always'} |"
        for m in METRICS
    ]
    return "\n".join(rows) + "\n"
