"""What a checkpoint cost to make and costs to use."""

from collections.abc import Mapping
from typing import ClassVar

from overparam.checkpoint import Checkpoint
from overparam.networks import applications
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.spec import spec


@PROBES.named("cost")
@spec
class Cost(Probe):
    """Seconds, peak memory and engine of the step, bytes of the checkpoint on disk, multiply-adds dense and effective.

    ``multiply_adds`` is for the forward pass of one example with dense layers, ``multiply_adds_effective`` counts
    kept weights only: what an engine that skips zeros would do. ``seconds``, ``seconds_before`` (of all steps of the
    chain that led to this one, such as those that found its mask; checkpoints of other chains not counted) and
    ``peak_memory_bytes`` (the high-water mark of the whole process) are measured, so they differ from run to run;
    ``bytes`` is the file as stored.
    ``engine`` tells what the step was computed with: ``dense``, ``sparse``, or ``mixed`` where some layers were sparse;
    each layer has its own. ``engine_note`` says whether a network was computed as a whole or layer by layer, what
    stayed dense, and why. Both are empty for steps that compute nothing.
    """

    kind: ClassVar[str] = "cost"
    version: ClassVar[int] = 4  # 4: seconds_before
    columns: ClassVar[Mapping[str, type]] = {
        **{"multiply_adds": int, "multiply_adds_effective": int},
        **{"seconds": float, "seconds_before": float, "peak_memory_bytes": int, "bytes": int},
        **{"engine": str, "engine_note": str},
    }
    measured: ClassVar[tuple[str, ...]] = ("seconds", "seconds_before", "peak_memory_bytes")
    layer_columns: ClassVar[Mapping[str, type]] = {"multiply_adds": int, "multiply_adds_effective": int, "engine": str}

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Count how often each weight is applied to one example, and copy what was recorded of the step."""
        uses = applications(view.module(), view.world.test.inputs[:1])
        engines: dict[str, str] = view.facts.get("engines") or {}
        layers: dict[str, dict[str, float | int | str | None]] = {}
        for name, mask in checkpoint.masks.items():
            times = uses.get(name, 0)
            layers[name] = {
                "multiply_adds": times * mask.numel(),
                "multiply_adds_effective": times * int(mask.sum()),
                **({"engine": engines[name]} if name in engines else {}),
            }
        totals = {
            column: sum(int(layer[column] or 0) for layer in layers.values())
            for column in ("multiply_adds", "multiply_adds_effective")
        }
        recorded = {name: view.facts.get(name) for name in ("seconds", "seconds_before", "peak_memory_bytes", "bytes")}
        used = set(engines.values())
        engine = ("mixed" if len(used) > 1 else used.pop()) if used else None
        note = view.facts.get("engine_note") or None
        return Measurements({**totals, **recorded, "engine": engine, "engine_note": note}, layers)
