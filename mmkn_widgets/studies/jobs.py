"""Several processes on one study: each takes the next concept that nobody has begun."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import MmknError

if TYPE_CHECKING:
    from .._jobs import Progress

__all__ = ["run_jobs", "turns"]


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
