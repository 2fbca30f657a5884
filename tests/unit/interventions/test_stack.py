"""The one owner: nesting, order, history, scopes, events, against a list kept by hand."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.hooks import RemovableHandle

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.interventions import InterventionStack, Standby, ablate, perturb
from mmkn_widgets.interventions.stack import HISTORY
from tests.unit.interventions.helpers import logits, n_hooks, same_bits, snapshot

NEURONS = {0: [1, 5], 2: [0, 3]}


def test_one_hook_at_each_touched_site_and_none_when_idle(model: Any, inputs: Any) -> None:
    assert n_hooks(model) == 0
    first = model.interventions.push(ablate(model, NEURONS))
    model.interventions.push(ablate(model, {2: [7]}, "scale", scale=2))
    sites = [site.module._forward_pre_hooks for site in model.sites]
    assert [len(hooks) for hooks in sites] == [1, 0, 1]
    assert model.interventions.pop(first) is first
    assert [len(hooks) for hooks in sites] == [0, 0, 1]
    model.interventions.clear()
    assert n_hooks(model) == 0
    assert model.interventions.undo()
    assert [len(hooks) for hooks in sites] == [0, 0, 1]
    model.interventions.clear()


def test_a_hook_that_fails_to_go_keeps_no_other_and_no_weights(
    model: Any, inputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(model)
    remove, calls = RemovableHandle.remove, []

    def fails_first(handle: Any) -> None:
        remove(handle)
        calls.append(handle)
        if len(calls) == 1:
            raise ValueError("gone already")

    both = [ablate(model, NEURONS), perturb(model, {1: [2]}, 2)]
    for made in both:
        model.interventions.push(made)
    logits(model, inputs(1))
    assert not same_bits(model, before)
    model.interventions.push(perturb(model, {2: [1]}, 1))
    monkeypatch.setattr(RemovableHandle, "remove", fails_first)
    with pytest.raises(ValueError, match="gone already"):
        model.interventions.clear()  # whole or not at all: all is active still
    assert len(model.interventions.active) == 3
    monkeypatch.setattr(RemovableHandle, "remove", remove)
    model.interventions.clear()
    assert same_bits(model, before)
    assert n_hooks(model) == 0
    calls.clear()
    with pytest.raises(ValueError, match="gone already"), both[0], both[1]:  # noqa: PT012
        logits(model, inputs(1))
        monkeypatch.setattr(RemovableHandle, "remove", fails_first)
    assert same_bits(model, before)
    assert n_hooks(model) == 0


def test_a_recorder_sees_what_the_layer_gets(model: Any, inputs: Any) -> None:
    seen: list[torch.Tensor] = []
    handle = model.sites[0].hook(lambda x: seen.append(x.clone()))
    with ablate(model, {0: [2]}):
        logits(model, inputs(1))
    handle.remove()
    assert (seen[0][..., 2] == 0).all()
    assert (seen[0][..., 3] != 0).any()


def test_interventions_act_in_the_order_in_which_they_came(model: Any, inputs: Any) -> None:
    means = np.full((3, 24), 0.7, np.float32)
    double = ablate(model, {1: [4]}, "scale", scale=2)
    mean = ablate(model, {1: [4]}, "mean", reference=means)
    seen: list[float] = []
    handle = model.sites[1].hook(lambda x: seen.append(float(x[0, 0, 4])))
    with double, mean:
        logits(model, inputs(1))
    with mean, double:
        logits(model, inputs(1))
    with mean, double, double:
        logits(model, inputs(1))
    handle.remove()
    assert seen == pytest.approx([0.7, 1.4, 2.8])
    assert n_hooks(model) == 0


def test_contexts_may_end_in_any_order(model: Any, inputs: Any) -> None:
    batch = inputs(1)
    plain = logits(model, batch)
    before = snapshot(model)
    made = [ablate(model, {0: [1]}), perturb(model, {0: [1, 2]}, 2), perturb(model, {0: [2]}, 1)]
    only = {}
    for name, one in zip("abc", made, strict=True):
        with one:
            only[name] = logits(model, batch)
    a, b, c = made
    a.__enter__()
    b.__enter__()
    c.__enter__()
    a.__exit__()
    assert model.interventions.active == (b, c)
    b.__exit__()
    np.testing.assert_array_equal(logits(model, batch), only["c"])
    c.__exit__()
    c.__exit__()  # once too often is harmless
    np.testing.assert_array_equal(logits(model, batch), plain)
    assert same_bits(model, before)
    assert n_hooks(model) == 0


def test_an_exception_undoes_everything(model: Any, inputs: Any) -> None:
    before = snapshot(model)
    with pytest.raises(ZeroDivisionError), ablate(model, NEURONS), perturb(model, NEURONS):
        raise ZeroDivisionError
    assert not model.interventions.active
    assert same_bits(model, before)
    assert n_hooks(model) == 0


def test_a_push_that_fails_leaves_all_as_it_was(model: Any, inputs: Any) -> None:
    stack, before = model.interventions, snapshot(model)
    first = stack.push(perturb(model, {0: [1]}))
    changed = snapshot(model)
    second = perturb(model, {1: [1]})
    second.rows = {1: np.array([99])}
    with pytest.raises(IndexError):
        stack.push(second)
    with pytest.raises(IndexError), second:
        pytest.fail("entered")
    assert stack.active == (first,)
    assert same_bits(model, changed)
    stack.undo()
    assert not stack.can_undo
    assert same_bits(model, before)


def test_steps_say_how_far_the_history_goes_and_tell_a_new_step_when_it_is_full(
    model: Any,
) -> None:
    stack = model.interventions
    assert stack.steps == (0, 0, 0)
    stack.push(ablate(model, {0: [1]}))
    one = stack.steps
    stack.push(ablate(model, {0: [2]}))
    two = stack.steps
    stack.undo()
    back = stack.steps
    assert (one[:2], two[:2], back[:2]) == ((1, 0), (2, 0), (1, 1))
    assert 0 < one[2] < two[2] < back[2]
    for k in range(HISTORY + 2):
        last = stack.steps
        stack.push(ablate(model, {0: [k % 3]}))
    assert stack.steps[:2] == (HISTORY, 0) == last[:2]
    assert stack.steps[2] > last[2]


def test_undo_and_redo(model: Any) -> None:
    stack = model.interventions
    a, b, c = (ablate(model, {0: [n]}, name=str(n)) for n in range(3))
    stack.push(a)
    stack.push(b)
    stack.pop(a)
    assert [stack.undo(), stack.active] == [True, (a, b)]
    assert [stack.undo(), stack.active] == [True, (a,)]
    assert [stack.redo(), stack.redo(), stack.active] == [True, True, (b,)]
    assert not stack.redo()
    stack.undo()
    stack.push(c)  # a new change ends what could be redone
    assert not stack.can_redo
    assert stack.active == (a, b, c)
    stack.clear()
    assert [stack.active, stack.undo(), stack.active] == [(), True, (a, b, c)]
    while stack.undo():
        pass
    assert stack.active == ()
    assert n_hooks(model) == 0


def test_history_leaves_with_blocks_alone(model: Any) -> None:
    stack = model.interventions
    a, held = ablate(model, {0: [1]}), ablate(model, {0: [2]})
    stack.push(a)
    with held:
        stack.undo()
        assert stack.active == (held,)
        stack.redo()
        assert stack.active == (a, held)
        stack.clear()
        assert stack.active == ()
        stack.undo()
        assert stack.active == (a, held)
        stack.clear()
    stack.undo()
    assert stack.active == (a,)  # its block has ended: it does not come back
    stack.clear()


def test_suspended_is_clean_and_keeps_what_is_done_inside(model: Any, inputs: Any) -> None:
    batch, stack = inputs(1), model.interventions
    plain, before = logits(model, batch), snapshot(model)
    stack.push(ablate(model, NEURONS))
    edit = stack.push(perturb(model, {1: [1, 2]}, 3))
    changed = logits(model, batch)
    with stack.suspended():
        assert stack.active == ()
        np.testing.assert_array_equal(logits(model, batch), plain)
        assert same_bits(model, before)
        control = stack.push(ablate(model, {0: [8]}))
        assert stack.active == (control,)
        with stack.suspended():
            np.testing.assert_array_equal(logits(model, batch), plain)
        assert np.abs(logits(model, batch) - plain).max() > 0
    assert len(stack.active) == 2
    np.testing.assert_array_equal(logits(model, batch), changed)
    with stack.inner():
        assert len(stack.active) == 2
        stack.pop(edit)
        assert same_bits(model, before)
    np.testing.assert_array_equal(logits(model, batch), changed)
    stack.clear()
    np.testing.assert_array_equal(logits(model, batch), plain)
    assert same_bits(model, before)
    assert n_hooks(model) == 0


def test_events_tell_model_wide_changes(model: Any) -> None:
    stack, told = model.interventions, []
    stop = stack.observe(lambda event: told.append((event.action, len(event.active))))
    a = ablate(model, {0: [1]})
    stack.push(a)
    with a:
        pass
    with stack.suspended():
        stack.push(a)
    stack.pop()
    stack.undo()
    stack.redo()
    stack.undo()
    stack.clear()
    stop()
    stop()
    stack.undo()
    assert told == [
        ("push", 1), ("enter", 2), ("exit", 1), ("pop", 0), ("undo", 1), ("redo", 0), ("undo", 1),
        ("clear", 0),
    ]  # fmt: skip
    stack.clear()


def test_a_failing_observer_costs_a_warning_only(model: Any) -> None:
    def fails(_: Any) -> None:
        raise RuntimeError("closed view")

    told = []
    stack = model.interventions
    stack.observe(fails)
    stack.observe(told.append)
    with pytest.warns(RuntimeWarning, match="closed view"):
        stack.push(ablate(model, {0: [1]}))
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stack.clear()
    assert stack.active == ()


def test_what_does_not_belong_is_refused(model: Any, opt: Any) -> None:
    stack = model.interventions
    with pytest.raises(BadArgument, match="an Intervention"):
        stack.push({0: [1]})
    with pytest.raises(BadArgument, match="tiny-llava"):
        stack.push(ablate(opt, {0: [1]}))
    with pytest.raises(BadArgument, match="nothing active"):
        stack.pop()
    with pytest.raises(BadArgument, match="an active one"):
        stack.pop(ablate(model, {0: [1]}))
    assert isinstance(stack, InterventionStack)
    assert model.interventions is stack


def test_the_repr_lists_what_is_active(model: Any) -> None:
    stack = model.interventions
    with ExitStack() as contexts:
        contexts.enter_context(ablate(model, {0: [1], 1: [2, 3]}, name="cars"))
        contexts.enter_context(perturb(model, {2: [1]}, 0.5, seed=4))
        assert repr(stack).splitlines() == [
            "<InterventionStack: 2 active>",
            "  1. <ablation 'cars': 3 neurons in layers 0-1, zero>",
            "  2. <perturbation 'noise 0.5': 1 neuron in layer 2, sigma 0.5, seed 4>",
        ]
    assert repr(stack) == "<InterventionStack: nothing active>"


def test_an_owner_replaces_its_own_in_one_step(model: Any) -> None:
    stack, mine, theirs = model.interventions, object(), object()
    a, b, user = (ablate(model, {0: [n]}, name=str(n)) for n in range(3))
    told = []
    stop = stack.observe(lambda event: told.append((event.action, event.owner)))
    stack.push(user)
    assert stack.replace(mine, a)
    assert stack.replace(mine, b)
    assert stack.active == (user, b)
    assert stack.entries == ((user, None), (b, mine))
    assert stack.of(mine) == (b,)
    assert not stack.replace(theirs, None)  # nothing to take back is no step
    assert [stack.undo(), stack.active] == [True, (user, a)]
    assert [stack.redo(), stack.active] == [True, (user, b)]
    assert stack.replace(mine, None)
    assert [stack.active, stack.undo(), stack.active] == [(user,), True, (user, b)]
    stop()
    assert told[:3] == [("push", None), ("replace", mine), ("replace", mine)]
    assert {owner for action, owner in told if action in ("undo", "redo")} == {None}
    with pytest.raises(ValueError, match="owner"):
        stack.replace(None, a)
    stack.clear()


def test_what_an_owner_forgets_never_comes_back(model: Any) -> None:
    """Undone here, redone there, then closed: nothing of it is left, and no empty step."""
    stack, mine = model.interventions, object()
    a, user = ablate(model, {0: [1]}), ablate(model, {0: [2]})
    stack.replace(mine, a)
    stack.push(user)
    stack.undo()
    stack.undo()
    stack.redo()
    assert stack.active == (a,)
    with stack.suspended():
        stack.push(a, owner=mine)
        stack.forget(mine)
        assert stack.active == ()
    assert stack.active == ()
    assert not stack.can_undo
    assert [stack.redo(), stack.active, stack.redo()] == [True, (user,), False]
    while stack.undo():
        assert a not in stack.active
    assert not stack.forget(mine)
    assert n_hooks(model) == 0


def test_a_standby_waits_in_the_history(model: Any) -> None:
    stack, mine = model.interventions, object()
    a, waits = ablate(model, {0: [1]}), Standby(model, name="one caption's matter")
    stack.push(a)
    stack.replace(mine, waits)
    assert stack.active == (a,)
    assert stack.of(mine) == (waits,)
    assert stack.pop() is a  # the last that acts
    stack.undo()
    stack.undo()
    assert stack.of(mine) == ()
    stack.redo()
    assert stack.of(mine) == (waits,)
    stack.clear()
    assert stack.of(mine) == ()
    assert n_hooks(model) == 0


def test_the_history_is_bounded(model: Any) -> None:
    stack, mine = model.interventions, object()
    for n in range(HISTORY + 50):
        stack.replace(mine, ablate(model, {0: [n % 3]}))
    steps = 0
    while stack.undo():
        steps += 1
    assert steps == HISTORY
    stack.forget(mine)


def test_a_replacement_that_fails_leaves_what_was(model: Any) -> None:
    stack, mine = model.interventions, object()
    first, broken = perturb(model, {0: [1]}, 3), perturb(model, {0: [2]}, 3)
    before = snapshot(model)
    stack.replace(mine, first)
    changed = snapshot(model)
    broken.rows = {1: np.array([99])}
    with pytest.raises(IndexError):
        stack.replace(mine, broken)
    assert stack.active == (first,)
    assert same_bits(model, changed)
    stack.undo()
    assert same_bits(model, before)
    assert not stack.can_undo


def test_an_entry_that_has_ended_does_nothing_although_it_is_not_swept_yet(
    model: Any, inputs: Any
) -> None:
    batch = inputs(1)
    plain = logits(model, batch)
    with ablate(model, {0: range(24), 1: range(24)}):
        silenced = logits(model, batch)
        assert (silenced != plain).any()
        (entry,) = model.interventions._frame().entries
        entry.alive = False  # as another thread sees it while this one leaves
        np.testing.assert_array_equal(logits(model, batch), plain)
        entry.alive = True
        np.testing.assert_array_equal(logits(model, batch), silenced)
