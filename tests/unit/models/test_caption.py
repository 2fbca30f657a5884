"""Captions: greedy, batched, streamed, cancelled, and the same as transformers' own."""

from __future__ import annotations

import copy
import threading
import warnings
from typing import Any

import pytest
import torch
import transformers

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument, Cancelled
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.models.generate import Pieces


def _tricky(words: str) -> str:
    return f"<image> {words} :"


def test_the_caption_is_transformers_greedy_one(pocket: Any, pictures: Any) -> None:
    ready = pocket.processor(images=pictures[0], text=mmkn.pocket.PROMPT, return_tensors="pt")
    with torch.no_grad():
        ids = pocket.hf.generate(**ready, do_sample=False, max_new_tokens=12)
    wanted = ids[0, ready["input_ids"].shape[1] :]
    text = pocket.tokenizer.decode(wanted, skip_special_tokens=True).strip()
    assert pocket.caption(pictures[0], max_new_tokens=12) == text


def test_a_batch_says_what_each_picture_says_alone(pocket: Any, pictures: Any) -> None:
    alone = [pocket.caption(picture) for picture in pictures]
    assert pocket.caption(pictures) == alone
    assert pocket.caption([pictures[0]]) == alone[:1]


def test_prompts_of_other_lengths_share_a_batch(pocket: Any, pictures: Any) -> None:
    prompts = [_tricky("describe the image"), _tricky("a red car next to a tree"), _tricky("the")]
    alone = [
        pocket.generate(pocket.prepare(picture, prompt), max_new_tokens=6).token_ids[0]
        for picture, prompt in zip(pictures, prompts, strict=False)
    ]
    ready = pocket.prepare(pictures[:3], prompts)
    together = pocket.generate(ready, max_new_tokens=6)
    assert together.token_ids == alone
    assert together.left_padding == [max(ready.lengths) - n for n in ready.lengths]
    assert len(set(ready.lengths)) == 3


def test_a_question_goes_through_the_chat_template(pocket: Any, pictures: Any) -> None:
    asked = pocket.prepare(pictures[0], "describe the image")
    assert asked.prompts == (mmkn.pocket.PROMPT,)
    assert pocket.prepare(pictures[0]).prompts == (mmkn.pocket.PROMPT,)
    assert pocket.prepare(pictures[0], "<image> a car").prompts == ("<image> a car",)


def test_sampling_defaults_do_not_colour_the_caption(pictures: Any) -> None:
    plain = mmkn.load_model("pocket")
    wanted = plain.caption(pictures[1], max_new_tokens=10)
    coloured = mmkn.load_model("pocket")
    own = coloured.hf.generation_config
    own.do_sample, own.temperature, own.top_k, own.top_p = True, 5.0, 3, 0.5
    own.num_beams, own.repetition_penalty, own.no_repeat_ngram_size = 3, 9.0, 1
    own.min_length, own.max_length = 90, 95
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert coloured.caption(pictures[1], max_new_tokens=10) == wanted


def test_pieces_arrive_while_it_writes_and_join_to_the_caption(pocket: Any, pictures: Any) -> None:
    pieces: list[tuple[str, int]] = []
    texts = pocket.caption(pictures, max_new_tokens=8, on_token=lambda *p: pieces.append(p))
    for row, text in enumerate(texts):
        assert "".join(piece for piece, r in pieces if r == row).strip() == text
    assert [row for _, row in pieces[:4]] == [0, 1, 2, 3]  # token by token, not row by row


class _Bytes:
    """A tokenizer whose tokens are the bytes of UTF-8."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


def test_a_character_of_several_tokens_arrives_whole() -> None:
    pieces = Pieces(_Bytes())
    text = "né 😀 ok"
    parts = [pieces.add(byte) for byte in text.encode()]
    assert "".join(parts) == text
    assert all("\ufffd" not in part for part in parts)


def test_the_kv_cache_is_kept(pocket: Any, pictures: Any) -> None:
    lengths: list[int] = []
    handle = pocket.sites[0].hook(lambda value: lengths.append(value.shape[1]))
    written = pocket.generate(pocket.prepare(pictures[0]), max_new_tokens=6)
    handle.remove()
    assert lengths == [69] + [1] * (len(written.token_ids[0]) - 1)


def test_a_cancelled_caption_stops_at_the_next_token(pocket: Any, pictures: Any) -> None:
    token, seen = CancelToken(), []

    def stop(piece: str, row: int) -> None:
        seen.append(piece)
        if len(seen) == 3:
            token.cancel()

    with pytest.raises(Cancelled):
        pocket.caption(pictures[0], max_new_tokens=30, on_token=stop, cancel=token)
    assert len(seen) <= 4
    with pytest.raises(Cancelled):  # before it starts
        pocket.caption(pictures[0], cancel=token)
    _lock_is_free(pocket)


def test_an_interrupt_leaves_nothing_behind(pocket: Any, pictures: Any) -> None:
    before = pocket.caption(pictures[0])

    def interrupt(piece: str, row: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pocket.caption(pictures[0], on_token=interrupt)
    _lock_is_free(pocket)
    assert pocket.caption(pictures[0]) == before


def _lock_is_free(model: Any) -> None:
    got: list[bool] = []

    def take() -> None:
        got.append(model.lock.acquire(timeout=2))
        if got[0]:
            model.lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    assert got == [True]


def test_rows_end_each_at_their_own_end_token(pocket: Any, pictures: Any) -> None:
    end = pocket.tokenizer.eos_token_id
    first = pocket.generate(pocket.prepare(pictures), max_new_tokens=32)
    assert len(first) == 4
    assert all(end not in ids for ids in first.token_ids)
    # make one word of row 0 the end token: it must stop there, the others go on as before
    word = first.token_ids[0][1]
    own = pocket.hf.generation_config.eos_token_id
    pocket.hf.generation_config.eos_token_id = [end, word]
    try:
        second = pocket.generate(pocket.prepare(pictures), max_new_tokens=32)
    finally:
        pocket.hf.generation_config.eos_token_id = own
    for ids, cut, done in zip(first.token_ids, second.token_ids, second.finished, strict=True):
        wanted = ids[: ids.index(word)] if word in ids else ids
        assert cut == wanted
        assert done is (word in ids or len(ids) < 32)


def test_bad_lengths_and_prompts(pocket: Any, pictures: Any) -> None:
    with pytest.raises(BadArgument, match="max_new_tokens: got 0"):
        pocket.caption(pictures[0], max_new_tokens=0)
    with pytest.raises(BadArgument, match="prompt: got '2 texts'"):
        pocket.caption(pictures, ["a", "b"])
    with pytest.raises(BadArgument, match="at least one picture"):
        pocket.caption([])
    with pytest.raises(BadArgument, match="cannot read the prompt '<image> <image> a'"):
        pocket.caption(pictures[0], "<image> <image> a")


def _watermark() -> Any:
    return transformers.WatermarkingConfig(bias=5.0)


#: What a checkpoint may ship in its generation config; none of it is greedy decoding.
SHIPPED: dict[str, Any] = {
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "prompt lookup": {"prompt_lookup_num_tokens": 3},
    "watermark": {"watermarking_config": _watermark},
    "beams": {"num_beams": 3, "early_stopping": True, "length_penalty": 3.0},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    "constraints": {"num_beams": 2, "force_words_ids": [[5]]},
    "min length": {"min_length": 60, "min_new_tokens": 30},
    "max length": {"max_length": 3, "max_time": 1e-9},
    "repetition": {"repetition_penalty": 5.0, "encoder_repetition_penalty": 3.0},
    "n-grams": {"no_repeat_ngram_size": 1, "encoder_no_repeat_ngram_size": 1},
    "stop strings": {"stop_strings": ["of", "and"]},
    "static cache": {"cache_implementation": "static"},
    "quantised cache": {"cache_implementation": "quantized"},
    "biases": {"sequence_bias": [[[9], 100.0]], "bad_words_ids": [[7], [8]]},
    "guidance": {"guidance_scale": 3.0},
    "sampling": {"do_sample": True, "temperature": 3.0, "top_p": 0.9, "min_p": 0.1},
    "decay": {"exponential_decay_length_penalty": (2, 3.0)},
    "dola": {"dola_layers": "high"},
    "several": {"num_return_sequences": 3, "num_beams": 3},
    "dict": {"return_dict_in_generate": True, "output_scores": True, "output_logits": True},
    "healing": {"token_healing": True},
    "forced": {"forced_eos_token_id": 1, "forced_bos_token_id": 5},
    "suppressed": {"suppress_tokens": list(range(5, 200)), "begin_suppress_tokens": [5, 6, 7]},
    "assistant": {"is_assistant": True, "num_assistant_tokens": 2},
}


@pytest.mark.parametrize("kind", SHIPPED)
def test_captions_are_greedy_whatever_a_checkpoint_ships(
    pocket: Any, pictures: list[Any], kind: str
) -> None:
    own = pocket.hf.generation_config
    want = pocket.caption(pictures), pocket.caption(pictures, max_new_tokens=4)
    shipped = copy.deepcopy(own)
    for name, value in SHIPPED[kind].items():
        setattr(shipped, name, value() if callable(value) else value)
    pocket.hf.generation_config = shipped
    try:
        made = pocket.caption(pictures), pocket.caption(pictures, max_new_tokens=4)
        assert made == want
        assert pocket.hf.generation_config is shipped
    finally:
        pocket.hf.generation_config = own


def test_a_generate_that_a_checkpoint_put_on_the_object_is_not_used(
    pocket: Any, pictures: list[Any]
) -> None:
    want = pocket.caption(pictures[0])
    pocket.hf.generate = lambda *_, **__: pytest.fail("the checkpoint's own generate ran")
    try:
        assert pocket.caption(pictures[0]) == want
    finally:
        del pocket.hf.generate


def test_the_shipped_config_is_back_after_an_error(pocket: Any, pictures: list[Any]) -> None:
    own = pocket.hf.generation_config

    def fails(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pocket.caption(pictures[0], on_token=fails)
    assert pocket.hf.generation_config is own
