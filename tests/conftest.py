"""What every test stands on: one thread, no hub, no network."""

from __future__ import annotations

import os

# Before torch or a tokenizer is imported anywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import ipaddress
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("calm", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("calm")

ROOT = Path(__file__).resolve().parents[1]

#: Folders whose files take long: they start first, so that two processes end together.
_FIRST = ("packaging", "e2e", "notebooks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the long files first; ``--dist loadfile`` keeps each file on one process."""
    order = {name: rank for rank, name in enumerate(_FIRST)}

    def rank(item: pytest.Item) -> int:
        inside = item.path.relative_to(ROOT).parts
        return order.get(inside[1], len(order)) if inside[0] == "tests" else len(order)

    items.sort(key=rank)


def _is_here(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket
    host = str(address[0])
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    """Fail the test that leaves a mode of torch or what Ctrl-C does changed; the next has it back.

    By its name it is the first of these, so that it looks when the others have put back theirs.
    """
    from tests.process_modes import ProcessModes

    modes = ProcessModes()
    yield
    changed = modes.changed()
    if changed:
        modes.put_back()
        pytest.fail(f"it leaves in the process {'; '.join(changed)}")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any connection that leaves this machine an error in the test that tried it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if not _is_here(address):
            raise OSError(f"a test tried to reach {address!r}; tests work offline")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _same_seed() -> None:
    """Start every test from the same state of Python's and numpy's global generators."""
    import numpy as np

    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's folder."""
    return ROOT
