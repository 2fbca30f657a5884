"""The training computation of the pocket model, on the parameters of the Hugging Face model.

The same function as ``LlavaForConditionalGeneration`` (a test compares them), laid out for
training: two captions share one image prefix, lesioned copies of a few pictures fork off before
the last two layers, and every loss comes out of one call, so that ``torch.compile`` can fuse it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, linear, log_softmax, silu, softmax

from mmkn_widgets.pocket.words import COLORS

from .build import PATCH, SPECIAL
from .lesions import (
    N_IMAGE,
    N_PREFIX,
    SMOOTHING,
    Batch,
    due_places,
    entropy,
    layer_lesions,
    word_lesions,
    writer_scores,
)

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

__all__ = ["FORK", "LOSSES", "N_IMAGE", "N_PREFIX", "Batch", "TrainingNet"]

#: Names of the losses that `TrainingNet` returns, in order.
LOSSES = (
    "caption",
    "patch_word",
    "probe",
    "sparsity",
    "loudness",
    "text_lesion",
    "patch_lesion",
    "kept",
)

FORK = 4
"""Lesioned copies run through layers `FORK` and later a second time."""
LOUD = (0.2, 1.0)
"""What one neuron, and what all neurons of a layer together, may write at a token, relative to the
residual stream there; more is penalised by the loss "loudness". A concept that fills the stream
saturates the norm behind it: then no gradient reaches the neurons that carry it."""


class TrainingNet(nn.Module):
    """All training losses of one batch.

    Parameters
    ----------
    model : LlavaForConditionalGeneration
        Its parameters are used, not copied.
    dtype : torch.dtype
        Of matrix products; the residual stream and all norms stay in float32.
    n_lesioned : int
        Pictures that are lesioned at words, and as many others at patches.
    """

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        dtype: torch.dtype = torch.float32,
        n_lesioned: int = 12,
    ) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        self.n_lesioned = n_lesioned
        width = model.config.text_config.hidden_size
        n_words = model.config.text_config.vocab_size
        # a linear reader of category and colour behind layer 3; thrown away after training
        self.probe = nn.Linear(width, n_words + len(COLORS))

    def _lin(self, x: Tensor, layer: nn.Linear) -> Tensor:
        bias = None if layer.bias is None else layer.bias.to(self.dtype)
        return linear(x.to(self.dtype), layer.weight.to(self.dtype), bias)

    def _heads(self, x: Tensor, n: int) -> Tensor:
        return x.view(x.shape[0], x.shape[1], n, -1).transpose(1, 2)

    def image_features(self, pixels: Tensor) -> Tensor:
        """Return what the projector hands to the language model, (batch, 64, hidden)."""
        tower = self.model.model.vision_tower
        emb, layer = tower.embeddings, tower.encoder.layers[0]
        b, side = pixels.shape[0], pixels.shape[1] // PATCH
        x = (pixels.to(torch.float32) - 127.5) / 127.5
        x = x.view(b, side, PATCH, side, PATCH, 3).permute(0, 1, 3, 5, 2, 4).reshape(b, N_IMAGE, -1)
        weight = emb.patch_embedding.weight.flatten(1)
        x = linear(x.to(self.dtype), weight.to(self.dtype)).float()
        x = torch.cat([emb.class_embedding.expand(b, 1, -1), x], 1)
        x = x + emb.position_embedding.weight
        x = _layer_norm(x, tower.pre_layrnorm)
        y = _layer_norm(x, layer.layer_norm1)
        attn = layer.self_attn
        q, k, v = (
            self._heads(self._lin(y, p), attn.num_heads)
            for p in (attn.q_proj, attn.k_proj, attn.v_proj)
        )
        p = softmax((q @ k.transpose(-1, -2)).float() * attn.head_dim**-0.5, -1).to(self.dtype)
        x = x + self._lin((p @ v).transpose(1, 2).flatten(2), attn.out_proj).float()
        y = self._lin(_layer_norm(x, layer.layer_norm2), layer.mlp.fc1)
        x = x + self._lin(y * torch.sigmoid(1.702 * y), layer.mlp.fc2).float()
        projector = self.model.model.multi_modal_projector
        y = gelu(self._lin(x[:, 1:], projector.linear_1))
        return self._lin(y, projector.linear_2).float()

    def _layer(
        self,
        x: Tensor,
        index: int,
        mask: Tensor,
        rotary: tuple[Tensor, Tensor],
        alter: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        layer = self.model.model.language_model.layers[index]
        n = self.model.config.text_config.num_attention_heads
        y = _rms_norm(x, layer.input_layernorm)
        attn = layer.self_attn
        q, k, v = (self._heads(self._lin(y, p), n) for p in (attn.q_proj, attn.k_proj, attn.v_proj))
        q, k = _rotate(q, rotary), _rotate(k, rotary)
        scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5 + mask
        p = softmax(scores, -1).to(self.dtype)
        x = x + self._lin((p @ v).transpose(1, 2).flatten(2), attn.o_proj).float()
        y = _rms_norm(x, layer.post_attention_layernorm)
        a = silu(self._lin(y, layer.mlp.gate_proj)) * self._lin(y, layer.mlp.up_proj)
        if alter is not None:
            a = alter(a)
        return x + self._lin(a, layer.mlp.down_proj).float(), a

    def forward(
        self,
        batch: Batch,
        lesions: str = "none",
        pick: Tensor | None = None,
        writers: Tensor | None = None,
    ) -> Tensor:
        """Return the losses, float32 (8,), in the order of `LOSSES`.

        Parameters
        ----------
        batch : Batch
        lesions : str
            ``"none"``; ``"layers"`` replaces all FFN activations of the last two layers by their
            mean where category words are due; ``"words"`` silences the `writers` of one word a
            picture. What is not asked for is 0 and costs nothing.
        pick : Tensor (batch, 16), optional
            Random numbers that choose the word of each picture, for ``"words"``.
        writers : Tensor float32 (2, 16, 2, neuron), optional
            1 where a neuron of the last two layers is to be silenced, for ``"words"``.
        """
        text = batch.text
        b, _, length = text.shape
        mask, rotary = self._geometry(length, text.device)
        x = self._embed(batch)
        layers = len(self.model.model.language_model.layers)
        sparsity = loudness = x.new_zeros(())
        fork = x
        for index in range(layers):
            if index == FORK:
                fork = x
            before = x
            x, a = self._layer(x, index, mask, rotary)
            a = a.float()
            if index >= FORK and lesions == "words":
                loudness = loudness + self._loudness(index, before, a) / (layers - FORK)
            sparsity = sparsity + a.abs().mean() / (a.square().mean() + 1e-8).sqrt() / layers
        read = self._lin(fork[:, 1 : 1 + N_IMAGE], self.probe).float()
        n_words = self.model.config.text_config.vocab_size
        probe = entropy(read[..., :n_words], batch.patch_word)
        probe = probe + entropy(read[..., n_words:], batch.patch_color)
        logits = self._words(x)
        smoothing = SMOOTHING if lesions == "words" else 0.0
        # the prompt's last token predicts the first word of both captions
        first = logits[:, N_PREFIX - 1].unsqueeze(1).unsqueeze(1).expand(b, 2, 1, -1)
        rest = logits[:, N_PREFIX:].reshape(b, 2, length, -1)
        caption = entropy(torch.cat([first, rest], 2), batch.targets, smoothing)
        patch_word = entropy(logits[:, 1 : 1 + N_IMAGE], batch.patch_word, smoothing)
        lesioned = (x.new_zeros(()),) * 3

        def rerun(alterations: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
            y = fork[: 2 * self.n_lesioned]
            for k, alter in enumerate(alterations):
                y, _ = self._layer(y, FORK + k, mask, rotary, alter)
            return self._words(y)

        if lesions == "layers":
            lesioned = layer_lesions(batch, self.n_lesioned, layers - FORK, rerun)
        elif lesions == "words":
            lesioned = word_lesions(batch, self.n_lesioned, writers, pick, rerun)
        return torch.stack([caption, patch_word, probe, sparsity, loudness, *lesioned])

    def writers(self, batch: Batch, pick: Tensor) -> Tensor:
        """Return how strongly neurons of the last two layers write each word: `writer_scores`.

        `pick` (batch, 2 length), random numbers, chooses one category word a caption.
        """
        layers = self.model.model.language_model.layers
        chosen = due_places(batch, pick)
        activations: list[Tensor] = []

        def watch(a: Tensor) -> Tensor:
            activations.append(a if activations else a.detach().requires_grad_())
            return activations[-1]

        mask, rotary = self._geometry(batch.text.shape[2], batch.text.device)
        with torch.no_grad():
            x = self._embed(batch)
            for index in range(FORK):
                x, _ = self._layer(x, index, mask, rotary)
        for index in range(FORK, len(layers)):
            x, _ = self._layer(x, index, mask, rotary, watch)
        spread = log_softmax(self._words(x)[:, N_PREFIX:], -1)
        due = batch.targets[:, :, 1:].flatten(1).clamp(min=0)
        said = spread.gather(-1, due[..., None])[..., 0]
        gradients = torch.autograd.grad((said * chosen).sum(), activations)
        columns = [layer.mlp.down_proj.weight.detach() for layer in layers[FORK:]]
        return writer_scores(
            batch,
            chosen,
            [a.detach() for a in activations],
            gradients,
            columns,
            self.model.lm_head.weight.detach(),
        )

    def _loudness(self, index: int, stream: Tensor, a: Tensor) -> Tensor:
        """Return by how much writes exceed `LOUD`, squared; the first token is left alone."""
        columns = self.model.model.language_model.layers[index].mlp.down_proj.weight
        size = stream[:, 1:].norm(dim=-1)
        one = a[:, 1:].abs() * columns.float().norm(dim=0) / size[..., None]
        together = self._lin(a[:, 1:], self.model.model.language_model.layers[index].mlp.down_proj)
        both = (one - LOUD[0]).clamp(min=0).square().sum(-1)
        both = both + (together.float().norm(dim=-1) / size - LOUD[1]).clamp(min=0).square()
        return both.mean()

    def logits(self, pixels: Tensor, text: Tensor) -> Tensor:
        """Return the logits, float32 (batch, 69 + 2 length, vocabulary), as training sees them."""
        none = torch.empty(0)
        mask, rotary = self._geometry(text.shape[2], text.device)
        x = self._embed(Batch(pixels, text, none, none, none))
        for index in range(len(self.model.model.language_model.layers)):
            x, _ = self._layer(x, index, mask, rotary)
        return self._words(x)

    def _embed(self, batch: Batch) -> Tensor:
        table = self.model.model.language_model.embed_tokens.weight
        b = batch.text.shape[0]
        prompt = torch.tensor(self._prompt, device=table.device)
        image = self.image_features(batch.pixels)
        head = table[prompt[:1]].expand(b, 1, -1)
        tail = table[prompt[1:]].expand(b, len(self._prompt) - 1, -1)
        return torch.cat([head, image, tail, table[batch.text.flatten(1)]], 1)

    @property
    def _prompt(self) -> list[int]:
        from mmkn_widgets.pocket.words import vocabulary

        words = [*SPECIAL, *vocabulary()]
        return [words.index(w) for w in ("<s>", "describe", "the", "image", ":")]

    def _words(self, x: Tensor) -> Tensor:
        x = _rms_norm(x, self.model.model.language_model.norm)
        return self._lin(x, self.model.lm_head).float()

    def _geometry(self, length: int, device: torch.device) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Additive mask (two captions that do not see each other) and rotary tables."""
        n = N_PREFIX + 2 * length
        order = torch.arange(n, device=device)
        position = torch.where(order >= N_PREFIX + length, order - length, order)
        part = (order >= N_PREFIX).long() + (order >= N_PREFIX + length).long()
        sees = (order[:, None] >= order) & ((part == 0) | (part[:, None] == part))
        mask = torch.zeros(n, n, device=device).masked_fill(~sees, -1e9)
        text = self.model.config.text_config
        dim = text.hidden_size // text.num_attention_heads
        steps = torch.arange(0, dim, 2, device=device, dtype=torch.float32) / dim
        angle = position[:, None] * (10000.0**-steps)
        angle = torch.cat([angle, angle], -1)
        return mask, (angle.cos(), angle.sin())


def _layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _rms_norm(x: Tensor, norm: Any) -> Tensor:
    eps = norm.variance_epsilon
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * norm.weight


def _rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = rotary
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return (x * cos + turned * sin).to(x.dtype)
