"""A study without a model, and an Explorer whose messages are caught."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_study import FakeStudy

from mmkn_widgets.widgets import Explorer


class Page:
    """What a browser would see of a widget: its messages, in order."""

    def __init__(self, widget: Any) -> None:
        self.widget = widget
        self.messages: list[tuple[dict[str, Any], list[bytes]]] = []
        self.count = 0
        widget.send = lambda content, buffers=None: self.messages.append(
            (content, list(buffers or []))
        )

    def ask(
        self, name: str, /, buffers: Any = (), **args: Any
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Send a request, wait for the worker, return the reply and its buffers."""
        key = self.send(name, buffers, **args)
        self.widget.wait()
        return self.reply(key)

    def send(self, name: str, /, buffers: Any = (), **args: Any) -> str:
        self.count += 1
        key = f"page-{self.count}"
        content = {"kind": "request", "id": key, "name": name, "args": args}
        self.widget._receive(self.widget, content, list(buffers))
        return key

    def reply(self, key: str) -> tuple[dict[str, Any], list[bytes]]:
        found = [m for m in self.messages if m[0]["id"] == key and m[0]["kind"] == "reply"]
        assert len(found) == 1
        return found[0]


@pytest.fixture
def study() -> FakeStudy:
    return FakeStudy()


@pytest.fixture
def explorer(study: FakeStudy) -> Iterator[Explorer]:
    made = Explorer(study)
    yield made
    made.close()


@pytest.fixture
def page(explorer: Explorer) -> Page:
    return Page(explorer)
