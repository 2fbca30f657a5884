"""What every test stands on: one thread, no hub, no network, browser tests kept together."""

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
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Folders whose tests run one after the other on one worker, the slowest first.
_TOGETHER = ("e2e", "packaging", "notebooks")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each file's tests on one worker, and start the long groups first."""

    def room(item: pytest.Item) -> str:
        inside = item.path.relative_to(ROOT).parts
        return inside[1] if inside[0] == "tests" and len(inside) > 2 else inside[0]

    for item in items:
        name = room(item)
        group = name if name in _TOGETHER else str(item.path.relative_to(ROOT))
        item.add_marker(pytest.mark.xdist_group(group))
    order = {name: rank for rank, name in enumerate(_TOGETHER)}
    items.sort(key=lambda item: order.get(room(item), len(_TOGETHER)))


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


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, Any]) -> None:
    """Let docstrings say `mmkn` as the README does."""
    import mmkn_widgets

    doctest_namespace["mmkn"] = mmkn_widgets
