"""Progress bars: late, once, and silent when asked; the log; nothing but text in HTML."""

from __future__ import annotations

import io
import logging
import re
import sys

import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

from mmkn_widgets.core import BadArgument, bars, html, reporting, set_progress, set_verbosity


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bars, "_PATIENCE", 0.0)
    yield
    set_progress(True)


def steps(progress, inner=None) -> None:
    with reporting(progress) as step:
        for done in (1, 2):
            if step is not None:
                step("counting sheep", done, 2)
        if inner is not None:
            steps(inner[0])


def shown(capsys, progress, inner=None) -> str:
    steps(progress, inner)
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_a_bar_says_the_stage_and_goes_when_done(capsys) -> None:
    said = shown(capsys, None)
    assert "counting sheep" in said
    assert said.endswith("\r")  # wiped


@pytest.mark.parametrize("progress", [False, lambda *_: None])
def test_a_call_is_silent_when_asked(capsys, progress) -> None:
    assert shown(capsys, progress) == ""


def test_all_calls_are_silent_when_asked(capsys) -> None:
    set_progress(False)
    assert shown(capsys, None) == ""
    assert "counting sheep" in shown(capsys, True)
    with pytest.raises(BadArgument, match="on: got 'no'"):
        set_progress("no")


def test_the_environment_silences_too(capsys, monkeypatch) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert shown(capsys, None) == ""
    monkeypatch.setenv("TQDM_DISABLE", "0")
    assert "counting sheep" in shown(capsys, None)


def test_the_outermost_call_decides(capsys) -> None:
    assert shown(capsys, False, inner=[None]) == ""
    heard = []
    assert shown(capsys, lambda *step: heard.append(step), inner=[None]) == ""
    assert heard == [("counting sheep", 1, 2), ("counting sheep", 2, 2)]


def test_what_is_short_shows_nothing(capsys, monkeypatch) -> None:
    monkeypatch.setattr(bars, "_PATIENCE", 60.0)
    assert shown(capsys, None) == ""


def test_an_error_closes_the_bar(capsys) -> None:
    def fails() -> None:
        with reporting(None) as step:
            step("counting sheep", 1, 2)
            raise ValueError("mid-way")

    with pytest.raises(ValueError, match="mid-way"):
        fails()
    assert capsys.readouterr().err.endswith("\r")
    assert "counting sheep" in shown(capsys, None)  # and the next call is an outermost one again


def test_another_progress_is_refused() -> None:
    with pytest.raises(BadArgument, match="progress: got 'yes'"), reporting("yes"):
        pass


def test_the_log_is_switched_on_and_off(monkeypatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # pytest's own
    log, stream = logging.getLogger("mmkn_widgets.studies"), io.StringIO()
    monkeypatch.setattr(sys.modules["mmkn_widgets.core.verbosity"]._HANDLER, "stream", stream)
    set_verbosity("info")
    log.info("heard")
    set_verbosity("info")  # not twice
    log.info("once")
    set_verbosity("warning")
    log.info("not heard")
    assert [line.split(": ")[1] for line in stream.getvalue().splitlines()] == ["heard", "once"]
    set_verbosity("silent")
    assert not log.isEnabledFor(logging.CRITICAL)
    set_verbosity("warning")
    with pytest.raises(BadArgument, match="level: got 'loud'.*debug"):
        set_verbosity("loud")


EVIL = "<script>alert('x')</script>\""


def test_what_is_given_is_text() -> None:
    picture = Image.new("RGB", (6, 4))
    made = html.html_card(
        EVIL,
        [(EVIL, EVIL)],
        html.html_table([EVIL], [[EVIL]], EVIL),
        html.html_bars([(EVIL, 1)]),
        html.html_gallery([html.html_figure(html.html_picture(picture, EVIL), EVIL)]),
        about=EVIL,
    )
    assert "<script" not in made
    assert made.count("&lt;script&gt;") == 10
    assert 'alt="&lt;script' in made


def test_a_head_stands_over_its_column() -> None:
    made = html.html_table(["word", "share", "n"], [["a", None, 1], ["b", 0.5, 2]])
    assert re.findall(r'(right|left)"?>(word|share|n)<', made) == [
        ("left", "word"), ("right", "share"), ("right", "n"),
    ]  # fmt: skip
    assert 'left">n<' in html.html_table(["n"], [])


def test_a_large_picture_is_sent_small() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (2000, 3000, 3), dtype=np.uint8))
    made = html.html_picture(noise, "noise", 144)
    assert len(made) < 600_000
    assert 'width="216" height="144"' in made
    wide = html.html_picture(noise.resize((4000, 20)), "wide", 144)
    assert 'width="432" height="2"' in wide


def test_a_saved_notebook_keeps_no_widget_of_a_bar() -> None:
    """In a notebook the bar is a widget, without a model once it is closed."""
    code = (
        "import time\nfrom mmkn_widgets.core import bars\nbars._PATIENCE = 0.0\n"
        "with bars.reporting(True) as step:\n    step('counting', 1, 2)\n    step('counting', 2, 2)"
    )
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(made, timeout=60, kernel_name="python3").execute()
    assert [output["data"] for output in made.cells[0].outputs] == [{"text/html": ""}]
