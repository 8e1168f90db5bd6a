from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from overparam import recent
from overparam.recent import Recent


def test_the_example() -> None:
    found = doctest.testmod(recent)
    assert (found.attempted, found.failed) == (3, 0)


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from(["get", "keep", "forget"]), st.integers(0, 6))))
def test_the_last_keys_are_kept_and_made_once(size: int, calls: list[tuple[str, int]]) -> None:
    memory: Recent[int, int] = Recent(size)
    kept: list[int] = []  # the keys, oldest first
    for call, key in calls:
        made: list[int] = []
        if call == "get":
            assert memory.get(key, lambda key=key, made=made: made.append(key) or key * 10) == key * 10  # type: ignore
            assert bool(made) == (key not in kept)
        elif call == "keep":
            memory.keep(key, key * 10)
        else:
            memory.forget(key)
        kept = [each for each in kept if each != key] + [key] * (call != "forget")
        kept = kept[-size:]
        assert list(memory) == kept
