"""One capture's options, applied to one picture after the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..core import NotSupported, provenance
from ..models import plain_torch
from .differentiate import aim, value_of
from .early import forward_as_far
from .memory import check_room, need, readable
from .picture import FORMAT, STORE_VERSION, Picture, token_coords
from .places import geometry_to_text
from .record import record

if TYPE_CHECKING:
    from ..models import MultimodalModel, TokenMap

__all__ = ["Job"]


class Job:
    """One capture's options, applied to one picture after the other."""

    def __init__(
        self,
        model: MultimodalModel,
        prompt: str | None,
        rows: list[int],
        roles: Sequence[str] | None,
        site: str,
        continuation: Any,
        generate: bool,
        max_new_tokens: int | None,
        gradients: Any,
        target: str,
        reduced: bool,
    ) -> None:
        self.model, self.prompt, self.rows, self.roles = model, prompt, rows, roles
        self.site, self.continuation, self.generate = site, continuation, generate
        self.max_new_tokens, self.gradients, self.target = max_new_tokens, gradients, target
        self.reduced = reduced
        self.shown_prompt = prompt
        self._ready: tuple[Any, Any] = (None, None)

    def check(self, picture: Any, n: int, folder: Path | None) -> str:
        """Refuse what does not fit; return the store's size for people."""
        prepared = self.model.prepare(_row(picture), self.prompt, continuation=self._forced())
        self._ready = (picture, prepared)
        self.shown_prompt = prepared.prompts[0] if prepared.prompts else self.prompt
        steps = (self.max_new_tokens or 64) if self.generate else 0
        tokens = prepared.n_tokens + steps
        memory, disk = need(
            self.model,
            tokens=tokens,
            kept=tokens if self.roles is None else self._kept(prepared, steps),
            n_images=n,
            rows=len(self.rows),
            gradients=self.gradients is not None,
            reduced=self.reduced,
            to_disk=folder is not None,
        )
        check_room(memory, disk, n, folder)
        return readable(memory if folder is None else disk)

    def _kept(self, prepared: Any, steps: int) -> int:
        """Return how many tokens of the first picture have one of the roles."""
        wanted = set(self.roles or ())
        roles = self.model.token_maps(prepared)[0].role
        return sum(role in wanted for role in roles) + steps * ("generated" in wanted)

    def attrs(self) -> dict[str, Any]:
        """Return the store's attributes; the writer resumes only a store that has the same."""
        described = {
            "prompt": self.prompt,
            "site": self.site,
            "layers": sorted({self.model.sites[row].layer for row in self.rows}),
            "roles": None if self.roles is None else list(self.roles),
            "continuation": self.continuation,
            "generate": self.generate,
            "max_new_tokens": self.max_new_tokens,
            "gradients": _named(self.gradients),
            "target": self.target,
            "reduced": self.reduced,
            "interventions": [repr(one) for one in self.model.interventions.active],
        }
        return {
            "format": FORMAT,
            "version": STORE_VERSION,
            "model": self.model.name,
            "revision": self.model.revision,
            "weights": self.model.weights_hash,
            "prompt": self.shown_prompt or "",
            "site": self.site,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "provenance": json.dumps(provenance("capture", model=self.model.name, **described)),
        }

    def fingerprint(self, picture: Any) -> str:
        """Return a hash of what the model reads of one picture, prompt and continuation."""
        prepared = self.model.prepare(_row(picture), self.prompt, continuation=self._forced())
        found = hashlib.sha256()
        for name in sorted(prepared.inputs):
            value: Any = prepared.inputs[name]  # or what a processor adds that is no tensor
            if not isinstance(value, torch.Tensor):
                found.update(f"{name} {value!r}".encode())
                continue
            value = value.detach().cpu().contiguous()
            found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        return found.hexdigest()

    @plain_torch(False)
    def run(self, picture: Any) -> Picture:
        """Capture one picture."""
        made_by = self._plain if self.gradients is None else self._differentiated
        arrays, tokens = made_by(picture)
        n = min(next(iter(arrays.values())).shape[1], len(tokens))
        coords = token_coords(tokens, n, self.roles)
        keep = coords.pop("keep")
        cut: Any = slice(0, n) if len(keep) == n else torch.from_numpy(keep)
        sites = [self.model.sites[row] for row in self.rows]
        made = Picture(
            {name: _to_numpy(value[:, cut]) for name, value in arrays.items()},
            coords,
            [site.layer for site in sites],
            [site.expert for site in sites],
            geometry_to_text(tokens.geometries),
        )
        if self.reduced:
            made.reduce()
            made.arrays = {}
        return made

    def _plain(self, picture: Any) -> tuple[dict[str, torch.Tensor], TokenMap]:
        model = self.model
        prepared = self._prepared(picture)
        more = (self.max_new_tokens or 64) if self.generate else 0
        with record(model, rows=self.rows, site=self.site, pack=more) as seen:
            if self.generate:
                made = model.generate(prepared, max_new_tokens=self.max_new_tokens).token_ids
            else:
                made = None
                forward_as_far(model, prepared, self.rows)
        return {"activation": seen.stack()[0]}, model.token_maps(prepared, made)[0]

    def _differentiated(self, picture: Any) -> tuple[dict[str, torch.Tensor], TokenMap]:
        model = self.model
        prepared = self._prepared(picture)
        if self.continuation is not None:
            written: Sequence[int] = prepared.continuation[0]
        elif callable(self.gradients) or isinstance(self.gradients, int):
            written = self._caption(prepared) if self.generate else []
        else:
            written = self._caption(prepared)
        wanted = aim(
            model, self.gradients, written, whole=self.generate or self.continuation is not None
        )
        if list(prepared.continuation[0] if prepared.continuation else []) != wanted.continuation:
            prepared = model.prepare(_row(picture), self.prompt, continuation=[wanted.continuation])
        keep = None if wanted.function is not None else wanted.back
        with record(model, rows=self.rows, site=self.site, gradients=True) as seen:
            output = model.forward(prepared, logits_to_keep=keep, grad=True)
        if getattr(output, "logits", None) is None:
            raise NotSupported("gradients: the model's output has no logits")
        with torch.enable_grad():
            y = value_of(output.logits, wanted, self.target)
            found = seen.gradients(y)
        del output, y  # with them the graph: a picture is in memory once, not twice
        values = seen.pop_stacked()[0]
        seen.values = found
        return {"activation": values, "gradient": seen.pop_stacked()[0]}, model.token_maps(
            prepared
        )[0]

    def _prepared(self, picture: Any) -> Any:
        """Return the picture's inputs; those of the first are there already."""
        first, prepared = self._ready
        self._ready = (None, None)
        if first is picture:
            return prepared
        return self.model.prepare(_row(picture), self.prompt, continuation=self._forced())

    def _caption(self, prepared: Any) -> list[int]:
        made = self.model.generate(prepared, max_new_tokens=self.max_new_tokens)
        return list(made.token_ids[0])

    def _forced(self) -> Any:
        if self.continuation is None:
            return None
        text = self.continuation
        return [text] if isinstance(text, str) else [list(text)]


def _row(picture: Any) -> Any:
    """Return what `prepare` takes as one row: several pictures belong to one prompt."""
    return [picture] if isinstance(picture, list | tuple) else picture


def _named(gradients: Any) -> Any:
    if gradients is None or isinstance(gradients, int | str):
        return gradients
    if hasattr(gradients, "to_dict"):
        return gradients.to_dict()
    return getattr(gradients, "__qualname__", repr(type(gradients)))


def _to_numpy(values: torch.Tensor) -> np.ndarray:
    """Return an array of the same values; bfloat16, which numpy lacks, as float32."""
    found = values.detach().cpu()
    return (found.float() if found.dtype == torch.bfloat16 else found).numpy()
