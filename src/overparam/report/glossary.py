"""The words that are ours, or that we use in one sense only: each with one sentence that says what it means here.

A page explains them where they stand, on hover and on focus; the documentation lists them. There is no other place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

GLOSSARY: dict[str, str] = {
    # of a study
    "arm": "All runs of a study that differ in nothing but the seed and the place on the axis: one line of a chart.",
    "axis": "What tables and charts of a study run over: density by default, or width, bits, iterations, any number "
    "that was swept or measured.",
    "branch": "Steps that leave a chain, are measured and end, while the chain goes on as if they were not there.",
    "chain": "The steps of one run in order, such as train, prune, rewind, train.",
    "checkpoint": "The state between two steps: weights, what is fixed about them, and how they came about.",
    "claim": "A sentence of the literature as a test on the results of a study.",
    "constraint": "How one tensor is made from what is trained: masked, frozen, shared, quantised, gated.",
    "event": "Something that changes masks within a training, at given iterations.",
    "fingerprint": "The hash of all that a result depends on; equal fingerprints are equal results.",
    "level": "How many times a network was pruned: level 0 is dense, and each pruning adds one.",
    "probe": "A measurement of a checkpoint that changes nothing.",
    "revision": "One exact specification of a study; another one under the same name is another revision.",
    "seed": "The number that all randomness of a run follows from; runs of several seeds tell how far chance goes.",
    "step": "One operation of a chain, and its place there; it makes a checkpoint of a checkpoint.",
    "study": "Chains of steps, swept over values and seeds, with the probes that measure them.",
    "surgery": "A change of the network itself, where layers are replaced by others: smaller, merged or factorised.",
    "variant": "A chain with a name of its own in a study of several.",
    "world": "The data of a study and how they are seen: splits, label noise, subsets, augmentation.",
    # of pruning
    "collapsed layer": "A layer with fewer kept weights than it has outputs, or inputs.",
    "compression ratio": "The weights of the dense network over those that are kept.",
    "criterion": "How weights are ranked before the lowest are pruned, such as by magnitude.",
    "dead unit": "A unit (of a linear layer) or filter without a kept weight into it: its output is a constant.",
    "dense": "Not pruned: every weight is there.",
    "density": "The share of the weights that can be pruned that is kept, from 1 (dense) to 0.",
    "fine-tune": "Go on training from the weights that pruning left.",
    "kept weights": "The weights that pruning left; all others are exactly zero.",
    "mask": "Which weights of a tensor are kept.",
    "pattern": "The shape in which weights are kept: single ones, n of every m, blocks, whole filters.",
    "reinit": "Give the kept weights a new random initialisation.",
    "rewind": "Set the kept weights back to what they were earlier in training, most often at initialisation.",
    "scope": "Among which weights pruning chooses: of the whole network together, or layer by layer.",
    "shuffled": "As many kept weights in each layer, at other places: the control that asks whether places matter.",
    "sparsity": "The share of the weights that was pruned: one minus the density.",
    "structured": "Pruned in whole units or filters, so that the network becomes smaller instead of sparse.",
    "supermask": "A mask over weights that stay at their initial values, by which the network works untrained.",
    "ticket": "A pruned network rewound to its initial weights; a winning one trains as well as the dense network.",
    # of what is measured
    "clean labels": "The true labels, before any label noise.",
    "label noise": "Labels of training examples that were made wrong on purpose, by the share that is given.",
    "learning distance": "The Euclidean (L2) distance of the weights from their initial values, pruned "
    "weights taken as zero.",
    "multiply-adds": "How many multiplications, each with its addition, one example takes; those with pruned weights "
    "are left out where a number is called effective.",
    "noisy labels": "The labels that were trained on, of which a share was made wrong on purpose.",
    "of all parameters": "The share of all parameters that is kept, those that cannot be pruned included.",
    "perplexity": "Two to the power of the loss in bits: among how many symbols the model is as if guessing.",
    "soft error": "One minus the mean probability given to the right class (Nakkiran et al., 2021).",
    # of how it is told
    "band": "What is shaded around a mean: the range of the seeds, or from four seeds on its 95 % interval.",
    "contradicted": "A claim whose opposite the results show, with an interval over seeds that leaves no doubt.",
    "inconclusive": "A claim that the results neither support nor contradict: more seeds, or other places, are needed.",
    "interval": "Where the mean over all seeds lies with 95 % confidence, as far as the seeds that ran tell.",
    "not tested": "A claim for which the study lacks what it speaks of, or is not whole yet.",
    "paired difference": "The difference of two arms seed by seed, so that what seeds share drops out.",
    "points": "Percentage points: from 87 % to 88 % it is one.",
    "second descent": "A test error that falls, rises and falls again along one axis, as double descent says.",
    "supported": "A claim that the results show too, with an interval over seeds that leaves no doubt.",
    # phases of sparse double descent
    "collapsed": "The last phase: so few weights are left that test accuracy falls below the dense network's for good.",
    "critical": "The phase in which pruning makes test accuracy worse, up to its worst before the peak.",
    "light": "The first phase, in which the pruned network is nearer to the dense one's test accuracy than to its "
    "worst before the peak.",
    "peak": "The best test accuracy behind the trough.",
    "phase": "A range of densities in which test accuracy does one thing: light, critical, sweet, collapsed.",
    "sweet": "The phase behind the critical one, in which pruned networks are as good as the dense one, or better.",
    "trough": "The worst test accuracy before the peak.",
}
"""What each word means, as one sentence. A word may be two or more; plurals with s count as the word."""

ALONE = frozenset(
    {
        *("band", "chain", "collapsed", "critical", "dense", "event", "interval", "kept weights", "light", "mask"),
        *("pattern", "peak", "phase", "scope", "step", "study", "sweet", "trough", "variant", "world"),
    }
)
"""Words that are plain English too: they are explained where they stand alone, such as at the head of a column."""

_ALIASES = {
    "finetune": "fine-tune",
    "distance": "learning distance",
    "train (noisy)": "noisy labels",
    "train (clean)": "clean labels",
}
"""Heads of columns that mean a word."""


def word_of(text: str) -> str | None:
    """Return the word that a short text is, such as the head of a column, or None.

    >>> word_of("Levels"), word_of("soft error"), word_of("test")
    ('level', 'soft error', None)
    """
    asked = text.strip().lower()
    asked = _ALIASES.get(asked, asked)
    return next((word for word in (asked, asked.removesuffix("s")) if word in GLOSSARY), None)


def pieces(text: str, explained: set[str]) -> Iterator[tuple[str, str | None]]:
    """Cut a sentence at the words that it explains: pairs of a piece and the word that it is, or None.

    Joined, the pieces are the text. A word is explained once: those in ``explained`` are passed over, and what is found
    is put there. Those in :data:`ALONE` are not looked for.
    """
    end = 0
    for found in _ANY.finditer(text):
        word = word_of(found[0])
        if word is None or word in explained:
            continue
        explained.add(word)
        yield text[end : found.start()], None
        yield found[0], word
        end = found.end()
    yield text[end:], None


_LONGEST_FIRST = sorted(GLOSSARY.keys() - ALONE, key=lambda word: -len(word))
_ANY = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, _LONGEST_FIRST))})s?(?![\w-])", re.IGNORECASE)
