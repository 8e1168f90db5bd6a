"""A place for blobs that is no folder."""

from __future__ import annotations

import errno


class Memory:
    """The four verbs, in the least form there is."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def get(self, key: str) -> bytes:
        if key not in self.held:
            raise FileNotFoundError(errno.ENOENT, "no such key")
        return self.held[key]

    def put_if_absent(self, key: str, content: bytes) -> bool:
        return self.held.setdefault(key, content) is content

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self.held if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self.held.pop(key, None)
