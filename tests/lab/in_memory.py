"""A place for blobs that is no folder."""

from __future__ import annotations

import errno

from overparam.lab.blobs import Entry


class Memory:
    """The five verbs, in the least form there is."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.written: dict[str, int] = {}

    def get(self, key: str) -> bytes:
        if key not in self.held:
            raise FileNotFoundError(errno.ENOENT, "no such key")
        return self.held[key]

    def put_if_absent(self, key: str, content: bytes) -> bool:
        self.written.setdefault(key, len(self.written))
        return self.held.setdefault(key, content) is content

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self.held if key.startswith(prefix))

    def entries(self, prefix: str) -> dict[str, Entry]:
        return {key: Entry(len(self.held[key]), self.written[key]) for key in self.list(prefix)}

    def delete(self, key: str) -> None:
        self.held.pop(key, None)
        self.written.pop(key, None)
