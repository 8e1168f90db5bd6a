"""What a reader must know of the pruning of a network or a study, in words, from rows of numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NEGLIGIBLE = 0.001
"""The share of all parameters from which it is told, without being asked, what has no mask."""

REMEDIES: Mapping[str, str] = {
    "parametrised": "make parametrised weights plain first (torch.nn.utils.parametrize.remove_parametrizations, or "
    "torch.nn.utils.prune.remove, remove_weight_norm, remove_spectral_norm)",
    "quantised": "prune before quantising",
}
"""What to do about tensors of a role that cannot simply be asked for."""

COLLAPSE_REMEDY = (
    "use a scope that gives every layer its share (erk, uniform or per-layer), prune less, or exclude the layer"
)


def left_out_sentence(parameters: int, left_out: Mapping[str, tuple[str, int]]) -> str:
    """Say what pruning leaves out, with its share and what to do; empty if it is less than a thousandth.

    Args:
        parameters: number of all parameters of the network.
        left_out: what has no mask: (role, number of elements) by name, largest first.
    """
    share = sum(count for _, count in left_out.values()) / max(parameters, 1)
    if share < NEGLIGIBLE:
        return ""
    named = [f"{name} ({role}, {count / parameters:.1%})" for name, (role, count) in [*left_out.items()][:6]]
    more = f" and {len(left_out) - 6} more" if len(left_out) > 6 else ""
    roles = {role for role, _ in left_out.values()}
    plain = ["name in include what shall be pruned, too"] if roles - set(REMEDIES) else []
    todo = [*plain, *(REMEDIES[role] for role in REMEDIES if role in roles)]
    return (
        f"of {parameters:,} parameters pruning leaves out {share:.1%}, besides biases and "
        f"norms: {', '.join(named)}{more}; {', '.join(todo)}"
    )


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a reader of a study must know of its pruning, as sentences, given its row for each layer."""
    return [*_left_out(rows), *_collapsed(rows)]


def _left_out(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say for each network of the study which of its tensors are never pruned, if any are."""
    if not any(row["kept"] < row["weights"] for row in rows if "masked" in row):
        return []
    pruned = {row["layer"] for row in rows if row.get("masked")}
    networks: dict[str, dict[str, Mapping[str, Any]]] = {}  # by checkpoint: rows by layer
    for row in rows:
        if row.get("masked") == 0 and row["layer"] not in pruned:
            networks.setdefault(row["fingerprint"], {})[row["layer"]] = row
    found = [
        left_out_sentence(
            max(round(row["weights"] / row["share_of_all"]) for row in network.values()),
            {layer: (row["role"], row["weights"]) for layer, row in network.items()},
        )
        for network in networks.values()
    ]
    return [sentence for sentence in dict.fromkeys(found) if sentence]


def _collapsed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which layers have collapsed, in how many of the study's checkpoints."""
    layers: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("collapsed"):
            layers.setdefault(row["layer"], []).append(row)
    checkpoints = len({row["fingerprint"] for row in rows})
    each = [
        f"{layer} in {len(found)} of {checkpoints} checkpoints, from level {min(row['level'] for row in found)} on, "
        f"down to {min(row['kept'] for row in found):,} of {found[0]['weights']:,} weights"
        for layer, found in layers.items()
    ]
    return [f"layer collapse: {'; '.join(each)}; {COLLAPSE_REMEDY}"] if each else []
