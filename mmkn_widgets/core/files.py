"""Files and folders that appear whole or not at all, and say so when they were damaged since.

What is written lies under another name until it is on the disk (``fsync``), then takes its place by
a rename. A process that is killed leaves at most a ``.part-*`` beside it, which the next save
sweeps away, and the older file or folder as it was.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import BadArgument, bad_argument

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None  # None on Windows

__all__ = [
    "BLANK",
    "check_file",
    "check_folder",
    "flush",
    "heal",
    "is_stamped",
    "seal",
    "stamp",
    "sync",
    "sync_all",
    "unseal",
    "unwritable",
    "whole_folder",
    "write_all",
    "write_whole",
]

_PART, _ASIDE = ".part-", ".older-"

#: Threads that wait for the disk: the flushes of many small files are then made in one go.
_WAITING = 16


# -- one file -----------------------------------------------------------------------------------


def write_whole(path: str | Path, content: bytes | str, argument: str = "path") -> Path:
    """Write a file at once or not at all.

    Parameters
    ----------
    path : str or pathlib.Path
        In a folder that exists. An older file there is replaced; of a link, what it leads to.
    content : bytes or str
        Text is written as UTF-8.
    argument : str
        What the caller calls `path`, for errors.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    BadArgument
        If it cannot be written (a full disk, a missing or read-only folder, a folder in its
        place); an older file is then as it was.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(folder + "/a.txt", "whole").read_text()
    'whole'
    """
    place = _followed(path, argument)
    if os.path.isdir(place):
        raise bad_argument(argument, str(path), "a file; there is a folder of this name")
    try:
        _sweep(place.parent)
        with _Unfinished() as unfinished:
            part = unfinished.add(place.parent, content)
            sync(part)
            unfinished.take(part, place)
        sync(place.parent)
    except OSError as error:
        raise unwritable(argument, path, error) from error
    return Path(path)


def write_all(folder: str | Path, files: Mapping[str, bytes | str], argument: str = "path") -> Path:
    """Write several files into a folder that may hold others: none before all are on the disk.

    Parameters
    ----------
    folder : str or pathlib.Path
        Made, with its parents, where there is none.
    files : mapping of str to bytes or str
        Name to content; they take their places in this order, so name last the one that says that
        the others are there.
    argument : str
        What the caller calls `folder`, for errors.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    BadArgument
        As of `write_whole`.
    """
    _followed(folder, argument)
    place = Path(folder)
    if os.path.lexists(place) and not os.path.isdir(place):
        raise bad_argument(argument, str(folder), "a folder; there is a file of this name")
    for name in files:
        if os.path.isdir(place / name):
            raise bad_argument(
                argument, str(place / name), "a file; there is a folder of this name"
            )
    try:
        _make(place)
        _sweep(place)
        with _Unfinished() as unfinished:
            parts = {name: unfinished.add(place, content) for name, content in files.items()}
            sync_all(parts.values())
            for name, part in parts.items():
                unfinished.take(part, _followed(place / name, argument))
        sync(place)
    except OSError as error:
        raise unwritable(argument, folder, error) from error
    return place


def _followed(path: str | Path, argument: str) -> Path:
    """Return where a path leads that a file can have; no system has any with these in it."""
    place = Path(path)
    try:
        named = b"\0" not in os.fsencode(place)
    except UnicodeEncodeError:
        named = False
    if not named:
        raise bad_argument(argument, str(path), "a path without NUL and halves of a character")
    return Path(os.path.realpath(place)) if os.path.islink(place) else place


class _Unfinished:
    """Files under other names; each is locked until it takes its place, or is gone at the end."""

    def __init__(self) -> None:
        self._handles: dict[Path, int] = {}

    def __enter__(self) -> _Unfinished:
        return self

    def add(self, folder: Path, content: bytes | str) -> Path:
        part, handle = _new_part(folder, of_folder=False)
        assert handle is not None
        self._handles[part] = handle
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(content.encode() if isinstance(content, str) else content)
        return part

    def take(self, part: Path, place: Path) -> None:
        if os.name == "nt":  # an open file keeps its name there
            os.close(self._handles.pop(part))
        os.replace(part, place)

    def __exit__(self, *_: object) -> None:
        for part, handle in self._handles.items():
            os.close(handle)
            part.unlink(missing_ok=True)


# -- one folder ---------------------------------------------------------------------------------


@contextmanager
def whole_folder(
    path: str | Path, argument: str = "path", *, replaces: Callable[[Path], bool] | None = None
) -> Iterator[Path]:
    """Fill a folder that appears, under its name, at once or not at all.

    Parameters
    ----------
    path : str or pathlib.Path
        Its parents are made.
    argument : str
        What the caller calls `path`, for errors.
    replaces : callable, optional
        Says of a folder that is there whether it may be replaced; an empty one always may.

    Yields
    ------
    pathlib.Path
        The folder to be filled. If the block raises, nothing is left of it.

    Raises
    ------
    BadArgument
        If something else is there, or it cannot be written; the older folder is then as it was.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as there:
    ...     with whole_folder(there + "/a") as folder:
    ...         _ = (folder / "x.txt").write_text("whole")
    ...     (Path(there) / "a" / "x.txt").read_text()
    'whole'
    """
    place = Path(os.path.abspath(_followed(path, argument)))
    heal(place)
    _check_place(place, argument, replaces)
    try:
        _make(place.parent)
        _sweep(place.parent)
        part, handle = _new_part(place.parent, of_folder=True)
    except OSError as error:
        raise unwritable(argument, path, error) from error
    try:
        yield part
        flush(part)
        _swap(part, place)
    except OSError as error:
        raise unwritable(argument, path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)  # where it did not take its place
        if handle is not None:
            os.close(handle)


#: how often a folder that is none of ours is looked at before it is refused
_LOOKS = 20


def _check_place(
    place: Path, argument: str, replaces: Callable[[Path], bool] | None = None
) -> None:
    wanted = ""
    for _ in range(_LOOKS):
        try:
            folder = stat.S_ISDIR(os.stat(place).st_mode)
        except OSError:  # nothing there; a name that cannot be made is refused where it is made
            return
        if not folder:
            wanted = "a folder; there is a file of this name"
        else:
            wanted = "a new folder, or one that such a save wrote"
            with suppress(FileNotFoundError):
                if not any(place.iterdir()) or (replaces is not None and replaces(place)):
                    return
        time.sleep(0.005)  # another saver may be putting its folder there at this moment
    raise bad_argument(argument, str(place), wanted)


def _make(folder: Path) -> None:
    above = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    if not os.path.isdir(above):
        raise NotADirectoryError(errno.ENOTDIR, f"Not a directory: {str(above)!r}")
    folder.mkdir(parents=True, exist_ok=True)


def heal(path: str | Path) -> None:
    """Bring back a folder whose replacement was killed between its two renames.

    Called by what opens or saves such a folder; does nothing nearly always.
    """
    place = Path(os.path.abspath(path))
    aside = _aside(place)
    if not os.path.lexists(aside):
        return
    with suppress(OSError), _turn(place.parent):  # a read-only folder stays as it is
        if not os.path.lexists(aside):  # its saver has finished
            return
        if os.path.lexists(place):
            _throw(aside)
        else:
            os.replace(aside, place)
            sync(place.parent)


def _swap(part: Path, place: Path) -> None:
    """Let a filled folder take its place; what was there goes only when it has."""
    aside, old = _aside(place), None
    with _turn(place.parent):
        if os.path.lexists(aside):  # of a killed one, and healed since
            _throw(aside)
        if os.path.lexists(place):
            os.replace(place, aside)
            try:
                os.replace(part, place)
            except BaseException:
                os.replace(aside, place)
                raise
            old = place.parent / f"{_PART}{secrets.token_hex(8)}"
            sync(place.parent)
            os.replace(aside, old)
        else:
            os.replace(part, place)
        sync(place.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _aside(place: Path) -> Path:
    """Return where the older folder waits; its own name might be too long to add to."""
    return place.parent / f"{_ASIDE}{hashlib.sha256(place.name.encode()).hexdigest()[:16]}"


def _throw(folder: Path) -> None:
    old = folder.parent / f"{_PART}{secrets.token_hex(8)}"
    os.replace(folder, old)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Let one saver at a time rename in a folder, of all threads and processes."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


# -- what is not in its place yet ---------------------------------------------------------------


def _new_part(folder: Path, *, of_folder: bool) -> tuple[Path, int | None]:
    """Make a file or folder of a new name; its lock tells for how long its maker lives."""
    while True:
        path = folder / f"{_PART}{secrets.token_hex(8)}"
        try:
            if of_folder:
                os.mkdir(path)
                handle = os.open(path, os.O_RDONLY) if fcntl is not None else None
            else:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        except FileNotFoundError:
            if folder.is_dir():  # swept away before it was locked
                continue
            raise
        if handle is None or _is_ours(path, handle):
            return path, handle
        os.close(handle)


_BINARY = getattr(os, "O_BINARY", 0)


def _is_ours(path: Path, handle: int) -> bool:
    """Lock a new part; False where a sweep was faster."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _sweep(folder: Path) -> None:
    """Remove what savers left here that no longer live."""
    with os.scandir(folder) as entries:
        left = [Path(entry.path) for entry in entries if entry.name.startswith(_PART)]
    for path in left:
        with suppress(OSError):  # somebody else's, or gone
            _remove_left(path)


def _remove_left(path: Path) -> None:
    if fcntl is None:  # an open file cannot be removed there
        path.unlink() if path.is_file() else shutil.rmtree(path)
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink() if path.is_file() else shutil.rmtree(path)
    finally:
        os.close(handle)


# -- on the disk --------------------------------------------------------------------------------


def flush(folder: Path) -> None:
    """Have everything below a folder, and itself, on the disk."""
    paths = []
    for path, _folders, files in os.walk(folder):
        paths += [Path(path) / file for file in files]
        paths.append(Path(path))
    sync_all(paths)


def sync_all(paths: Iterable[Path]) -> None:
    """Sync many files; together this takes hardly longer than one."""
    wanted = list(paths)
    if len(wanted) < 2:
        for path in wanted:
            sync(path)
        return
    with ThreadPoolExecutor(min(_WAITING, len(wanted))) as pool:
        for _ in pool.map(sync, wanted):
            pass


def sync(path: Path) -> None:
    """Have one file or folder on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- before the work ----------------------------------------------------------------------------


def check_file(path: str | Path, argument: str = "path") -> None:
    """Raise where a file could not be written, before the work whose result it is to hold.

    Raises
    ------
    BadArgument
        As of `write_whole`.
    """
    place = _followed(path, argument)
    if os.path.isdir(place):
        raise bad_argument(argument, str(path), "a file; there is a folder of this name")
    try:
        _try(place.parent)
        if not os.path.lexists(place):  # its name may be too long
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            place.unlink()
    except OSError as error:
        raise unwritable(argument, path, error) from error


def check_folder(
    path: str | Path,
    argument: str = "path",
    *,
    replaces: Callable[[Path], bool] | None = None,
    shared: bool = False,
) -> None:
    """Raise where a folder could not be written; nothing of the trial is left.

    Parameters
    ----------
    path : str or pathlib.Path
    argument : str
        What the caller calls `path`, for errors.
    replaces : callable, optional
        As of `whole_folder`.
    shared : bool
        Whether files are put beside those that the folder holds, as `write_all` does.

    Raises
    ------
    BadArgument
        As of `whole_folder`.
    """
    place = Path(os.path.abspath(_followed(path, argument)))
    if shared and os.path.isdir(place):
        replaces = bool
    _check_place(place, argument, replaces)
    made: list[Path] = []
    try:
        for folder in reversed([place, *place.parents]):
            if not os.path.lexists(folder):
                folder.mkdir()
                made.append(folder)
        _try(place if made or shared else place.parent)
    except OSError as error:
        raise unwritable(argument, path, error) from error
    finally:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()


def _try(folder: Path) -> None:
    part, handle = _new_part(folder, of_folder=False)
    assert handle is not None
    os.close(handle)
    part.unlink(missing_ok=True)


_REMEDIES = {
    errno.ENOSPC: "make room, or choose another place",
    errno.EDQUOT: "make room, or choose another place",
    errno.EFBIG: "files of this size are not allowed here; choose another place",
    errno.ENOENT: "make its folder first",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def unwritable(argument: str, path: str | Path, error: OSError) -> BadArgument:
    """Return the error for a place that cannot be written, with what helps."""
    reason = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0, "choose a place that can be written")
    shown = str(path)
    shown = shown if len(shown) <= 120 else shown[:60] + "..." + shown[-57:]
    return BadArgument(f"{argument}: {shown!r} cannot be written ({reason}); {remedy}")


# -- JSON that knows when it was changed --------------------------------------------------------

#: Stands where a checksum will.
BLANK = "0" * 64


def seal(content: Mapping[str, Any]) -> str:
    """Return JSON text with a last key ``checksum``, over everything before and after it.

    Examples
    --------
    >>> unseal(seal({"a": [1, 2]}))
    {'a': [1, 2]}
    >>> unseal(seal({"a": [1, 2]}).replace("1", "3", 1))
    Traceback (most recent call last):
    ValueError: its checksum does not fit: it is damaged, or was changed by hand
    """
    return stamp(json.dumps({**content, "checksum": BLANK}, indent=1) + "\n")


def stamp(text: str) -> str:
    """Put the checksum of a text in the place of the last `BLANK` in it."""
    head, _, tail = text.rpartition(BLANK)
    return head + hashlib.sha256(text.encode()).hexdigest() + tail


def is_stamped(text: str, checksum: object) -> bool:
    """Return whether a text with this checksum is as `stamp` returned it."""
    head, found, tail = text.rpartition(str(checksum))
    return bool(found) and stamp(head + BLANK + tail) == text


def unseal(text: str | bytes, *, required: bool = True) -> dict[str, Any]:
    """Return what `seal` was given.

    Parameters
    ----------
    text : str or bytes
    required : bool
        Whether text without a checksum is damaged; else it is as good as any JSON object.

    Raises
    ------
    ValueError
        If it is no JSON object, or is not as it was written.
    """
    said = text.decode() if isinstance(text, bytes) else text
    held = json.loads(said)
    if not isinstance(held, dict):
        raise ValueError("it is no JSON object")
    checksum = held.pop("checksum", None)
    if checksum is None and not required:
        return held
    if not is_stamped(said, checksum):
        raise ValueError("its checksum does not fit: it is damaged, or was changed by hand")
    return held
