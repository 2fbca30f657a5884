"""Break the code on purpose in sixty places, and see which of them the tests notice.

Each mutant is one wrong line as somebody might write it: a sign, a comparison, an axis, a lock or a
restore that is forgotten. It is made in a copy of the working tree, and the tests that should
notice it run there. What survives says that a test is missing::

    make mutants                       all of them; about ten minutes on two cores
    make mutants MUTANTS_ARGS="evaluation"      those whose line in the table has the word
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: The share that must be noticed.
WANTED = 0.95

#: Seconds that the tests of one mutant may take. Who takes longer hangs, or the machine is busy:
#: the table says so, and does not count it.
LIMIT = 300


@dataclass(frozen=True)
class Mutant:
    """One wrong line.

    Attributes
    ----------
    file : str
    what : str
        What is wrong with it, in words.
    old, new : str
        The text, which stands once in the file, and what takes its place.
    tests : tuple of str
        That should notice: pytest's ids, or of TypeScript ``js/tests/FILE::part of a title``.
    """

    file: str
    what: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def room(self) -> str:
        """The room of the package, or ``js``."""
        parts = Path(self.file).parts
        return "js" if parts[0] == "js" else parts[1]

    @property
    def line(self) -> str:
        """What the table says of it."""
        return f"{self.room:<14} {Path(self.file).name:<19} {self.what}"


def _of(file: str, what: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(file, what, old, new, tests)


_PY, _T, _W = "mmkn_widgets/", "tests/unit/", "tests/wire/"
_JS, _JT = "js/src/core/", "js/tests/"

MUTANTS: tuple[Mutant, ...] = (
    # -- core ------------------------------------------------------------------------------------
    _of(
        _PY + "core/whole.py",
        "a real number at the top of its range is refused",
        "(highest is not None and found > highest)",
        "(highest is not None and found >= highest)",
        _T + "attribution/test_numbers.py::test_real_numbers",
    ),
    _of(
        _PY + "core/whole.py",
        "whole numbers go one beyond the top of their range",
        "int(found.max()) > high)",
        "int(found.max()) > high + 1)",
        _T + "attribution/test_numbers.py::test_the_last_neuron_is_there_and_the_next_is_not",
    ),
    _of(
        _PY + "core/whole.py",
        "a whole number at the top of its range is refused, unless it is an int",
        "    if not low <= found <= high:",
        "    if not low <= found < high:",
        _T + "attribution/test_numbers.py::test_what_is_the_number_5",
    ),
    _of(
        _PY + "core/files.py",
        "a file is renamed before it is on the disk",
        "            sync(part)\n            unfinished.take(part, place)",
        "            unfinished.take(part, place)",
        _T + "core/test_files.py::test_everything_is_on_the_disk_before_it_takes_its_place",
    ),
    _of(
        _PY + "core/files.py",
        "a sweep removes what another saver is writing",
        "        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)\n        path.unlink()",
        "        path.unlink()",
        _T + "core/test_files.py::test_only_what_is_dead_is_swept",
    ),
    _of(
        _PY + "core/neurons.py",
        "a neuron behind the last of its layer is taken",
        "index[-1] >= site.width",
        "index[-1] > site.width",
        _T + "attribution/test_numbers.py::test_the_last_neuron_is_there_and_the_next_is_not",
    ),
    _of(
        _PY + "core/neurons.py",
        "signs are those of other neurons than the chosen",
        "sign = np.sign(np.nan_to_num(activation[ids[order]]))",
        "sign = np.sign(np.nan_to_num(activation[order]))",
        _T + "attribution/test_thresholds.py::test_the_signs_are_those_of_the_chosen_neurons",
    ),
    # -- datasets --------------------------------------------------------------------------------
    _of(
        _PY + "datasets/masks.py",
        "a box is one pixel too narrow",
        "float(columns[-1]) - x + 1,",
        "float(columns[-1]) - x,",
        _T + "datasets/test_folder.py",
        _T + "datasets/test_given.py::test_a_picture_with_its_mask",
    ),
    _of(
        _PY + "datasets/masks.py",
        "run lengths go along rows instead of columns",
        "inside.reshape((width, height)).T",
        "inside.reshape((height, width))",
        _T + "datasets/test_masks.py::test_run_lengths_are_those_of_pycocotools",
    ),
    _of(
        _PY + "datasets/masks.py",
        "run lengths may end too early",
        "sum(runs) != height * width",
        "sum(runs) > height * width",
        _T + "datasets/test_masks.py::test_damaged_segmentations_say_why",
    ),
    _of(
        _PY + "datasets/masks.py",
        "a pixel of one half is outside of a mask of floats",
        "return values >= 0.5 if",
        "return values > 0.5 if",
        _T + "datasets/test_masks.py::test_of_shares_of_a_pixel_one_half_and_more_is_inside",
    ),
    _of(
        _PY + "datasets/base.py",
        "two cups have only the pixels that both have",
        "union: np.ndarray = np.logical_or.reduce(masks)",
        "union: np.ndarray = np.logical_and.reduce(masks)",
        _T + "datasets/test_coco.py::test_masks_are_those_of_pycocotools",
        _PY + "datasets/base.py",
    ),
    _of(
        _PY + "datasets/base.py",
        "what nobody looked for counts as absent",
        "return self._absent is None or category in self._absent",
        "return True",
        _T + "datasets/test_coco_as_tools_write_it.py",
    ),
    _of(
        _PY + "datasets/images.py",
        "a picture that is mirrored and turned (EXIF 5) keeps its sides",
        "in (5, 6, 7, 8)",
        "in (6, 7, 8)",
        _T + "datasets/test_images.py"
        "::test_the_size_in_a_file_s_head_is_that_of_the_picture_as_it_is_read",
    ),
    # -- models ----------------------------------------------------------------------------------
    _of(
        _PY + "models/geometry/geometry.py",
        "a point on an edge lies in both cells",
        "(x0 <= x) & (x < x1)",
        "(x0 <= x) & (x <= x1)",
        _T + "models/test_geometry.py::test_a_point_on_an_edge_lies_in_one_cell",
    ),
    _of(
        _PY + "models/geometry/geometry.py",
        "rows and columns are those of the coarsest panel",
        "for panel in reversed(self.panels):",
        "for panel in self.panels:",
        _T + "models/test_geometry.py::test_the_finest_panel_comes_first_and_gives_the_raster",
    ),
    _of(
        _PY + "models/geometry/geometry.py",
        "one picture too many may be chosen",
        "if not 0 <= which < n:",
        "if not 0 <= which <= n:",
        _T + "models/test_several_pictures.py::test_each_picture_is_painted_alone",
    ),
    _of(
        _PY + "models/geometry/find.py",
        "the coarsest panel comes first",
        "key=lambda panel: panel.cell_area)",
        "key=lambda panel: -panel.cell_area)",
        _T + "models/test_geometry.py::test_the_finest_panel_comes_first_and_gives_the_raster",
    ),
    # -- activations -----------------------------------------------------------------------------
    _of(
        _PY + "activations/read_store.py",
        "a chunk's checksum is not looked at",
        "if checksum(chunk[:size]) != crc:",
        "if False:",
        _T + "activations/test_store_faults.py::test_damage_is_found_when_it_is_read",
    ),
    _of(
        _PY + "activations/capture.py",
        "a store passes for that of other pictures",
        'if there and writer.source(ids[place]) not in ("", source):',
        "if False:",
        _T + "activations/test_capture.py::test_a_store_never_passes_for_that_of_other_pictures",
    ),
    _of(
        _PY + "activations/memory.py",
        "a reduction takes one byte a number instead of four",
        "rows * model.n_neurons * 4 * (1 + gradients)",
        "rows * model.n_neurons * (1 + gradients)",
        _T + "activations/test_capture.py::test_the_need_of_reductions_is_their_bytes",
    ),
    _of(
        _PY + "activations/accessor.py",
        "kept reductions are taken for values that were changed since",
        "if kept is not None and role is not None and is_unread(self._store[variable]):",
        "if kept is not None and role is not None:",
        _T + "activations/test_idioms.py"
        "::test_kept_reductions_count_only_while_the_values_are_those_written",
    ),
    _of(
        _PY + "activations/accessor.py",
        "a map's y are the pixels' upper edges",
        "y = (np.arange(painted.shape[0]) + 0.5) * height / painted.shape[0]",
        "y = np.arange(painted.shape[0]) * height / painted.shape[0]",
        _T + "activations/test_accessor.py::test_a_map_is_the_geometrys_painting",
    ),
    _of(
        _PY + "activations/accessor.py",
        "the second axis is the smaller of text and generated tokens",
        "np.fmax.reduce([part.values",
        "np.fmin.reduce([part.values",
        _T + "activations/test_store_scores.py::test_image_against_text",
    ),
    # -- attribution -----------------------------------------------------------------------------
    _of(
        _PY + "attribution/thresholds.py",
        "Benjamini and Hochberg one rank off",
        "np.arange(1, len(values) + 1) / max(len(values), 1)",
        "np.arange(len(values)) / max(len(values), 1)",
        _T + "attribution/test_thresholds.py::test_discoveries_are_those_of_benjamini_and_hochberg",
    ),
    _of(
        _PY + "attribution/thresholds.py",
        "every p-value is 0",
        "np.asarray(np.minimum(share, 1))",
        "np.asarray(np.minimum(share, 1)) * 0",
        _T + "attribution/test_thresholds.py"
        "::test_permutation_finds_planted_neurons_and_little_else",
    ),
    _of(
        _PY + "attribution/two_stage.py",
        "the worse of two ranks becomes the better",
        "rank.max(0)))",
        "rank.min(0)))",
        _T + "attribution/test_default_rule.py"
        "::test_the_best_by_both_are_kept_by_the_tightest_pairs",
    ),
    _of(
        _PY + "attribution/scoring.py",
        "the mean over image tokens is one over all tokens",
        "return (values * mask).sum(1) / mask.sum(1)",
        "return (values * mask).mean(1)",
        _T + "attribution/test_evidence.py::test_positions_and_reductions",
    ),
    _of(
        _PY + "attribution/scoring.py",
        "the tokens of a concept are scored where the others are predicted",
        "predicting = (ends[:, None] - torch.arange(n_sub - 1, -1, -1))",
        "predicting = (ends[:, None] - torch.arange(n_sub))",
        _T + "attribution/test_evidence.py::test_a_concept_of_several_tokens",
    ),
    _of(
        _PY + "attribution/evidence.py",
        "scores depend on what is ablated",
        "    with model.interventions.suspended():",
        "    with model.interventions.inner():",
        _T + "attribution/test_evidence.py::test_the_batch_does_not_matter_nor_what_is_ablated",
    ),
    _of(
        _PY + "attribution/evidence.py",
        "log-probabilities without the object stand beside other scenes",
        "np.asarray(sums.log_prob_inpainted, np.float32)[order]",
        "np.asarray(sums.log_prob_inpainted, np.float32)",
        _T + "attribution/test_evidence.py::test_each_scene_says_what_was_predicted",
        _T + "attribution/test_evidence.py::test_the_batch_does_not_matter_nor_what_is_ablated",
    ),
    # -- interventions ---------------------------------------------------------------------------
    _of(
        _PY + "interventions/where.py",
        "the prompt's last token predicts nothing",
        "return index >= prompt - 1",
        "return index >= prompt",
        _T + "interventions/test_ablation.py::test_positions_and_steps_across_prefill_and_cache",
    ),
    _of(
        _PY + "interventions/stack.py",
        "a prompt's length outlives its run",
        "            run.prompt_length = outer\n",
        "            pass\n",
        _T + "interventions/test_ablation.py::test_prompt_length_of_a_teacher_forced_caption",
    ),
    _of(
        _PY + "interventions/stack.py",
        "undo brings back what an older with block holds",
        "if e.scoped and e.born > when)",
        "if e.scoped)",
        _T + "interventions/test_stack.py::test_history_leaves_with_blocks_alone",
        _T + "interventions/test_stack_states.py",
    ),
    _of(
        _PY + "interventions/stack.py",
        "redo brings back what a newer change has replaced",
        "        self.future.clear()\n",
        "",
        _T + "interventions/test_stack.py::test_undo_and_redo",
    ),
    _of(
        _PY + "interventions/weights.py",
        "original columns are those that are written now",
        "            if int(neuron) in kept:",
        "            if False:",
        _T + "interventions/test_weights.py::test_originals_are_seen_under_a_change",
    ),
    _of(
        _PY + "interventions/transplantation.py",
        "a patch that is covered exactly to the threshold belongs to the object",
        "chosen = covered > threshold",
        "chosen = covered >= threshold",
        _T + "interventions/test_transplant.py"
        "::test_a_patch_covered_just_to_the_threshold_is_left_out",
    ),
    _of(
        _PY + "interventions/closed_form.py",
        "the way from a word to another is their sum",
        ".mean(0) - start",
        ".mean(0) + start",
        _T + "interventions/test_edit.py::test_the_closed_form_is_the_papers",
    ),
    # -- evaluation ------------------------------------------------------------------------------
    _of(
        _PY + "evaluation/maps.py",
        "upsampling by corners, half a cell off",
        'mode="bilinear", align_corners=False',
        'mode="bilinear", align_corners=True',
        _T + "evaluation/test_maps.py::test_a_sample_lies_at_its_cell_s_centre_in_y_as_in_x",
    ),
    _of(
        _PY + "evaluation/maps.py",
        "pixels at the percentile are among the hottest",
        "hot = painted > np.percentile",
        "hot = painted >= np.percentile",
        _T + "evaluation/test_maps.py::test_iou_above_the_percentile",
    ),
    _of(
        _PY + "evaluation/concept.py",
        "retention is the better of the two",
        "min(defined, default=None)",
        "max(defined, default=None)",
        _T + "evaluation/test_concept.py::test_retention_has_scene_other_and_the_smaller",
    ),
    _of(
        _PY + "evaluation/effect.py",
        "fewer uniform draws than a quarter",
        "uniform = -(-n_random // 4)",
        "uniform = n_random // 4",
        _T + "evaluation/test_effect.py::test_a_quarter_as_many_uniform_draws_rounded_up",
    ),
    _of(
        _PY + "evaluation/captioning.py",
        "captions before are kept whatever the prompt",
        "return self.model.name, self.model.weights_hash, self.prompt, self._length",
        "return self.model.name, self.model.weights_hash, self._length",
        _T + "evaluation/test_effect.py::test_captions_before_are_kept_between_calls",
    ),
    _of(
        _PY + "evaluation/captioning.py",
        "a random draw's answer is kept whatever the concept",
        "off = [_hash(made_by, str(concept), _key(neurons))",
        "off = [_hash(made_by, _key(neurons))",
        _T + "evaluation/test_first_naming.py::test_the_answers_are_those_of_written_captions",
    ),
    # -- studies ---------------------------------------------------------------------------------
    _of(
        _PY + "studies/study.py",
        "the predicted change has the other sign",
        "return predicted_from_sum(sums, neurons.mask(self.model), scale)",
        "return -predicted_from_sum(sums, neurons.mask(self.model), scale)",
        _T + "studies/test_scenes_of_words.py::test_the_predicted_change_is_the_sum_by_hand",
    ),
    _of(
        _PY + "studies/study.py",
        "the caption before is that of the changed model",
        "            with self.model.interventions.suspended():\n                self._captions",
        "            with self.model.interventions.inner():\n                self._captions",
        _T + "studies/test_on_one_scene.py::test_the_caption_before_is_that_of_the_unchanged_model",
    ),
    _of(
        _PY + "studies/on_scene.py",
        "the cell behind the last is one of the picture",
        "(chosen >= rows * cols)",
        "(chosen > rows * cols)",
        _T + "studies/test_scenes_of_words.py::test_cells_become_a_mask_of_the_picture",
    ),
    _of(
        _PY + "studies/on_scene.py",
        "a cell says the word of the coarsest token there",
        "here[np.argmin(sizes[here])]",
        "here[np.argmax(sizes[here])]",
        _T + "studies/test_on_one_scene.py"
        "::test_a_cell_says_the_word_of_the_finest_token_that_looks_there",
    ),
    # -- widgets ---------------------------------------------------------------------------------
    _of(
        _PY + "widgets/selection.py",
        "a score equal to its threshold passes",
        "            return passes(self.difference, self.gradcam, *self.thresholds)\n",
        "            d, g = map(np.float32, self.thresholds)\n"
        "            return (self.difference >= d) & (self.gradcam >= g)\n",
        _W + "test_explorer.py::test_a_score_equal_to_its_threshold_does_not_pass",
    ),
    _of(
        _PY + "widgets/concept_pair.py",
        "the random control is written on top of the ablation",
        "with self.model.interventions.suspended(), self.model.ablate(drawn",
        "with self.model.interventions.inner(), self.model.ablate(drawn",
        _W + "test_pair.py::test_the_control_runs_alone_and_leaves_what_is_active",
    ),
    _of(
        _PY + "widgets/encode.py",
        "maps travel in steps that are too small",
        "(filled.max(1) - low) / 255)",
        "(filled.max(1) - low) / 256)",
        _W + "test_explorer.py::test_grids_decode_to_the_maps_within_half_a_step",
    ),
    _of(
        _PY + "widgets/changes.py",
        "an Explorer that comes later does not know what is active",
        "self._behind = bool(stack.active)",
        "self._behind = False",
        _W + "test_lifetimes.py::test_an_explorer_that_comes_later_shows_what_acts",
    ),
    # -- the page --------------------------------------------------------------------------------
    # -- where neurons act -----------------------------------------------------------------------
    _of(
        _PY + "interventions/masking.py",
        "a mask for all tokens is learned from the prompt's last one on",
        'super().__init__(model, rows, Selection.of(positions), name="learning a mask")',
        'super().__init__(model, rows, Selection.of("predicting"), name="learning a mask")',
        _T + "interventions/test_masking.py::test_a_mask_is_learned_where_it_will_be_used",
    ),
    _of(
        _PY + "interventions/ablation.py",
        "a range is open at its lower end",
        "(wide >= low) & (wide <= high)",
        "(wide <= high)",
        _T + "interventions/test_ablation.py::test_a_range_silences_a_neuron_only_inside",
    ),
    _of(
        _PY + "studies/patching.py",
        "each picture gets its own activations",
        "zip(pair, reversed(ready), strict=True)",
        "zip(pair, ready, strict=True)",
        _T + "studies/test_patching.py::test_both_directions_are_those_of_plain_hooks",
    ),
    _of(
        _PY + "attribution/scoring.py",
        "attribution patching counts the size of a change and not its sign",
        "patched = (slope * d * tokens).sum(1)",
        "patched = (slope * d.abs() * tokens).sum(1)",
        _T + "attribution/test_evidence.py"
        "::test_attribution_patching_is_captums_gradient_times_what_the_object_changes",
    ),
    _of(
        _JS + "evidence.ts",
        "a score equal to its threshold passes",
        "num(this.difference, i) > td &&",
        "num(this.difference, i) >= td &&",
        _JT + "core.test.ts::evidence",
    ),
    _of(
        _JS + "heat.ts",
        "upsampling half a cell off in y",
        "between(y, height, rows)",
        "between(y + (0.5 * height) / rows, height, rows)",
        _JT + "core.test.ts::heat",
    ),
    _of(
        _JS + "heat.ts",
        "a signed map is clear where it is most negative",
        "Math.abs((2 * t) / 255 - 1) : t / 255",
        "t / 255 : t / 255",
        _JT + "drag.test.ts::shading",
    ),
    _of(
        _JS + "pair.ts",
        "the other order of a column shows the list of the first",
        "`${part} ${by} ${ascending} ${this.key()}`",
        "`${part} ${by} ${this.key()}`",
        _JT + "pair.test.ts::parts",
    ),
    _of(
        _JS + "colormap.ts",
        "the largest value has not the map's last colour",
        "(i / 255) * (n - 1)",
        "(i / 256) * (n - 1)",
        _JT + "core.test.ts",
    ),
    _of(
        _JS + "axis.ts",
        "the threshold below every value is above the most negative ones",
        "Math.fround(min * 1.0001 - 1e-9)",
        "Math.fround(min * 0.9999 - 1e-9)",
        _JT + "core.test.ts::axis",
    ),
    _of(
        _JS + "table_csv.ts",
        "words that begin with + - @ run as formulas",
        "/^[=+\\-@\\t\\r]/",
        "/^[=\\t\\r]/",
        _JT + "session.test.ts::derived",
    ),
    _of(
        _JS + "evidence.ts",
        "older gradients stay where new ones are given",
        "if (this.ordered?.of !== values) {",
        "if (!this.ordered) {",
        _JT + "session.test.ts::derived",
    ),
)


# -- a copy of the working tree ------------------------------------------------------------------


def copy_tree(target: Path) -> None:
    """Copy what git knows or would add, and what was built; node's modules are linked."""
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for name in ("static", "labextension"):
        if (ROOT / "mmkn_widgets" / name).is_dir():
            shutil.copytree(
                ROOT / "mmkn_widgets" / name, target / "mmkn_widgets" / name, dirs_exist_ok=True
            )
    (target / "js" / "node_modules").symlink_to((ROOT / "js" / "node_modules").resolve())


class Tree:
    """One copy, with at most one mutant in it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said = ""
        self._writes = 0

    def _write(self, file: Path, text: str) -> None:
        file.write_text(text, encoding="utf-8")
        # bytecode goes by size and whole seconds, and a mutant may be as long as the original
        self._writes += 1
        when = time.time() + 10 * self._writes
        os.utime(file, (when, when))

    @contextmanager
    def with_mutant(self, mutant: Mutant) -> Iterator[None]:
        """Return a context in which the mutant is there."""
        file = self.path / mutant.file
        text = file.read_text(encoding="utf-8")
        self._write(file, text.replace(mutant.old, mutant.new))
        try:
            yield
        finally:
            self._write(file, text)

    def run(self, tests: Sequence[str], limit: float) -> int | None:
        """Run tests; return the exit status, None where they took too long."""
        python = [test for test in tests if not test.startswith(_JT)]
        if python and (status := self._pytest(python, limit)) != 0:
            return status
        page = [test.partition("::") for test in tests if test.startswith(_JT)]
        for file in dict.fromkeys(file for file, _, _ in page):
            titles = [title for one, _, title in page if one == file]
            if (status := self._vitest(file, titles if all(titles) else [], limit)) != 0:
                return status
        return 0

    def _pytest(self, tests: Sequence[str], limit: float) -> int | None:
        log = self.path.parent / "pytest.txt"
        process = _CONTEXT.Process(target=_pytest, args=(self.path, tests, log))
        process.start()
        process.join(limit)
        if process.exitcode is None:
            process.kill()
            process.join()
            return None
        self.said = log.read_text(encoding="utf-8", errors="replace")
        return process.exitcode

    def _vitest(self, file: str, titles: Sequence[str], limit: float) -> int | None:
        command = [str(self.path / "js/node_modules/.bin/vitest"), "run", "--bail=1"]
        command += [file.removeprefix("js/"), *(["-t", "|".join(titles)] if titles else [])]
        try:
            done = subprocess.run(
                command, cwd=self.path / "js", timeout=limit, capture_output=True, text=True
            )
        except subprocess.TimeoutExpired:
            return None
        self.said = done.stdout + done.stderr
        return done.returncode


#: Every run of pytest is a fork of a process that has imported what takes seconds, none of it ours.
_CONTEXT = multiprocessing.get_context("forkserver")
_HEAVY = ["pytest", "hypothesis", "torch", "transformers", "xarray", "pandas", "ipywidgets"]


def _pytest(tree: Path, tests: Sequence[str], log: Path) -> None:
    """Run tests of a copy; this process ends with their status."""
    import hypothesis
    import pytest

    # a busy machine is slow, which is not what is wrong with a mutant
    hypothesis.settings.register_profile("mutants", deadline=None)
    hypothesis.settings.load_profile("mutants")
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os.environ["PYTHONPATH"] = str(tree)
    options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line"]
    status = pytest.main([*options, f"--basetemp={tree.parent / 'tmp'}", *tests])
    sys.stdout.flush()
    os._exit(int(status))


# -- the table -----------------------------------------------------------------------------------


def stale(mutants: Sequence[Mutant]) -> list[str]:
    """Return the lines of mutants whose text does not stand in its file exactly once."""
    texts = {file: (ROOT / file).read_text(encoding="utf-8") for file in {m.file for m in mutants}}
    return [mutant.line for mutant in mutants if texts[mutant.file].count(mutant.old) != 1]


def verdict(tree: Tree, mutant: Mutant) -> tuple[str, float]:
    """Return whether the tests notice a mutant, and the seconds that it took."""
    start = time.monotonic()
    with tree.with_mutant(mutant):
        status = tree.run(mutant.tests, LIMIT)
    said = {0: "SURVIVED", 1: "noticed", None: "too long"}.get(status, f"no test ran ({status})")
    return said, time.monotonic() - start


def main() -> int:
    """Print the table; return 1 where too few are noticed."""
    reader = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reader.add_argument("words", nargs="*", help="only mutants whose line has one of the words")
    reader.add_argument("--jobs", type=int, default=1, help="copies of the tree at work at once")
    reader.add_argument("--unproved", action="store_true", help="do not first run the tests whole")
    given = reader.parse_args()
    chosen = [m for m in MUTANTS if not given.words or any(w in m.line for w in given.words)]
    gone = stale(chosen)
    if not chosen or gone:
        print("\n".join(["these do not stand in the code any more:", *gone] if gone else ["none"]))
        return 1
    # before torch or a tokenizer is imported anywhere
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", MPLBACKEND="Agg")
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    _CONTEXT.set_forkserver_preload(_HEAVY)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        free: queue.Queue[Tree] = queue.Queue()
        for number in range(max(1, given.jobs)):
            tree = Tree(Path(folder) / str(number) / "tree")
            copy_tree(tree.path)
            free.put(tree)
        every = list(dict.fromkeys(test for mutant in chosen for test in mutant.tests))
        if not given.unproved and tree.run(every, LIMIT * 10) != 0:
            print("the tests fail without any mutant:\n" + tree.said[-3000:])
            return 1

        def judge(mutant: Mutant) -> str:
            own = free.get()
            try:
                said, seconds = verdict(own, mutant)
            finally:
                free.put(own)
            print(f"{said:<9} {seconds:4.0f} s  {mutant.line}", flush=True)
            return said

        with ThreadPoolExecutor(max(1, given.jobs)) as pool:
            found = list(pool.map(judge, chosen))
    noticed = found.count("noticed")
    for room in dict.fromkeys(m.room for m in chosen):
        own = [said for said, m in zip(found, chosen, strict=True) if m.room == room]
        print(f"  {room:<14} {own.count('noticed'):2} of {len(own):2}")
    print(f"noticed: {noticed} of {len(chosen)} ({noticed / len(chosen):.0%})")
    return 0 if noticed >= WANTED * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
