"""The challenge as a widget: the task, its buttons and the table of tries, above an Explorer."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets as t

from ..core import NeuronSet
from ._base import explain
from .explorer import Explorer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core import Progress
    from ..studies import Challenge

__all__ = ["ChallengeBox"]

#: ipywidgets gives text no style of its own; colours and lines are the page's
_STYLE = """<style>
.mmkn-challenge .widget-html-content { line-height: 1.45; overflow-x: auto; }
.mmkn-challenge .task b { font-size: 1.15em; }
.mmkn-challenge .task div, .mmkn-challenge table + div { opacity: .75; }
.mmkn-challenge .task span { white-space: nowrap; }
.mmkn-challenge table { border-collapse: collapse; margin: 6px 0 2px; white-space: nowrap; }
.mmkn-challenge table + div { margin-bottom: 8px; }
.mmkn-challenge :is(th, td) { padding: 3px 0 3px 18px; line-height: 1.3;
  font-variant-numeric: tabular-nums; border-top: 1px solid rgb(128 128 128 / 25%); }
.mmkn-challenge :is(th, td):first-child { padding-left: 0; }
.mmkn-challenge th { font-weight: 600; border-top: 0; }
</style>"""


class ChallengeBox(ipywidgets.VBox):
    """A `Challenge` to play with the mouse.

    The thresholds and the checked neurons of the Explorer are what "Submit" has judged, on the
    model's worker thread. Until "Reveal answers" nothing of them is in the page or the notebook.
    "Next task" goes on with the next seed.

    Parameters
    ----------
    challenge : Challenge
        From `mmkn_widgets.studies`.
    preset : {"full", "compact", "teaching"}
        Of the Explorer.

    Attributes
    ----------
    challenge : Challenge
        The task that is shown: after "Next task" the next one.
    explorer : Explorer
        Looks at ``challenge.study``.
    neurons : NeuronSet
    threshold_d, threshold_g : float
        The Explorer's: traits, linked.

    Examples
    --------
    >>> from mmkn_widgets.studies import Challenge
    >>> model = mmkn.load_model("pocket")
    >>> box = ChallengeBox(Challenge(model, "car", 6, n_looked=4, n_judged=4, n_random=1))
    >>> box
    ChallengeBox(<Challenge 0: silence 'car' in pocket with at most 6 neurons; 0 tries>)
    >>> box.threshold_d = 0.5
    >>> box.explorer.threshold_d
    0.5
    >>> box.submit.click()
    >>> box.wait()
    >>> len(box.challenge.tries)
    1
    >>> box.close()
    """

    neurons = t.Instance(NeuronSet, ((), ()), help="what would be submitted")
    threshold_d = t.Float()
    threshold_g = t.Float()

    def __init__(self, challenge: Challenge, *, preset: str = "compact") -> None:
        self.challenge = challenge
        self.explorer = Explorer(challenge.study, preset=preset)
        self.submit = ipywidgets.Button(
            description="Submit", button_style="primary", tooltip="Judge the kept neurons"
        )
        self.reveal = ipywidgets.Button(
            description="Reveal answers",
            tooltip="Show what the methods reach; this ends the task",
        )
        self.following = ipywidgets.Button(
            description="Next task", tooltip="Another word, budget and scenes, by the next seed"
        )
        self._busy = False
        #: what is asked for
        self.task = ipywidgets.HTML()
        #: one line: how many neurons are kept, what runs, what the last try reached, or why not
        self.said = ipywidgets.HTML(layout={"flex": "1 1 20em", "margin": "0 0 0 8px"})
        #: the tries, and the answers when they are revealed
        self.table = ipywidgets.HTML()
        line = ipywidgets.HBox(
            [self.submit, self.reveal, self.following, self.said],
            layout={"flex_flow": "row wrap", "align_items": "center"},
        )
        super().__init__(
            [ipywidgets.HTML(_STYLE), self.task, line, self.table, self.explorer],
            layout={"padding": "4px 0"},
        )
        self.add_class("mmkn-challenge")
        for name in ("threshold_d", "threshold_g"):
            t.link((self.explorer, name), (self, name))
        t.dlink((self.explorer, "neurons"), (self, "neurons"))
        self.explorer.observe(self._on_neurons, "concept")
        self.submit.on_click(lambda _button: self._begin("judging", self._submit))
        self.reveal.on_click(lambda _button: self._begin("measuring the answers", self._reveal))
        self.following.on_click(lambda _button: self._begin("making a task", self._next))
        self._show()

    def __repr__(self) -> str:
        return f"ChallengeBox({self.challenge!r})"

    @t.observe("neurons")
    def _on_neurons(self, _change: Any) -> None:
        if not self._busy:
            self.said.value = escape(self._kept(), quote=False)

    def wait(self, timeout: float | None = None) -> None:
        """Return when what was clicked is done.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which `TimeoutError` is raised; by default never.
        """
        self.explorer.wait(timeout)

    def close(self) -> None:
        """Close the Explorer and the box."""
        self.explorer.close()
        super().close()

    def _kept(self) -> str:
        """Say what a submission would cost."""
        n, budget = len(self.neurons), self.challenge.budget
        if self.challenge.revealed:
            return "The answers are shown: this task is over."
        if not n:
            return "No neuron is kept: lower a threshold."
        said = f"{n} neuron{'s' * (n != 1)} kept, {budget} allowed"
        if n > budget:
            cost = (n - budget) / budget
            left = (
                "nothing is left of the score" if cost >= 1 else f"takes {cost:.3f} off the score"
            )
            said = f"{said}: {left}"
        shown, asked = self.explorer.concept, self.challenge.concept.word
        return said if shown == asked else f"{said}. They are of “{shown}”, the task is “{asked}”"

    def _begin(self, said: str, job: Callable[[NeuronSet, Progress], str]) -> None:
        """Do a job on the model's worker; buttons rest until then, and an error is said."""
        self._busy = True
        self.submit.disabled = self.reveal.disabled = self.following.disabled = True
        self.said.value = f"{said} …"
        chosen = self.neurons  # those of the click

        def step(_stage: str, done: int, total: int) -> None:
            self.said.value = f"{said} … {done} of {total}"

        def run() -> None:
            try:
                told = job(chosen, step)
            except Exception as error:
                self._show(" ".join(explain(error)).strip())
                raise
            self._show(told)

        self.challenge.model.worker.submit(run)

    def _submit(self, chosen: NeuronSet, step: Progress) -> str:
        if not len(chosen):
            return ""  # the line says so already
        made = self.challenge.submit(chosen, progress=step)
        stays = "–" if made.retention is None else f"{made.retention:.3f}"
        return (
            f"Try {len(self.challenge.tries)}: score {made.score:.3f} "
            f"(suppression {made.suppression:.3f}, retention {stays})"
        )

    def _reveal(self, _chosen: NeuronSet, step: Progress) -> str:
        self.challenge.reveal(progress=step)
        return ""

    def _next(self, _chosen: NeuronSet, step: Progress) -> str:
        made = self.challenge.again(progress=step)
        self.challenge = made
        self.explorer.show_study(made.study)
        return ""

    def _show(self, said: str = "") -> None:
        task = self.challenge
        self._busy = False
        self.submit.disabled = self.reveal.disabled = task.revealed
        self.following.disabled = False
        shown, others = task.n_judged
        self.task.value = (
            f'<div class="task"><b>Silence “{escape(task.concept.word)}” with at most '
            f"{task.budget} neurons</b> <span>· seed {task.seed}</span>"
            "<div>Find them with the thresholds and the table below, on "
            f"{len(task.study.scenes)} scenes. A try is judged on {shown} others with it and "
            f"{others} without: the word has to go, the rest has to stay.</div></div>"
        )
        self.said.value = escape(said or self._kept(), quote=False)
        self.table.value = task.html_tables()
