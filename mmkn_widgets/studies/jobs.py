"""The folder of a study, and several processes on it: each takes the next concept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import MmknError, bad_argument, seal, unseal, write_all

if TYPE_CHECKING:
    from ..core import Progress

__all__ = ["claim", "part_path", "read_part", "run_jobs", "turns", "write_json", "write_part"]


def part_path(folder: Path, word: str, method: str) -> Path:
    """Return where a concept's figures by a method stand; no word leaves the folder."""
    return folder / "parts" / (re.sub(r"[^\w\- ]", "_", word) or "_") / f"{method}.json"


def claim(folder: Path, described: dict[str, Any]) -> None:
    """Take a new folder, or one with parts of the same configuration.

    Raises
    ------
    BadArgument
        If the folder holds parts of another one.
    """
    mark = folder / "provenance.json"
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    if mark.is_file():
        try:
            held = dict(json.loads(mark.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise bad_argument(
                "out", str(folder), f"a new folder: {mark.name} in this one is damaged ({error})"
            ) from error
        if held.get("key") != key:
            raise bad_argument(
                "out", str(folder), "a new folder: this one holds parts of another configuration"
            )
        return
    write_all(folder, {mark.name: json.dumps({"key": key, **described}, indent=1) + "\n"}, "out")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON at once or not at all."""
    write_all(path.parent, {path.name: json.dumps(content, indent=1) + "\n"}, "out")


def write_part(path: Path, content: dict[str, Any], beside: dict[str, str]) -> None:
    """Write a concept's figures by a method, with a checksum, after what lies beside them."""
    write_all(path.parent, {**beside, path.name: seal(content)}, "out")


def read_part(path: Path) -> dict[str, Any] | None:
    """Return what `write_part` wrote; None where there is nothing, or it is damaged.

    Parts of earlier releases have no checksum.
    """
    try:
        found = unseal(path.read_bytes(), required=False)
    except (OSError, ValueError):
        return None
    return found if "suppression" in found and "neurons" in found else None


def turns(words: Sequence[str], folders: Sequence[Path]) -> Iterator[tuple[str, bool]]:
    """Yield each word once: first those that no process has begun, then the others.

    Parameters
    ----------
    words : sequence of str
    folders : sequence of pathlib.Path
        One for each word; making it begins the word.

    Yields
    ------
    (str, bool)
        The word, and whether it was begun elsewhere (or in an earlier run).
    """
    begun = []
    for word, folder in zip(words, folders, strict=True):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            begun.append(word)
        else:
            yield word, False
    for word in begun:
        yield word, True


def run_jobs(
    command: Sequence[str], n: int, out: Path, total: int, progress: Progress | None = None
) -> None:
    """Run the same ``mmkn study`` in several processes until all have finished.

    Parameters
    ----------
    command : sequence of str
        Arguments of ``mmkn``, the same for every process.
    n : int
        Processes; the processor's cores are shared among them.
    out : pathlib.Path
        The study's folder, of which finished parts are counted.
    total : int
        Parts that there will be.
    progress : callable, optional

    Raises
    ------
    MmknError
        With the last line of a process that failed; the others are stopped.
    """
    threads = str(max(1, (os.cpu_count() or 1) // n))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    before = _finished(out)
    total = max(1, total - before)
    with ExitStack() as files:
        said = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(n)]
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "mmkn_widgets.cli", *command],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
            for file in said
        ]
        try:
            working = True
            while working:
                working = any(process.poll() is None for process in running)
                for process, file in zip(running, said, strict=True):
                    if process.poll():
                        file.seek(0)
                        lines = file.read().strip().splitlines()
                        last = lines[-1] if lines else f"exit code {process.returncode}"
                        raise MmknError(last.removeprefix("mmkn: "))
                if progress is not None:
                    progress("study", min(_finished(out) - before, total - 1), total)
                time.sleep(0.5 if working else 0)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()


def _finished(out: Path) -> int:
    return sum(not path.name.endswith(".mmkn.json") for path in out.glob("parts/*/*.json"))
