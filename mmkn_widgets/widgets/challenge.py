"""The challenge as a widget: an Explorer to look with, a button to submit, the table of tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets as t

from ..core import NeuronSet
from .explorer import Explorer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..studies import Challenge

__all__ = ["ChallengeBox"]


class ChallengeBox(ipywidgets.VBox):
    """A `Challenge` to play with the mouse.

    The thresholds and the checked neurons of the Explorer are what "Submit" has judged, on the
    model's worker thread. Until "Reveal" nothing of the answers is in the page or the notebook.

    Parameters
    ----------
    challenge : Challenge
        From `mmkn_widgets.studies`.
    preset : {"full", "compact", "teaching"}
        Of the Explorer.

    Attributes
    ----------
    challenge : Challenge
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
            description="Reveal", tooltip="Show what the methods reach; this ends the task"
        )
        #: one line: how many neurons are kept, what runs, or why nothing could be judged
        self.said = ipywidgets.Label()
        #: the task and the table of tries
        self.table = ipywidgets.HTML()
        line = ipywidgets.HBox([self.submit, self.reveal, self.said])
        super().__init__([self.explorer, line, self.table])
        for name in ("threshold_d", "threshold_g"):
            t.link((self.explorer, name), (self, name))
        t.dlink((self.explorer, "neurons"), (self, "neurons"))
        self.submit.on_click(lambda _button: self._begin("judging …", self._submit))
        self.reveal.on_click(lambda _button: self._begin("measuring the answers …", self._reveal))
        self._show()

    @t.observe("neurons")
    def _on_neurons(self, _change: Any) -> None:
        if not self.submit.disabled:
            self.said.value = self._kept()

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
        n, budget = len(self.neurons), self.challenge.budget
        return f"{n} neurons kept, {budget} allowed"

    def _begin(self, said: str, job: Callable[[NeuronSet], object]) -> None:
        """Do a job on the model's worker; buttons rest until then, and an error is said."""
        self.submit.disabled = self.reveal.disabled = True
        self.said.value = said
        chosen = self.neurons  # those of the click

        def run() -> None:
            try:
                job(chosen)
            except Exception as error:
                self._show(f"{type(error).__name__}: {error}")
                raise
            self._show()

        self.challenge.model.worker.submit(run)

    def _submit(self, chosen: NeuronSet) -> None:
        self.challenge.submit(chosen, progress=False)

    def _reveal(self, _chosen: NeuronSet) -> None:
        self.challenge.reveal(progress=False)

    def _show(self, said: str = "") -> None:
        over = self.challenge.revealed
        self.submit.disabled = self.reveal.disabled = over
        done = f"The answers are shown: take another seed than {self.challenge.seed}."
        self.said.value = said or (done if over else self._kept())
        self.table.value = self.challenge._repr_html_()
