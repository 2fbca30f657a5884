"""Plain text for a terminal: one progress line, one page of results."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from ..core import Progress
    from .find import Found

__all__ = ["describe_found", "progress_line", "time_left"]


def time_left(started: float, done: int, total: int, now: float) -> str:
    """Return the remaining time for people, such as ``"1 min 20 s left"``; empty when unknown.

    Parameters
    ----------
    started, now : float
        Seconds on the same clock.
    done, total : int

    Examples
    --------
    >>> time_left(0.0, 1, 5, 20.0)
    '1 min 20 s left'
    """
    if done <= 0 or total <= done:
        return ""
    seconds = round((now - started) / done * (total - done))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min left"
    return f"{minutes} min {seconds} s left" if minutes else f"{seconds} s left"


def progress_line(stream: TextIO, every: float = 15.0) -> Progress:
    """Return a progress callback: tqdm's bar on a terminal, else a line now and then.

    Parameters
    ----------
    stream : file
    every : float
        Seconds between two lines where `stream` is no terminal.
    """
    if stream.isatty():
        return _bar(stream)
    started: dict[str, float] = {}
    written: dict[str, float] = {}

    def show(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        began = started.setdefault(stage, now)
        left = time_left(began, done, total, now)
        if done >= total or now - written.get(stage, -every) >= every:
            written[stage] = now
            stream.write(f"{stage} {done}/{total}  {left}".rstrip() + "\n")
        if done >= total:
            started.pop(stage, None)
            written.pop(stage, None)
        stream.flush()

    return show


def _bar(stream: TextIO) -> Progress:
    from tqdm import tqdm

    bars: dict[str, tqdm[NoReturn]] = {}

    def show(stage: str, done: int, total: int) -> None:
        bar = bars.get(stage)
        if bar is None:
            bar = bars[stage] = tqdm(
                desc=stage, total=total, file=stream, dynamic_ncols=True, bar_format=_FORMAT
            )
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bars.pop(stage).close()

    return show


_FORMAT = "{desc} {bar} {n_fmt}/{total_fmt} [{elapsed}, {remaining} left]"


def describe_found(found: Found, neurons_shown: int = 15) -> str:
    """Return what `mmkn find` prints.

    Parameters
    ----------
    found : Found
    neurons_shown : int
        Rows of the neuron list; the rest is counted.
    """
    effect, neurons, word = found.effect, found.neurons, found.study.concept.word
    layers = ", ".join(
        f"layer {layer}: {count}"
        for layer, count in sorted(neurons.layer_histogram().items())
        if count
    )
    lines = [
        f"{len(neurons)} neurons for {word!r} in {found.study.model.name} ({layers})",
        f"threshold_d {found.thresholds['threshold_d']:.4g}, "
        f"threshold_g {found.thresholds['threshold_g']:.4g} ({found.thresholds['chosen_by']})",
        "",
        f"{'neuron':<12}{'score':>9}  writes",
    ]
    for neuron, words in list(zip(neurons, neurons.words or (), strict=True))[:neurons_shown]:
        place = f"L{neuron.layer}" + (f".{neuron.expert}" if neuron.expert >= 0 else "")
        lines.append(
            f"{place + '·' + str(neuron.index):<12}{neuron.score:>9.4f}  {' '.join(words[:6])}"
        )
    if len(neurons) > neurons_shown:
        lines.append(f"... and {len(neurons) - neurons_shown} more")
    lines.append("")
    for pair in found.captions[:3]:
        lines += [f"before  {pair['before']}", f"after   {pair['after']}", ""]
    control = effect.random_control
    held = "held out" if found.held_out else "the same scenes that chose the neurons"
    beside, elsewhere = (_figure(effect.retention[name]) for name in ("scene", "other"))
    kept = (
        f"beside it {beside}, in scenes without it {elsewhere} (other objects that are still named)"
    )
    if beside == elsewhere == _figure(None):
        kept = f"{beside} (which other objects are there is not known)"
    lines += [
        f"suppression     {_figure(effect.suppression)} (captions that no longer name it)",
        f"retention       {kept}",
        f"substitution    {_figure(effect.substitution)} (captions that name an object that is "
        "not there instead)",
        f"random control  mean {_figure(control['mean'])}, max {_figure(control['max'])} "
        "(as many neurons, same layers)",
        f"scenes          {found.n_scenes} ({held})",
    ]
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "not measured" if value is None or value != value else f"{value:.3f}"
