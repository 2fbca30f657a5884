"""Hundreds of rounds of compute, ablate, restore on one Explorer: the memory stays flat."""

from __future__ import annotations

import random

import numpy as np

import mmkn_widgets as mmkn
from tests.wire.conftest import Page

from .memory import held_kb, slope
from .state import ModelState, warm_pocket
from .tally import Tally

#: KB a round that are surely growth (one scene's map of one layer is more)
MOST = 20.0
#: rounds from which a slope says something
ENOUGH = 100


def run(tally: Tally, count: int, seed: int) -> None:
    """Compute another concept, ablate its neurons, restore; look at the memory after each."""
    draw = random.Random(seed)
    model = warm_pocket()
    state = ModelState(model)
    world = mmkn.datasets.pocket_world("val", 60)
    scenes = {word: world.with_concept(word, 1) for word in ("car", "bus", "dog")}
    scenes = {word: found for word, found in scenes.items() if len(found)}

    def restudy(word: str, **how: object) -> mmkn.Study:
        return mmkn.study(model, word, scenes[word], **how)

    page = Page(mmkn.Explorer(restudy("car"), restudy=restudy))
    before = {word: model.caption(found[0].image) for word, found in scenes.items()}
    rounds: list[float] = []
    held: list[float] = []
    for turn in range(count):
        word = list(scenes)[turn % len(scenes)]
        with tally.one(f"round {turn}, {word}"):
            said, _ = page.ask("compute", concept=word)
            assert said["ok"], said
            kept = np.asarray(page.widget.kept[: draw.randint(1, 60)], "<i4")
            said, _ = page.ask("ablate", [kept.tobytes()], mode=draw.choice(["zero", "mean"]))
            assert said["ok"], said
            assert page.widget.caption_after
            said, _ = page.ask("restore")
            assert said["ok"], said
            assert page.widget.caption_after == ""
            if turn % 10 == 0:
                assert model.caption(scenes[word][0].image) == before[word]
            state.check()
        page.messages.clear()
        rounds.append(turn)
        held.append(held_kb())
    page.widget.close()
    if count < 10:
        return
    found, low, high = slope(rounds, held)
    tally.note = f"memory {found:+.1f} KB a round, 95 % from {low:+.1f} to {high:+.1f}"
    if count >= ENOUGH and low > MOST:
        tally.fail("memory grows", tally.note)
