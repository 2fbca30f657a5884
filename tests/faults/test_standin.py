"""A small share of `make faults`, with every run of the tests.

Kills are not among it: `tests/unit/core/test_files.py` has them, each at every step.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ipywidgets import Widget

from mmkn_widgets.models.state import UNCOMPILED
from tests.faults.kinds import COUNTS, run_kind
from tests.faults.memory import slope
from tests.faults.tally import Tally, table

SHARES = {
    "hooks": 0.042,
    "points": 0.04,
    "interrupts": 0.05,
    "files": 0.1,
    "fuzz": 0.01,
    "hostile": 0.05,
    "together": 0.02,
    "rounds": 0.016,
}


@pytest.fixture(scope="module", autouse=True)
def _nothing_stays() -> Iterator[None]:
    """Close every widget: one left open holds its model, whose ablation holds torch's stance."""
    yield
    Widget.close_all()
    gc.collect()
    assert not UNCOMPILED._holders


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SHARES)
def test_nothing_is_lost_or_wrong(kind: str) -> None:
    if kind == "hostile":  # a browser in a thread of its own: other tests leave a loop in this one
        with ThreadPoolExecutor(1) as own:
            tally = own.submit(run_kind, kind, SHARES[kind], seed=0).result()
    else:
        tally = run_kind(kind, SHARES[kind], seed=0)
    assert tally.tried >= min(COUNTS[kind] * SHARES[kind], 3)
    assert not tally.failed, table([tally])


def test_a_fault_is_told_and_the_machine_exits_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmkn_widgets.core import NeuronSet
    from tests.faults.__main__ import main

    monkeypatch.setattr(
        "tests.faults.files.NeuronSet.load",
        lambda path: NeuronSet.from_json(Path(path).read_text().replace('"checksum"', '"x"')),
    )
    given = ["--only", "files", "--share", ".05", "--json", str(tmp_path / "faults.json")]
    assert main(given) == 1
    (kind,) = json.loads((tmp_path / "faults.json").read_text())["kinds"]
    assert any("of a neuron_set" in line for line in kind["failed"])
    assert "of a neuron_set" in capsys.readouterr().out


def test_what_is_no_share_is_refused(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--share", "0"],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--share" in done.stderr


def test_a_trial_that_fails_is_counted() -> None:
    tally = Tally("x")
    for broken in (False, True):
        with tally.one("a trial"):
            if broken:
                raise ValueError("it is\nbroken")
    assert (tally.tried, tally.failed) == (2, ["a trial: ValueError: it is broken"])


def test_a_slope_has_the_growth_in_its_interval() -> None:
    at = list(range(200))
    held = [1000 + 5.0 * n + (n % 7) for n in at]
    found, low, high = slope(at, held)
    assert low <= 5.0 <= high
    assert abs(found - 5) < 0.1
    flat = slope(at, [1000.0 + (n % 7) for n in at])
    assert flat[1] <= 0 <= flat[2]
