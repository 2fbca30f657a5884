"""The four checks of numbers: captured values, gradients, silence, restoring."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mmkn_widgets.activations import record

__all__ = ["captured_equal", "forced_equal", "gradient_agrees", "restored", "silenced"]


def captured_equal(model: Any, prepared: Any) -> bool:
    """Compare `record` with hooks that know nothing of our sites' code."""
    seen: dict[int, torch.Tensor] = {}
    handles = []
    for site in model.sites:
        if site.kind != "routed":

            def keep(_m: Any, args: Any, _o: Any, row: int = site.row) -> None:
                seen[row] = args[0].detach().clone()

            handles.append(site.module.register_forward_hook(keep))
    experts = _ExpertInputs(model)
    with experts:
        model.forward(prepared)
    for handle in handles:
        handle.remove()
    with record(model) as ours:
        model.forward(prepared)
    for site in model.sites:
        value = ours.values[site.row].reshape(-1, site.width)
        if site.kind != "routed":
            if not torch.equal(value, seen[site.row].reshape(-1, site.width)):
                return False
        elif not experts.agrees(site, value):
            return False
    return True


_PRODUCTS = (
    functional.linear,
    torch.matmul,
    torch.Tensor.__matmul__,
    torch.Tensor.matmul,
)


class _ExpertInputs(TorchFunctionMode):
    """Collect what `linear` multiplies with each expert's down projection, whoever calls it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.rows: dict[int, torch.Tensor] = {}
        self.where = {
            site.module.down_proj[site.expert - site.first_expert].data_ptr(): site.row
            for site in model.sites
            if site.kind == "routed"
        }
        self.before: list[tuple[Any, Any]] = []

    def __enter__(self) -> _ExpertInputs:
        if self.where:
            for module in {s.module for s in self.model.sites if s.kind == "routed"}:
                self.before.append((module.config, module.config._experts_implementation))
                module.config._experts_implementation = "eager"
        super().__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        for config, implementation in reversed(self.before):
            config._experts_implementation = implementation

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS and len(args) > 1 and self.where:
            row = self.where.get(args[1].data_ptr())
            if row is not None:
                # the first use: a decoder behind may share an encoder's weights
                self.rows.setdefault(row, args[0].detach().clone())
        return func(*args, **(kwargs or {}))

    def agrees(self, site: Any, value: torch.Tensor) -> bool:
        """Whether the rows that were routed to the expert are the rows that `record` holds."""
        used = value[(value != 0).any(dim=1)]
        truth = self.rows.get(site.row, value.new_zeros(0, site.width)).reshape(-1, site.width)
        truth = truth[(truth != 0).any(dim=1)]
        if len(used) != len(truth):
            return False
        order = [rows[torch.argsort(rows.double().sum(dim=1))] for rows in (used, truth)]
        return torch.allclose(order[0], order[1], rtol=1e-5, atol=1e-7)


def _objective(output: Any) -> torch.Tensor:
    logits = getattr(output, "logits", None)
    value = logits if logits is not None else next(iter(output.values()))
    value = torch.where(value.abs() < 1e6, value, 0.0)  # tokens that the model forbids
    weights = torch.linspace(-1, 1, value.numel(), dtype=torch.float64).reshape(value.shape)
    return (value.double() * weights).sum()


def gradient_agrees(model: Any, prepared: Any) -> bool:
    """Move a site's activation along a random direction, both ways, and compare the slope.

    In float64 where the model can compute in it, experts in the plain implementation; several
    steps are tried, since a rectifier or a router may change its mind within a large one and
    norms that are computed in float32 drown a small one.
    """
    configs = {id(m.config): m.config for m in model.hf.modules() if hasattr(m, "config")}
    before = [(c, getattr(c, "_experts_implementation", None)) for c in configs.values()]
    for config, was in before:
        if was is not None:
            config._experts_implementation = "eager"
    try:
        try:
            model.hf.double()
            inputs = {k: _double(v) for k, v in prepared.inputs.items()}
            return _slopes_agree(model, inputs, 1e-2)
        except RuntimeError:  # layers that insist on float32
            model.hf.float()
            return _slopes_agree(model, prepared.inputs, 5e-2)
    finally:
        model.hf.float()
        for config, was in before:
            if was is not None:
                config._experts_implementation = was


def _double(value: torch.Tensor) -> torch.Tensor:
    return value.double() if value.is_floating_point() else value


def _slopes_agree(model: Any, inputs: Any, tolerance: float) -> bool:
    """Whether every site's slope agrees, and the output depends on one of them at least."""
    slopes = [_slope(model, inputs, site, tolerance) for site in _spread(model.sites)]
    return None not in slopes and any(slopes)


def _slope(model: Any, inputs: Any, site: Any, tolerance: float) -> float | None:
    """Return the slope along a random direction; None where the gradient says another.

    It is 0 where no token was routed to an expert, and where only the keys and values of a stack
    are read by what follows: its last FFN then writes for nobody.
    """
    with record(model, rows=[site.row], gradients=True) as seen:
        output = model.forward(inputs, grad=True)
    gradient = seen.gradients(_objective(output))[site.row]
    value = seen.values[site.row].detach()
    if not bool((value != 0).any()):
        return 0.0  # no token was routed to this expert
    generator = torch.Generator().manual_seed(site.row)
    noise = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
    direction = (noise + torch.sign(gradient)) * (value != 0)
    wanted = float((gradient * direction).sum())
    for relative in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
        scale = float(value.abs().mean()) * relative
        got = []
        for sign in (1.0, -1.0):
            moved = value + sign * scale * direction
            handle = site.hook(lambda x, moved=moved: moved.reshape(x.shape).to(x.dtype))
            try:
                got.append(float(_objective(model.forward(inputs))))
            finally:
                handle.remove()
        if abs((got[0] - got[1]) / (2 * scale) - wanted) <= tolerance * abs(wanted) + 1e-9:
            return wanted
    return None


def _spread(sites: Any) -> list[Any]:
    picked = [sites[len(sites) // 2], sites[-1]]
    dense = [site for site in sites if site.kind != "routed"]
    return [*dict.fromkeys([*picked, *dense[:1]])]


def silenced(model: Any, prepared: Any) -> bool:
    """Zero every neuron through an ablation; each projection must write its bias and no more."""
    outputs: dict[str, tuple[Any, torch.Tensor]] = {}
    handles = []
    for site in model.sites:

        def keep(_m: Any, _a: Any, output: Any, site: Any = site) -> None:
            outputs[site.module_name] = (site, output.detach().clone())

        handles.append(site.module.register_forward_hook(keep))
    try:
        with model.ablate(None):
            model.forward(prepared)
    finally:
        for handle in handles:
            handle.remove()
    for site, output in outputs.values():
        bias = getattr(site.module, "bias", None) if site.kind != "routed" else None
        wanted = torch.zeros_like(output) if bias is None else bias.expand_as(output)
        if not torch.equal(output, wanted.to(output.dtype)):
            return False
    return len(outputs) > 0


def forced_equal(model: Any, prepared: Any) -> bool:
    """Compare activations over prompt and steps with those of one forward over the same caption."""
    with record(model) as steps:
        written = model.generate(prepared, max_new_tokens=4).token_ids[0]
    if not written:
        return True  # it ends at once: there are no steps
    forced = model.prepare(prepared.images[0], prepared.prompts[0], continuation=[written])
    with record(model) as whole:
        model.forward(forced)
    one, other = steps.stack(), whole.stack()
    length = min(one.shape[2], other.shape[2])  # the last token's own step was not run
    difference = (one[:, :, :length] - other[:, :, :length]).abs().max()
    return length >= one.shape[2] - 1 and float(difference / other.abs().max()) < 1e-4


def restored(model: Any, prepared: Any) -> bool:
    """Compare the output and the weights before an ablation with those after it, bit for bit."""
    weights = {name: value.clone() for name, value in model.hf.state_dict().items()}
    before = _objective(model.forward(prepared))
    with model.ablate(None):
        during = _objective(model.forward(prepared))
    after = _objective(model.forward(prepared))
    same = all(torch.equal(value, weights[name]) for name, value in model.hf.state_dict().items())
    return bool(same and torch.equal(before, after) and not torch.equal(before, during))
