"""How long the commands that only read take on a large store. Bar: 2 s each, imports included, and no torch.

Run with ``python benchmarks/store_reading.py``. A study of 10,000 rows is planned as any other (10 arms, 25 levels, 40
seeds: 19,640 checkpoints and 40,000 measurements), and what its steps and probes would have found is made up and
written under their addresses, so that nothing is trained. Then each command is run several times, as a process of its
own. The first time all numbers are read, file by file; later times what was read is found in the cache. Times are by
the clock and of the processor: the former say more on an idle machine, the latter on a busy one.

``--keep FOLDER`` keeps the store there, or takes the one that is there.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STUDY = """\
name: large
world: {dataset: digits, train_size: 200, label_noise: {kind: symmetric, rate: 0.2}}
network: {name: mlp, hidden: [16, 16]}
train: {lr: 0.1, batch_size: 32, epochs: 10}
prune: {fraction: 0.2, allow_empty: true}
chain: [train, {repeat: LEVELS, steps: [prune, train]}]
sweep: {seed: SEEDS}
variants: VARIANTS
"""
MACHINE = ("overparam", "torch", "numpy", "python", "system", "processor", "cores", "threads")
COMMANDS = ("store ls", "table", "report", "run", "get large")
PROGRAM = """
import atexit, sys
atexit.register(lambda: "torch" in sys.modules and print("torch is imported", file=sys.stderr))
from overparam.cli import main
main()
"""


def study_text(rows: int) -> str:
    """Return a study file with about so many rows."""
    levels, arms = 25, 10
    seeds = list(range(max(1, rows // (levels * arms))))
    variants = {f"arm {number}": {"train.lr": 0.1 + number / 100} for number in range(arms)}
    return STUDY.replace("LEVELS", str(levels - 1)).replace("SEEDS", str(seeds)).replace("VARIANTS", str(variants))


def build(folder: Path, rows: int) -> None:
    """Write the study file, and a store in which all of its results are made up."""
    from overparam import Store, Study
    from overparam.probes import Probe

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "large.yaml").write_text(study_text(rows))
    study = Study.from_file(folder / "large.yaml")
    plan = study.plan
    store = Store(folder / "runs")
    rng = random.Random(0)
    levels = {row.node: row.level for row in plan.rows}
    for name, node in plan.nodes.items():
        if isinstance(node.part, Probe):
            store.write("probes", name, measured(node, levels[node.start], rng))
        else:
            level = int(node.title.partition("(level ")[2].partition(")")[0] or 0)
            store.write("steps", name, step(node, level, rng), {"checkpoint": rng.randbytes(200)})
    study._record(plan).write(store)
    print(f"{len(plan.steps)} checkpoints, {len(plan.measurements)} measurements, {len(plan.rows)} rows", flush=True)


def step(node: Any, level: int, rng: random.Random) -> dict[str, Any]:
    """Return numbers of a step like those of a real one."""
    from overparam.spec import plain

    weights = 64 * 16 + 16 * 16 + 16 * 10
    epochs = range(1, 11) if node.trains else ()
    return {
        "title": node.title,
        "step": node.part.kind if node.part else "init",
        "parameters": plain(node.part.parameters()) if node.part else {},
        "parent": node.start,
        "references": plain(node.given),
        "seed": node.seed,
        "network": {
            "network": {"name": "mlp", "options": {"hidden": [16, 16]}, "init": None},
            "form": {"input_shape": [1, 8, 8], "outputs": [10], "vocabulary": None},
        },
        "kept": round(weights * 0.8**level),
        "weights": weights,
        "facts": {"seconds": rng.random(), "seconds_before": rng.random(), "peak_memory_bytes": 500_000_000},
        "made": "2026-01-01T00:00:00Z",
        "machine": dict.fromkeys(
            ("overparam", "torch", "numpy", "python", "system", "processor", "cores", "threads"), "1"
        ),
        "curve": {
            "iteration": [7 * epoch for epoch in epochs],
            "epoch": [float(epoch) for epoch in epochs],
            "lr": [0.1 for _ in epochs],
            "loss": [rng.random() for _ in epochs],
            "test_accuracy": [rng.random() for _ in epochs],
        },
    }


def measured(node: Any, level: int, rng: random.Random) -> dict[str, Any]:
    """Return numbers of a probe like those of a real one."""
    layers = ("layers.0.weight", "layers.2.weight", "output.weight")
    values: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    if node.part.kind == "accuracy":
        splits = ("train_{}", "train_{}_clean", "train_{}_clean_part", "train_{}_noisy_part", "test_{}")
        values = {
            split.format(metric): max(0.0, 0.9 - 0.02 * level + 0.05 * rng.random())
            for split in splits
            for metric in ("accuracy", "loss", "soft_error")
        }
    elif node.part.kind == "learning-distance":
        values = {f"learning_distance{part}": 3 + rng.random() for part in ("", "_kept", "_pruned")}
        rows = {layer: {"learning_distance": rng.random()} for layer in layers}
    elif node.part.kind == "density":
        values = {"dead_units": level, "collapsed_layers": 0, "parameters": 1482, "density_of_all": 0.8**level}
        values["stored_bits"] = 40_000
        row = {"role": "linear", "masked": 1, "kept": 300, "weights": 480, "density": 0.6, "share_of_all": 0.3}
        row |= {"dead_units": 0, "unused_inputs": 0, "collapsed": 0, "stored_bits": 10_000}
        rows = dict.fromkeys(layers, row)
    else:
        values = {"seconds": rng.random(), "seconds_before": rng.random(), "multiply_adds": 1440}
        values |= {"multiply_adds_effective": 900, "peak_memory_bytes": 500_000_000, "bytes": 9000}
    return {
        "probe": node.part.kind,
        "parameters": {},
        "checkpoint": node.start,
        "references": {},
        "values": values,
        "layers": rows,
    }


def timed(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, float, str]:
    """Run a command; return the seconds by the clock and of the processor, and what it wrote on stderr."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    spent, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, used, ended.stderr


def arguments(command: str) -> list[str]:
    """Return the arguments of a command."""
    if command == "run":
        return ["run", "large.yaml"]
    return command.split() if " " in command else [command, "large"]


def main() -> None:
    """Build the store, and time each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        place = given.keep or Path(folder)
        if not (place / "large.yaml").exists():
            build(place, given.rows)
        environment = {**os.environ, "OVERPARAM_CACHE": cache}
        print(f"{'command':<10} {'first: clock':>13} {'processor':>10} {'later: clock':>13} {'processor':>10}  torch")
        for command in COMMANDS:
            runs = [timed(arguments(command), place, environment) for _ in range(1 + given.times)]
            later = [min(run[n] for run in runs[1:]) for n in (0, 1)]
            torch = "imported" if any("torch is imported" in run[2] for run in runs[1:]) else "no"
            first = f"{runs[0][0]:>11.2f} s {runs[0][1]:>8.2f} s"
            print(f"{command:<10} {first} {later[0]:>11.2f} s {later[1]:>8.2f} s  {torch}", flush=True)


if __name__ == "__main__":
    main()
