"""The Explorer: a concept's neurons, where they look, and what changes without them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from ..attribution import best_by_both, default_thresholds, nothing_to_find, share_below
from ..core import BadArgument, CancelToken, NeuronSet, bad_argument, write_whole
from ._base import Answer, Call, bundle, request
from .changes import Changes, Chosen, Following, Move, finite, measured
from .code import caption_line, found_code, setup_code
from .encode import encode_picture, float32_bytes, int32_array
from .look import (
    PREFETCHED,
    Beyond,
    Look,
    enlarge,
    facts_of,
    painted,
    prefetched,
    read_upload,
    scene_lines,
    shown_name,
    thumbnail,
    token_state,
)
from .own import OwnPictures, is_own, scene_code
from .parts import Choosing, recipe_of, reference_of, word_index
from .saved import Pace, Saved, Several, named, save_tokens
from .selection import WHERE, Selection
from .traits import PRESETS, ExplorerTraits, bad_trait

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..models import MultimodalModel, Worker
    from ..studies import Frontier, Study
    from .protocols import StudyLike

__all__ = ["Explorer", "open_explorer"]

_PAGE_SCENES, _MOST_MARKS, _OTHER_SCENES = 8, 40, 24
#: a page waits for it: fewer sizes than a study measures, on fewer scenes
_FRONTIER_SIZES, _FRONTIER_SCENES = (5, 10, 20, 60), 24
_STATE = (
    "mode",
    "threshold_d",
    "threshold_g",
    "quantile_d",
    "quantile_g",
    "axis",
    "scene",
    "overlay",
    "opacity",
    "colormap",
    "smooth",
    "signed",
    "above_percentile",
    "ablate_mode",
    "ablate_scale",
    "preset",
)


class Explorer(ExplorerTraits, Following, Choosing):
    """All parts in one widget, for one study.

    Parameters
    ----------
    study : Study or MultimodalModel
        From `mmkn_widgets.study`; or a model, with `image` and `concept`.
    image : picture or Scene, optional
        With a model: what to look at; whatever `mmkn_widgets.datasets.read_image` reads.
    concept : str, optional
        With a model: the word to look for.
    mask : mask, optional
        With a picture: where the object is, see `mmkn_widgets.datasets.read_mask`. Without it the
        Explorer opens on the picture without scores; paint the object there, then compute.
    threshold_d, threshold_g : float, optional
        By default the pair that keeps the top 5 % by stage 1 and of these the 60 best.
    test_scenes : pair of sequences of Scene, optional
        Held-out scenes with and without the concept, for "measure"; by default the study's own,
        and the page says so.
    preset : {"full", "compact", "teaching"}
        How much is shown.
    state : mapping, optional
        What `state` of another Explorer of the same concept was.
    restudy : callable, optional
        ``restudy(word, progress=..., cancel=...) -> Study``: how "compute" makes the study of
        another word; by default `Study.of_word`.

    Attributes
    ----------
    threshold_d, threshold_g, quantile_d, quantile_g, mode
        The thresholds (traits: observe and set them).
    neurons : NeuronSet
        The checked survivors.
    scene, selected, overlay, opacity, colormap, ...
        What is shown (traits).
    caption_before, caption_after : str
    caption_inpainted : str
        Of the picture with the object painted away; empty until the page asked for it.
    state : dict
        Exactly what is on screen, JSON-able.
    selection : Selection
        The thresholds, the kept, their scores.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 2)
    >>> explorer = mmkn.Explorer(mmkn.study(model, "car", scenes))
    >>> explorer.threshold_d = 0.5
    """

    _esm: ClassVar[Any] = bundle("explorer")
    owned: ClassVar[dict[str, type]] = {"changes": Changes, "beyond": Beyond, "own": OwnPictures}

    neurons = t.Instance(NeuronSet, ((), ()), help="the checked survivors, best first")

    def __init__(
        self,
        study: Any,
        image: Any = None,
        concept: str | None = None,
        mask: Any = None,
        *,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        test_scenes: tuple[Sequence[Any], Sequence[Any]] | None = None,
        preset: str = "full",
        state: Mapping[str, Any] | None = None,
        restudy: Callable[..., Any] | None = None,
    ) -> None:
        if not hasattr(study, "evidence"):
            study = _study_from(study, image, concept, mask)
        if preset not in PRESETS:
            raise bad_trait("preset", preset, "one of " + ", ".join(PRESETS))
        self._study: StudyLike | None = study
        self._given_test = test_scenes
        self._restudy = restudy
        self._seconds: float | None = None
        self._shares: tuple[Any, Any] = (None, None)
        self._loaded: tuple[Any, int] = (None, -1)
        self._inpainted: dict[int, str] = {}
        self._loading = True
        self.changes = Changes(self, study.model)
        self.beyond = Beyond(self)
        self.own = OwnPictures(self)
        super().__init__()
        self.preset = preset
        self.signed = True  # raw means of neurons of both signs cancel
        self._show_study(study, threshold_d, threshold_g)
        self._loading = False
        if state is not None:
            self.state = state
        self.follow(study.model.interventions)

    @property
    def study(self) -> StudyLike:
        """The study that is shown.

        Raises
        ------
        BadArgument
            If the Explorer was closed: it has let go of the study and the model.
        """
        if self._study is None:
            raise bad_argument("study", "a closed Explorer", "one that is open: make it again")
        return self._study

    @property
    def _worker(self) -> Worker | None:
        return None if self._study is None else self._study.model.worker

    # -- a study comes in --------------------------------------------------------------------

    def _show_study(
        self,
        study: StudyLike,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        scene: int = 0,
    ) -> None:
        """Fill every trait from a study and one of its scenes, in one message."""
        look = Look(study)
        chosen = Selection(study.evidence, look.index, self)
        d, g = chosen.difference, chosen.gradcam
        cut_d, cut_g = default_thresholds(d, g, nothing=bool(nothing_to_find(study.evidence)))
        cut_d = cut_d if threshold_d is None else threshold_d
        cut_g = cut_g if threshold_g is None else threshold_g
        self._study, self.look, self.selection = study, look, chosen
        self._computed = study
        self._inpainted = {}
        was, self._loading = self._loading, True
        try:
            with self.hold_sync():
                cuts = {"threshold_d": cut_d, "threshold_g": cut_g}
                self._show({**look.evidence(), **_UNTOUCHED, **cuts})
                self.quantile_g = share_below(g, self.threshold_g)
                best = chosen.kept[:PREFETCHED]
                self.prefetched = prefetched(best, best_by_both(d, g, PREFETCHED))
                if not len(study.scored):  # no scores yet: no neuron is better than another
                    self.prefetched = self.prefetched[:0]
                ids, n = self.prefetched, len(study.scenes)
                names = [str(scene.id) for scene in study.scenes]
                before = [study.captions.get(k, "") for k in range(n)]
                own = [is_own(one) for one in study.scenes]
                mine = sum(own[: len(study.scored)])
                facts = (len(study.scored), str(study.pairs.name), self._seconds, mine)
                self._show(
                    {
                        "scenes": scene_lines(names, before, own),
                        "scene": scene,
                        **look.concept(),
                        **look.scene(scene, ids),
                        "facts": facts_of(study.model, *facts),
                        "thumbnails": look.thumbnails(),
                        "words": look.first_words(ids),
                        "selected": int(ids[0]) if len(ids) else -1,
                        "setup_code": setup_code(study, self.own.folder),
                    }
                )
                self._set_line(scene, before=self.caption_before)
                self._show_active()
                self.neurons = chosen.neurons
        finally:
            self._loading = was

    @t.observe(
        "mode", "threshold_d", "threshold_g", "quantile_d", "quantile_g", "unchecked", "rows_off",
        "picked",
    )  # fmt: skip
    def _on_choice(self, _change: Any) -> None:
        if not self._loading:
            self._guarded(self._choose, "choice")()

    def _choose(self) -> None:
        self.neurons = self.selection.neurons

    # -- scenes ------------------------------------------------------------------------------

    @t.observe("scene")
    def _on_scene(self, _change: Any) -> None:
        if not self._loading:
            self._submit(self._guarded(self._load_scene, "scene"))

    def _load_scene(self) -> None:
        """Show the scene that is wanted now; earlier wishes in the queue find nothing to do."""
        scene, study = self.scene, self.study
        if self._loaded[0] is study and self._loaded[1] == scene:
            return
        self._behind = False
        values = self.look.scene(scene, self.prefetched)
        values |= self._written(scene, None)
        values["caption_inpainted"] = self._inpainted.get(scene, "")
        if scene != self.scene or study is not self.study:
            return
        self._loaded = (study, scene)
        with self.hold_sync():
            self._show(values)
            self._set_line(scene, before=self.caption_before)
            self._show_active()
        if study.model.interventions.active:
            self._later(self._measure, "measure")

    def _set_line(self, scene: int, **changes: str) -> None:
        lines = [dict(line) for line in self.scenes]
        if lines[scene] | changes != lines[scene]:
            lines[scene].update(changes)
            self.scenes = lines

    # -- what acts, and the caption after ----------------------------------------------------

    def chosen(self, call: Call) -> Chosen:
        """Return the neurons that a click means: those that the page sends, else the kept."""
        chosen = self.selection
        ids = chosen.index.checked(int32_array(call.data)) if call.buffers else chosen.kept
        return self._chosen(ids)

    def _chosen(self, ids: np.ndarray) -> Chosen:
        self._need_scores()
        chosen = self.selection
        return Chosen(chosen.set_of(ids), recipe_of(chosen, ids), before=self.concept)

    def reference(self, mode: str) -> tuple[Any, str]:
        """Return what "mean" or "from_inpainted" needs, and the Python for it."""
        return reference_of(self.study, self.scene, mode)

    def rewrite(self, call: Call | None) -> Answer:
        """Caption the shown scene with what is active now, and show what that is."""
        self._behind = False
        self._show_active()
        scene = self.scene
        self.caption_after = ""
        written = self._written(scene, call)
        if scene == self.scene:
            self._show(written)
        self._later(self._measure, "measure")
        return {"caption": written["caption_after"]}

    def follow_up(self) -> None:
        """Write the caption with what others made active."""
        self.rewrite(None)

    def _written(self, scene: int, call: Call | None) -> dict[str, Any]:
        """Write a scene's caption with what is active; return the traits that show it."""
        study, now, found = self.study, self.changes.now, None
        text = ""
        if isinstance(now, Move) and now.scene == scene:
            text, found = self._transplanted(now, call)
        elif study.model.interventions.active:
            prompt = study.options["prompt"]
            options = self._told(call)
            text = str(study.model.caption(study.scenes[scene].image, prompt, **options))
        self._set_line(scene, after=text)
        return {"caption_after": text, "transplanted": found}

    @request("caption_inpainted", stage="writing the caption")
    def _ask_caption_inpainted(self, call: Call) -> Answer:
        """Write what the unchanged model says of the picture without the object."""
        scene = self._asked_scene(call)
        if not self.study.has_pair(scene):
            name = self.study.scenes[scene].id
            raise bad_argument("scene", name, "a scene whose object is painted away: inpaint first")
        picture, prompt = self.study.pictures(scene)[1], self.study.options["prompt"]
        with self.study.model.interventions.suspended():
            written = str(self.study.model.caption(picture, prompt, **self._told(call)))
        self._inpainted[scene] = written
        if scene == self.scene:
            self.caption_inpainted = written
        return {"caption": written}

    def _told(self, call: Call | None) -> dict[str, Any]:
        """Return who hears what is written, and who stops it."""
        if call is None:
            return {"cancel": self._leaving}
        return {
            "on_token": lambda piece, *_row: self._stream(call, str(piece)),
            "cancel": call.cancel,
        }

    def _transplanted(self, move: Move, call: Call | None) -> tuple[str, dict[str, Any]]:
        """Write the caption of a transplant; return it and what became of the word."""
        made = self.study.transplant(
            move.scene, move.index, move.mask, object=move.object, **self._told(call)
        )
        return str(made.after), {
            "object": move.what,
            "word": str(made.word),
            "index": int(made.index),
            "said": str(made.said),
            "success": None if made.success is None else bool(made.success),
            "layers": [int(layer) for layer in made.layers],
        }

    def _show_active(self) -> None:
        self._show(self._active_at(self.scene))

    def _active_at(self, scene: int) -> dict[str, Any]:
        """Return the traits that say what is active, as seen from a scene; nothing measured yet."""
        return {
            "ablation": self.changes.state(lambda: self._code_inside(scene)),
            "found_code": found_code(self.study, scene, self.own.folder),
        }

    def _code_inside(self, scene: int) -> list[str]:
        """Return the lines that write a scene's caption, inside what is active."""
        study, now = self.study, self.changes.now
        if not isinstance(now, Move):
            return [caption_line(study, scene, folder=self.own.folder)]
        made, place, lines = "study", now.scene, []
        if now.scene >= len(study.scored):
            chosen = study.scenes[now.scene]
            if not is_own(chosen):
                said = f"study: make it with {chosen.id} among its scenes"
                return [f"raise NameError({said!r})"]
            made, place = "looked_at", len(study.scored)
            again = scene_code(chosen, study.concept, self.own.folder)
            lines = [f"looked_at = study.with_scene({again})"]
        part = f"{made}.patch_mask({place}, {list(now.cells)})"
        if now.object:
            part = f"{made}.scenes[{place}].mask({now.object!r})"
        more = f", object={now.object!r}" if now.object else ""
        return [*lines, f"print({made}.transplant({place}, {now.index}, {part}{more}).after)"]

    def _measure(self) -> None:
        """Measure what is active on the shown scene, beside what was predicted."""
        scene, stack = self.scene, self.changes.stack
        active = stack.active
        found = measured(self.study, self.changes.now, scene)
        if scene == self.scene and active == stack.active:
            acting = self._active_at(scene)
            self._show({**acting, "ablation": {**acting["ablation"], **found}})

    def ablate(self, mode: str | None = None, scale: float | None = None) -> str:
        """Ablate the kept neurons, as the button does; return the caption after."""
        mode = self.ablate_mode if mode is None else mode
        scale = self.ablate_scale if scale is None else scale

        def act() -> None:
            self.changes.ablate(self._chosen(self.kept), mode, scale)
            self.rewrite(None)

        self._submit(act).result()
        return self.caption_after

    def restore(self) -> None:
        """Take back everything that is active on the model, as the button does."""

        def act() -> None:
            self.changes.restore()
            self.rewrite(None)

        self._submit(act).result()

    def undo(self) -> None:
        """Take back the last change of the model, as the button does."""
        self._submit(lambda: self.changes.ask_undo(Call("", "undo", {}, []))).result()

    def redo(self) -> None:
        """Do again what was taken back, as the button does."""
        self._submit(lambda: self.changes.ask_redo(Call("", "redo", {}, []))).result()

    # -- a part of the picture in the place of a word ----------------------------------------

    @request("transplant", stage="writing the caption")
    def _ask_transplant(self, call: Call) -> Answer:
        scene = self._asked_scene(call)
        index = word_index(call, self.study.caption(scene).split())
        return self._transplant(scene, index, call.text("object"), call.wholes("cells"), call)

    def _transplant(
        self, scene: int, index: int, object: str, cells: Sequence[int], call: Call | None
    ) -> Answer:
        """Write the caption first: what cannot be put there changes nothing."""
        study = self.study
        mask = study.scenes[scene].mask(object) if object else study.patch_mask(scene, cells)
        words = study.caption(scene).split()
        word = words[index].strip(".,")
        move = Move(study.model, scene, index, mask, object=object, cells=cells, word=word)
        with self.changes.without_own():
            text, found = self._transplanted(move, call)
        self.changes.put(move)
        self._behind = False
        self._show_active()
        self._set_line(scene, after=text)
        if scene == self.scene:
            self._show({"caption_after": text, "transplanted": found})
        self._later(self._measure, "measure")
        return {"caption": text}

    def transplant(
        self, word: str | int, object: str | None = None, *, patches: Sequence[int] = ()
    ) -> str:
        """Put an object or patches of the shown picture in the place of a word of its caption.

        Parameters
        ----------
        word : str or int
            A word of `caption_before`, or its place there, from 0.
        object : str, optional
            An object of the shown scene; its patches.
        patches : sequence of int
            Instead of an object: cells of the token grid, ``row * columns + column``.

        Returns
        -------
        str
            The caption after; `transplanted` says what became of the word.
        """
        words = [part.strip(".,;").lower() for part in self.caption_before.split()]
        wanted = f"a word of the caption {self.caption_before!r}"
        if isinstance(word, str) and word.lower() not in words:
            raise bad_argument("word", word, wanted)
        index = words.index(word.lower()) if isinstance(word, str) else int(word)
        if not 0 <= index < len(words):
            raise bad_argument("word", index, f"{wanted}: 0 to {len(words) - 1}")
        scene, cells = self.scene, [int(cell) for cell in patches]
        self._submit(lambda: self._transplant(scene, index, object or "", cells, None)).result()
        return self.caption_after

    # -- what the page asks to see -----------------------------------------------------------

    def looked(self, call: Call) -> tuple[Look, int]:
        """Return what a request for maps looks at."""
        return self.look, self._asked_scene(call)

    def words_of(self, ids: np.ndarray, _call: Call) -> list[list[str]]:
        """Return the words that neurons write."""
        return self.look.words(ids)

    def _asked_scene(self, call: Call) -> int:
        return call.whole("scene", self.scene, beyond=self.look.n_scenes)

    def _asked_neuron(self, call: Call) -> int:
        return call.whole("id", -1, beyond=len(self.look.index))

    @request("patch_scores", stage="looking at the patches")
    def _ask_patch_scores(self, call: Call) -> Answer:
        ids, scene = self.beyond.ids(self.look, int32_array(call.data)), self._asked_scene(call)
        if why := self._missing(scene):
            return {"count": 0, "why": why}
        found = self.study.patch_scores(*self.look.index.split(ids), scene=scene)
        if scene == self.scene:
            maps = {"difference_map": found.difference, "gradcam_map": found.gradcam}
            self._show({name: float32_bytes(values) for name, values in maps.items()})
        return {"count": len(ids)}

    def _missing(self, scene: int) -> str:
        """Return what a scene lacks for both stages over its patches, empty when nothing."""
        study = self.study
        if not study.has_pair(scene):
            return f"paint a mask of the {self.concept} first, then inpaint"
        greedy = study.options["caption"] == "greedy"
        if greedy and not study.concept.named_in(study.caption(scene)):
            return f"the caption does not name “{self.concept}”: no score of it to look at"
        return ""

    @request("lens")
    def _ask_lens(self, call: Call) -> Answer:
        scene = self._asked_scene(call)
        words = [[str(word) for word in cell] for cell in self.study.patch_words(scene)]
        if scene == self.scene:
            self.patch_words = words
        return {}

    @request("tokens")
    def _ask_tokens(self, call: Call) -> Answer:
        flat = self._asked_neuron(call)
        tokens, values = self.look.tokens(flat, self._asked_scene(call))
        self._show(token_state(tokens, values, f"activation of {self.selection.name(flat)}"))
        return {}

    @request("neuron", stage="looking through the scenes")
    def _ask_neuron(self, call: Call) -> Answer:
        from ..studies import shares_of

        (row,), (index,) = self.look.index.split([self._asked_neuron(call)])
        progress, study = self._progress(), self.study
        best = study.strongest_scenes(
            int(row), int(index), _PAGE_SCENES, progress=progress, cancel=call.cancel
        )
        shares = self._word_shares(progress, call.cancel)
        return {
            "scenes": [{"scene": b.scene, "value": b.value, "patch": list(b.patch)} for b in best],
            "concepts": shares_of(shares, int(row), int(index)),
            "captions": int(shares.attrs["scenes"]),
            "neurons": int(np.isfinite(self.selection.difference).sum()),
        }

    @request("serves", stage="reading captions of other words")
    def _ask_serves(self, call: Call) -> Answer:
        """Which other words each of some neurons is among the best for."""
        from ..attribution import served

        ids = np.asarray(call.wholes("ids"), np.int64)
        shares = self._word_shares(self._progress(), call.cancel)["contribution"]
        words = [str(word) for word in shares["word"].values]
        rest = [at for at, word in enumerate(words) if not self.study.concept.named_in(word)]
        if not rest:
            return {"serves": [[] for _ in ids]}
        found = served(shares.isel(word=rest), self.look.index.neurons(ids))
        return {"serves": [text.split(", ") if text else [] for text in found["serves"]]}

    def _word_shares(self, progress: Any, cancel: CancelToken) -> Any:
        """Return what every neuron adds to every word that captions name; computed once."""
        study = self.study
        if self._shares[0] is not study.evidence:
            data = study.dataset
            words = () if data is None else tuple(data.categories)
            others = study.scenes_without(_OTHER_SCENES)
            made = study.word_shares(others, words, progress=progress, cancel=cancel)
            self._shares = (study.evidence, made)
        return self._shares[1]

    # -- long work ---------------------------------------------------------------------------

    @request("compute", stage="computing")
    def _ask_compute(self, call: Call) -> Answer:
        word = call.text("concept").strip()
        if not word:
            raise bad_argument("concept", word, "a word")
        started, old = time.monotonic(), self.study
        make = old.of_word if self._restudy is None else self._restudy
        made = make(word, progress=self._progress(), cancel=call.cancel)
        if not len(made.scored) and word == self.concept:
            raise BadArgument(f"nothing is painted yet: expected the {word} painted on the picture")
        self._seconds = time.monotonic() - started
        added = old.scenes[len(old.scored) :]
        for scene in old.scenes:  # what was added to look at stays, and pictures of one's own do
            if (is_own(scene) or scene in added) and scene not in made.scenes:
                made = made.with_scene(scene)
        shown = old.scenes[self.scene]
        self.show_study(made, made.scenes.index(shown) if shown in made.scenes else 0)
        return {"concept": word, "note": _fewer(old, made)}

    def show_study(self, study: Any, scene: int = 0) -> None:
        """Show another study in this Explorer, with the thresholds that are its own default.

        What is active on the model stays so; undo begins anew.

        Parameters
        ----------
        study : Study
        scene : int
            Which of its scenes.

        Examples
        --------
        >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
        >>> explorer = mmkn.Explorer(mmkn.study(model, "car", val.with_concept("car", 2)))
        >>> explorer.show_study(mmkn.study(model, "dog", val.with_concept("dog", 2)))
        >>> explorer.concept
        'dog'
        >>> explorer.close()
        """
        self.changes.forget()
        if study.model is not self.study.model:
            self._change_model(study)
        self._show_study(study, scene=scene)
        self._behind = bool(study.model.interventions.active)
        self._follow_if_shown()

    def _change_model(self, made: StudyLike) -> None:
        self.unfollow()
        self.changes = Changes(self, made.model)
        self.follow(made.model.interventions)

    def _need_scores(self) -> None:
        if not len(self.study.scored):
            raise bad_argument(
                "study", "a picture without scores", "the object painted on it, then “compute”"
            )

    def _test_scenes(self) -> tuple[Sequence[Any], Sequence[Any], bool]:
        if self._given_test is not None:
            return self._given_test[0], self._given_test[1], True
        study = self.study
        return list(study.scored), study.scenes_without(_OTHER_SCENES), False

    @request("evaluate", stage="measuring")
    def _ask_evaluate(self, call: Call) -> Answer:
        self._need_scores()
        present, absent, held_out = self._test_scenes()
        neurons = self.selection.neurons
        found = self.study.evaluate(
            neurons, present, absent, progress=self._progress(), cancel=call.cancel
        )
        self.effect = {
            "measures": _measures(found),
            "neurons": len(neurons),
            "scenes": int(sum(found.n_scenes.get(key, 0) for key in ("with", "without"))),
            "held_out": held_out,
        }
        return {}

    @request("propose", stage="searching thresholds")
    def _ask_propose(self, call: Call) -> Answer:
        self._need_scores()
        absent = self._test_scenes()[1]
        found = self.study.propose_thresholds(
            without_concept=absent, progress=self._progress(), cancel=call.cancel
        )
        cuts = {"threshold_d": found.threshold_d, "threshold_g": found.threshold_g}
        self._show({"marks": _marks(found), "mode": "absolute", **cuts})  # one step of the history
        return {"met": bool(found.met)}

    @request("frontier", stage="comparing methods")
    def _ask_frontier(self, call: Call) -> Answer:
        from ..studies import measure_frontier

        self._need_scores()
        present, absent, held_out = self._test_scenes()
        shown: Any = self.study
        found = measure_frontier(
            shown, list(present)[:_FRONTIER_SCENES], list(absent)[:_FRONTIER_SCENES],
            counts=_FRONTIER_SIZES, n_random=4, progress=self._progress(), cancel=call.cancel,
        )  # fmt: skip
        self.frontier = self._points(found, held_out)
        return {}

    def show_frontier(self, measured: Frontier, *, held_out: bool = True) -> None:
        """Show sets that were measured elsewhere, each to be taken with a click.

        Parameters
        ----------
        measured : Frontier
            Of the same model, from `mmkn_widgets.studies.measure_frontier`.
        held_out : bool
            Whether its scenes chose nothing; the page says so.
        """
        if measured.concept != self.concept:
            raise bad_argument("measured", measured, f"a frontier of {self.concept!r}")
        self.frontier = self._points(measured, held_out)

    def _points(self, found: Frontier, held_out: bool) -> dict[str, Any]:
        """Return a frontier as the page shows it; sets of which nothing is known are left out."""
        shown, index = [], self.selection.index
        for at, neurons in enumerate(found.sets):
            point = found.points.isel(point=at)
            figures = {name: finite(float(point[name])) for name in _SHOWN}
            if figures["suppression"] is None or figures["retention"] is None:
                continue
            ids = sorted(int(i) for i in index.ids(neurons))
            name = str(point["method"].values)
            shown.append({"method": name, "count": len(ids), "ids": ids, **figures})
        scenes = found.n_scenes["with"] + found.n_scenes["without"]
        return {"points": shown, "scenes": int(scenes), "held_out": bool(held_out)}

    def pick(self, neurons: NeuronSet, label: str = "picked") -> None:
        """Keep a set of one's own, until the thresholds move.

        Parameters
        ----------
        neurons : NeuronSet
            Of this model; may be empty.
        label : str
            What the page calls it.
        """
        ids = sorted(int(i) for i in self.selection.index.ids(neurons))
        self.picked = {"ids": ids, "label": label} | {name: getattr(self, name) for name in WHERE}

    @request("inpaint", stage="painting the object away")
    def _ask_inpaint(self, call: Call) -> Answer:
        scene, mask = self._asked_scene(call), painted(call)
        size = self.study.scenes[scene].image.size
        self._study = self.study.with_mask(scene, enlarge(mask, size))
        self.look = Look(self.study)
        inpainted = encode_picture(self.study.pictures(scene)[1], 640)
        self._inpainted.pop(scene, None)
        self.stale = sorted({*self.stale, scene})
        if scene == self.scene:
            none = {"difference_map": b"", "gradcam_map": b""}
            shown = {**self.look.mask(scene), "inpainted": inpainted, "caption_inpainted": ""}
            self._show({**none, **shown, "mask": mask.tobytes()})
        return {}

    @request("export_html", stage="writing the page")
    def _ask_export_html(self, call: Call) -> Answer:
        from .html import offline_page

        return {}, [offline_page(self, Pace(self._progress(), call.cancel)).encode()]

    # -- a picture of one's own --------------------------------------------------------------

    @request("upload", stage="reading the picture")
    def _ask_upload(self, call: Call) -> Answer:
        image, name, note = read_upload(call.data, call.text("name"))
        return {"scene": self._add(image, name), "note": note}

    def add_picture(self, source: Any, name: str | None = None) -> int:
        """Show a picture of one's own, as the page's upload does; return its number.

        It can be captioned, painted on and, once the concept is painted on it, takes part in the
        next computation.

        Parameters
        ----------
        source : str, path, bytes, PIL.Image.Image or array
            Whatever `mmkn_widgets.datasets.read_image` reads.
        name : str, optional
            What the page calls it.
        """
        from ..datasets import read_image

        image = read_image(source, name="source")
        given = str(source) if isinstance(source, str | Path) else "own picture"
        return int(self._submit(lambda: self._add(image, shown_name(name or given))).result())

    def _add(self, image: Image, name: str) -> int:
        from ..datasets import OWN, Scene

        known = {str(scene.id) for scene in self.study.scenes}
        unique, number = name, 1
        while unique in known:
            number += 1
            unique = f"{name} ({number})"
        self._study = self.study.with_scene(Scene(unique, image, source=OWN))
        self.look = Look(self.study)
        place = len(self.study.scenes) - 1
        lines = [*self.scenes, *scene_lines([unique], own=[True])]
        self._show({"scenes": lines, "thumbnails": [*self.thumbnails, thumbnail(image)]})
        self.scene = place
        return place

    # -- out of the widget -------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """What is on screen, as JSON knows it; `Explorer(study, state=...)` shows it again."""
        chosen = self.selection
        found: dict[str, Any] = {name: getattr(self, name) for name in _STATE}
        found["concept"] = self.concept
        found["unchecked"] = [list(chosen.place(int(i))) for i in self.unchecked]
        found["rows_off"] = [list(chosen.index.rows[int(row)]) for row in self.rows_off]
        picked = chosen.picked
        found["picked"] = picked and {
            "label": picked["label"],
            "places": [list(chosen.place(i)) for i in picked["ids"]],
        }
        found["selected"] = list(chosen.place(self.selected)) if self.selected >= 0 else None
        return found

    @state.setter
    def state(self, saved: Mapping[str, Any]) -> None:
        known = {*_STATE, "concept", "unchecked", "rows_off", "selected", "picked"}
        if unknown := sorted(set(saved) - known):
            raise bad_argument("state", ", ".join(unknown), "the keys of Explorer.state")
        if saved.get("concept", self.concept) != self.concept:
            raise bad_argument("state", saved["concept"], f"a state of {self.concept!r}")
        chosen = self.selection
        with self.hold_trait_notifications():
            for name in _STATE:
                if name in saved:
                    setattr(self, name, saved[name])
            self.unchecked = sorted(chosen.flat(place) for place in saved.get("unchecked", []))
            off = saved.get("rows_off", [])
            self.rows_off = sorted(chosen.index.row(*(int(n) for n in row)) for row in off)
            picked = saved.get("picked")
            where = {name: getattr(self, name) for name in WHERE}
            self.picked = picked and {
                "ids": sorted(chosen.flat(place) for place in picked["places"]),
                "label": picked["label"],
                **where,
            }
            place = saved.get("selected")
            self.selected = -1 if place is None else chosen.flat(place)

    def to_python(self) -> str:
        """Return Python lines that do without a widget what is on screen.

        They make the study, the chosen neurons, what acts on the model, and print the caption.
        Pictures of one's own are written into the folder ``mmkn_pictures``, where the lines read
        them.
        """
        self.own.write()
        chosen = f"neurons = {self.selection.python()}"
        lines = [self.setup_code, chosen, *([self.ablation["code"]] if self._acts() else [])]
        return "\n".join(lines) + "\n"

    def save_python(self, path: str | Path) -> Path:
        """Write a script that does what is on screen, and prints what it found.

        Parameters
        ----------
        path : str or pathlib.Path
            The ``.py`` file. Pictures of one's own are written as by `to_python`.
        """
        self.own.write()
        lines = [self.setup_code, f"neurons = {self.selection.python()}", self.found_code]
        if self._acts():
            lines += ['print("after: ", end="")', self.ablation["code"]]
        return write_whole(path, "\n".join(lines) + "\n")

    def own_scenes(self) -> list[tuple[Any, Any]]:
        """Return the pictures of one's own that the code speaks of, each with the concept."""
        computed, now = self._computed, self.study
        scenes = [scene for scene in (*computed.scenes, *now.scenes) if is_own(scene)]
        return [(scene, now.concept) for scene in dict.fromkeys(scenes)]

    def _acts(self) -> bool:
        return bool(self.ablation["active"])

    def save(self, path: str | Path) -> Path:
        """Write the study and what is on screen as one folder for `mmkn_widgets.open_explorer`."""
        shown = json.dumps(self.state, indent=1) + "\n"
        return Path(self.study.save(path, {"explorer.json": shown}))

    def saved_traits(self, pace: Pace, n: int = 24, neurons: int = 300) -> Saved:
        """Return what another scene and another neuron bring, for a page without a kernel.

        Parameters
        ----------
        pace : Pace
        n : int
            Scenes at most; the shown one is among them.
        neurons : int
            Maps of each scene at least; the kept neurons always have theirs.
        """
        kept = self.kept
        n_maps = max(neurons, min(len(kept), PREFETCHED))
        ids = prefetched(kept, self.prefetched, n_maps)
        scenes = range(min(max(n, self.scene + 1), len(self.study.scenes)))
        decoded = self.prefetched[: len(self.words)].tolist()
        words = dict(zip(decoded, self.words, strict=True))
        known = [words.get(int(i)) for i in ids]
        first = next((k for k, line in enumerate(known) if line is None), len(known))

        def made() -> Saved:
            tokens, found = Several(("scene", "selected")), {}
            for scene in pace.each(scenes):
                found[scene] = self._of_scene(scene, ids) | {"words": known[:first]}
                save_tokens(found[scene], tokens, self.look, scene, named(self))
            return Saved({"scene": found}, [tokens])

        return self._submit(made).result()

    def _of_scene(self, scene: int, ids: np.ndarray) -> dict[str, Any]:
        """Return all that a scene brings, with what acts on the model measured there."""
        seen = {**self.look.scene(scene, ids), **self._written(scene, None)}
        seen["caption_inpainted"] = self._inpainted.get(scene, "")
        acting = self._active_at(scene)
        if self._acts():
            acting["ablation"] |= measured(self.study, self.changes.now, scene)
        return {**seen, **acting}

    @property
    def title(self) -> str:
        """What a saved page is called."""
        return self.concept or type(self).__name__

    def account(self) -> Any:
        """Return what the static view says."""
        from .html import choosing_account, pictures_of, words_by_id

        said = (("before", self.caption_before), ("after", self.caption_after))
        return choosing_account(
            self.selection,
            self.labels,
            of=f" of “{self.concept}” in {self.facts['model']}",
            pictures=pictures_of(self, self.kept),
            lines=[f"{label}: {text}" for label, text in said if text],
            words=words_by_id(self.map_ids, self.words),
        )

    def close(self) -> None:
        """Take back the own change, cancel what runs, let go of the study and the model."""
        if self._closed or self._study is None:
            return
        self.unfollow()
        self.changes.forget()
        super().close()
        self._study = self._given_test = self._restudy = None
        self._shares, self._loaded = (None, None), (None, -1)
        del self.look, self.selection, self.changes, self.beyond, self.own, self._computed


#: what a new study begins with
_UNTOUCHED: dict[str, Any] = {
    "mode": "absolute",
    "unchecked": [],
    "rows_off": [],
    "marks": [],
    "picked": None,
    "frontier": None,
    "caption_after": "",
    "caption_inpainted": "",
    "transplanted": None,
    "stale": [],
    "uploads": True,
    "transplants": True,
    "effect": None,
    "tokens": [],
    "token_values": b"",
}


def _fewer(old: StudyLike, new: StudyLike) -> str:
    """Return words for a number of scenes that is not what it was; pictures of one's own apart."""
    before, now = (sum(not is_own(scene) for scene in study.scored) for study in (old, new))
    if not before or now == before:
        return ""
    return f"{now} scene{'s' * (now != 1)} here, {before} before: no more show {new.concept.word!r}"


def _measures(found: Any) -> dict[str, dict[str, float | None]]:
    """Return an effect's figures with their random controls, as the page shows them."""
    between = (found.bleu or {}).get("with", {}).get("between")
    figures = {
        "suppression": (found.suppression, found.random_control.get("mean")),
        "retention": (found.retention.get("headline"), None),
        "substitution": (found.substitution, None),
        "bleu": (between, None),
    }
    measures = {}
    for name, (value, random) in figures.items():
        if value is not None and finite(value) is not None:
            control = None if random is None else finite(random)
            measures[name] = {"value": float(value), "random": control}
    return measures


#: what the page shows of a set of the frontier
_SHOWN = ("suppression", "retention", "identical", "substitution", "random")


def _marks(found: Any) -> list[dict[str, Any]]:
    """Return the measured pairs of thresholds that the page shows: the frontier, then the best."""
    points = found.points
    least = np.minimum(points["retention"].values, points["suppression"].values)
    order = dict.fromkeys([*found.frontier, *np.argsort(-least)])
    controls = points["random_control"].values if "random_control" in points else None
    instead = points["substitution"].values if "substitution" in points else None
    return [
        {
            "threshold_d": float(points["threshold_d"][k]),
            "threshold_g": float(points["threshold_g"][k]),
            "count": int(points["neurons"][k]),
            "suppression": finite(points["suppression"][k]) or 0.0,
            "retention": finite(points["retention"][k]) or 0.0,
            "substitution": None if instead is None else finite(instead[k]),
            "random": None if controls is None else finite(controls[k]),
        }
        for k in list(order)[:_MOST_MARKS]
    ]


def _study_from(model: MultimodalModel, image: Any, concept: str | None, mask: Any) -> Study:
    """Return the study of one picture; where nobody says where the object is, a blank one."""
    if image is None or concept is None:
        raise bad_argument(
            "study", type(model).__name__, "a Study, or a model with image= and concept="
        )
    from ..attribution import as_concept, has_scene_mask
    from ..datasets import OWN, Scene, read_image, single_scene
    from ..studies import blank_study, study

    if mask is not None:
        if isinstance(image, Scene):
            raise bad_argument("mask", type(mask).__name__, "no mask beside a Scene, or a picture")
        return study(model, concept, single_scene(image, mask, concept))
    if not isinstance(image, Scene):
        name = Path(image).name if isinstance(image, str | Path) else "picture"
        image = Scene(name, read_image(image, name="image"), source=OWN)
    wanted = as_concept(concept)
    named = any(wanted.named_in(category) for category in image.categories)
    if not image.categories or (named and not has_scene_mask(image, wanted)):
        return blank_study(model, concept, image)  # the page asks for the mask
    return study(model, concept, image)


def open_explorer(path: str | Path, model: MultimodalModel | None = None) -> Explorer:
    """Open what `Explorer.save` wrote.

    Parameters
    ----------
    path : str or pathlib.Path
        The folder.
    model : MultimodalModel, optional
        The study's model; by default it is loaded by its name.

    Returns
    -------
    Explorer

    Raises
    ------
    BadArgument
        If the folder holds no study, or what was on screen cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 1)
    >>> explorer = mmkn.Explorer(mmkn.study(model, "car", scenes), threshold_d=0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = mmkn.open_explorer(explorer.save(folder + "/car"), model)
    >>> again.threshold_d
    0.5
    """
    from ..studies import open_study

    study = open_study(path, model)
    file = Path(path) / "explorer.json"
    if not file.is_file():
        return Explorer(study)
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise bad_argument("path", str(file), "what Explorer.save wrote") from error
    return Explorer(study, state=state)
