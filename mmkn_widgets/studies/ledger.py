"""What is known of each picture, in a file that grows by a line at a time: one commit a picture."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..core import NotSupported, unwritable

__all__ = ["Ledger"]


class Ledger(MutableMapping[Any, str]):
    """A mapping of texts that a killed process leaves behind for the next.

    Every item is a line with its own checksum, written at once to the file's end. A line that was
    cut off, or is damaged, is as good as none. Several processes may add to one file; each knows
    what was there when it opened it.

    Parameters
    ----------
    path : str or pathlib.Path
        Made, with its folder, when the first item is added.

    Raises
    ------
    BadArgument
        If the file cannot be read, or written when an item is added.

    Examples
    --------
    >>> import tempfile
    >>> place = tempfile.mkdtemp() + "/captions.jsonl"
    >>> with Ledger(place) as known:
    ...     known["coco:val2017", 7] = "a red car"
    >>> Ledger(place)["coco:val2017", 7]
    'a red car'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._known: dict[str, str] = {}
        self._file: int | None = None
        self._cut = False
        try:
            self._read()
        except OSError as error:
            raise unwritable("out", self.path, error) from error

    def _read(self) -> None:
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            for line in file:
                self._cut = not line.endswith(b"\n")
                with suppress(ValueError, TypeError):
                    name, value, checksum = json.loads(line)
                    if checksum == _checksum(name, value):
                        self._known[name] = value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next item opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """Close and delete the file: what it kept stands elsewhere now."""
        self.close()
        with suppress(OSError):  # another process has it open, on Windows
            self.path.unlink(missing_ok=True)

    def __getitem__(self, key: Any) -> str:
        return self._known[_name(key)]

    def __contains__(self, key: object) -> bool:
        return _name(key) in self._known

    def __setitem__(self, key: Any, value: str) -> None:
        name = _name(key)
        line = json.dumps([name, value, _checksum(name, value)]) + "\n"
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            # in one write, so that no other process's line comes between
            os.write(self._file, (("\n" if self._cut else "") + line).encode())
        except OSError as error:
            raise unwritable("out", self.path, error) from error
        self._cut = False
        self._known[name] = value

    def __delitem__(self, key: Any) -> None:
        raise NotSupported(f"{self.path.name}: a ledger only grows; remove() deletes it whole")

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _name(key: object) -> str:
    """Return a short name of a key: of thousands of pictures the keys themselves are too large."""
    return hashlib.blake2b(repr(key).encode(), digest_size=12).hexdigest()


def _checksum(name: str, value: str) -> int:
    return zlib.crc32(f"{name}{value}".encode())
