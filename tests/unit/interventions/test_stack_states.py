"""Any sequence of pushes, pops, undos, contexts and scopes, against plain lists."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from transformers import LlamaConfig, LlamaForCausalLM

import mmkn_widgets as mmkn
from mmkn_widgets.interventions import ablate, perturb, where
from mmkn_widgets.models import MultimodalModel, find_sites
from tests.unit.interventions.helpers import n_hooks


def _model() -> MultimodalModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=12,
        hidden_size=8,
        intermediate_size=6,
        num_hidden_layers=2,
        num_attention_heads=1,
        num_key_value_heads=1,
        initializer_range=0.5,
    )
    hf = LlamaForCausalLM(config).eval().requires_grad_(False)
    return MultimodalModel(hf, None, find_sites(hf), name="tiny")


MODEL = _model()
ORIGINAL = [MODEL.w_out(layer).clone() for layer in range(2)]
IDS = torch.tensor([[1, 5, 3]])


OWNERS = (object(), object())
THINGS = dict(
    kind=st.sampled_from(["ablate", "perturb"]),
    layer=st.integers(0, 1),
    neuron=st.integers(0, 2),
)


class Stack(RuleBasedStateMachine):
    """The stack beside a model of it: a list, and lists of lists for what can be undone."""

    def __init__(self) -> None:
        super().__init__()
        MODEL._stack = None
        self.stack = MODEL.interventions
        self.active: list[Any] = []
        self.past: list[list[Any]] = []
        self.future: list[list[Any]] = []
        self.contexts: list[Any] = []

    @staticmethod
    def make(kind: str, layer: int, neuron: int) -> Any:
        if kind == "ablate":
            return ablate(MODEL, {layer: [neuron]}, "scale", scale=0.5)
        return perturb(MODEL, {layer: [neuron]}, 0.5, seed=neuron)

    def changed(self, active: list[Any]) -> None:
        self.past.append(self.active)
        self.future = []
        self.active = active

    @rule(**THINGS)
    def push(self, kind: str, layer: int, neuron: int) -> None:
        made = self.stack.push(self.make(kind, layer, neuron))
        self.changed([*self.active, made])

    @precondition(lambda self: self.active)
    @rule(place=st.integers(0, 9))
    def pop(self, place: int) -> None:
        target = self.active[place % len(self.active)]
        self.stack.pop(target)
        self.changed([one for one in self.active if one is not target])

    @rule()
    def clear(self) -> None:
        self.stack.clear()
        if self.active:
            self.changed([])

    @rule(owner=st.integers(0, 1), **THINGS)
    def replace(self, owner: int, kind: str, layer: int, neuron: int) -> None:
        made = self.make(kind, layer, neuron)
        self.stack.replace(OWNERS[owner], made)
        made.owner = owner
        self.changed([*self.without(self.active, owner), made])

    @rule(owner=st.integers(0, 1))
    def take_back(self, owner: int) -> None:
        left = self.without(self.active, owner)
        assert self.stack.replace(OWNERS[owner], None) is (len(left) < len(self.active))
        if len(left) < len(self.active):
            self.changed(left)

    @precondition(lambda self: not self.contexts)
    @rule(owner=st.integers(0, 1))
    def forget(self, owner: int) -> None:
        self.stack.forget(OWNERS[owner])
        self.active = self.without(self.active, owner)
        for steps in (self.past, self.future):
            last, kept = self.alive(self.active), []
            for step in reversed(steps):
                left = self.without(self.alive(step), owner)
                if left != last:
                    kept.append(left)
                last = left
            steps[:] = kept[::-1]

    @staticmethod
    def alive(items: list[Any]) -> list[Any]:
        return [one for one in items if not hasattr(one, "ended")]

    @staticmethod
    def without(items: list[Any], owner: int) -> list[Any]:
        return [one for one in items if vars(one).get("owner") != owner]

    @rule(**THINGS)
    def enter(self, kind: str, layer: int, neuron: int) -> None:
        made = self.make(kind, layer, neuron)
        made.__enter__()
        self.contexts.append(made)
        self.active = [*self.active, made]

    @precondition(lambda self: self.contexts)
    @rule(place=st.integers(0, 9))
    def leave(self, place: int) -> None:
        gone = self.contexts.pop(place % len(self.contexts))
        gone.__exit__()
        gone.ended = True
        self.active = [one for one in self.active if one is not gone]

    @precondition(lambda self: not self.contexts)
    @rule()
    def undo(self) -> None:
        assert self.stack.undo() is bool(self.past)
        if self.past:
            self.future.append(self.active)
            self.active = [one for one in self.past.pop() if not hasattr(one, "ended")]

    @precondition(lambda self: not self.contexts)
    @rule()
    def redo(self) -> None:
        assert self.stack.redo() is bool(self.future)
        if self.future:
            self.past.append(self.active)
            self.active = [one for one in self.future.pop() if not hasattr(one, "ended")]

    @rule(**THINGS)
    def control_in_a_clean_scope(self, kind: str, layer: int, neuron: int) -> None:
        with self.stack.suspended():
            self.weights_are([])
            with self.make(kind, layer, neuron) as made:
                assert self.stack.active == (made,)
                MODEL.hf(IDS)
                self.weights_are([made])

    def weights_are(self, active: list[Any]) -> None:
        for layer in range(2):
            expected = ORIGINAL[layer].clone()
            for one in active:
                if one.on_weights and layer in one.rows:
                    index = torch.as_tensor(one.rows[layer])
                    expected[:, index] = one.changed(layer, expected[:, index])
            assert torch.equal(MODEL.w_out(layer), expected)

    @invariant()
    def agrees(self) -> None:
        assert list(self.stack.active) == self.active
        self.weights_are(self.active)
        touched = {row for one in self.active if not one.on_weights for row in one.rows}
        assert n_hooks(MODEL) == len(touched) + 2 * bool(self.active)

    @invariant()
    def computes(self) -> None:
        factors = [torch.ones(6), torch.ones(6)]
        for one in self.active:
            if not one.on_weights:
                ((row, index),) = one.rows.items()
                factors[row][torch.as_tensor(index)] *= 0.5
        seen: dict[int, torch.Tensor] = {}
        given: dict[int, torch.Tensor] = {}
        handles = []
        for site in MODEL.sites:
            gate = site.block.mlp.up_proj
            handles.append(site.hook(lambda x, r=site.row: seen.__setitem__(r, x.clone())))
            handles.append(
                gate.register_forward_pre_hook(
                    lambda _, args, r=site.row: given.__setitem__(r, args[0])
                )
            )
        MODEL.hf(IDS)
        for handle in handles:
            handle.remove()
        for site in MODEL.sites:
            mlp = site.block.mlp
            plain = mlp.act_fn(mlp.gate_proj(given[site.row])) * mlp.up_proj(given[site.row])
            torch.testing.assert_close(seen[site.row], plain * factors[site.row])

    def teardown(self) -> None:
        for one in self.contexts:
            one.__exit__()
        self.stack.clear()
        self.weights_are([])
        assert n_hooks(MODEL) == 0


TestStack = Stack.TestCase
TestStack.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_places_are_found_only_when_asked_for_and_then_from_the_start(monkeypatch: Any) -> None:
    """An intervention that comes between two steps still knows how long the prompt was."""
    pocket = mmkn.load_model("pocket")
    batch = pocket.prepare([mmkn.datasets.pocket_world("val")[0].image])
    read: list[list[int]] = []
    forward = where.RunTracker.forward

    def noted(self: Any, inputs: Any, length: Any = None) -> where.Where:
        found = forward(self, inputs, length)
        read.append(found.step[0].tolist())
        return found

    monkeypatch.setattr(where.RunTracker, "forward", noted)
    with pocket.ablate({4: [1, 2]}):
        pocket.generate(batch, max_new_tokens=6)
    assert read == []
    late, said = ablate(pocket, {5: range(512)}, positions="generated"), list[str]()

    def enter(piece: str, _: int) -> None:
        said.append(piece)
        if len(said) == 3:
            late.__enter__()

    with pocket.ablate({4: [1, 2]}):
        pocket.generate(batch, max_new_tokens=6, on_token=enter)
    late.__exit__()
    prompt, *steps = read
    assert len(prompt) == batch.n_tokens and set(prompt) == {-1}
    assert steps == [[0], [1], [2], [3], [4]]
    assert len(pocket.interventions) == 0
