"""Load a multimodal model by name, folder or object, and check that its neurons are reachable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import torch

from ..core import BadArgument, NotSupported, bad_argument, ending, sure
from . import mplug_owl2, mplug_owl2_config, smollm2
from .families import reads_text_apart
from .fit import fill_in
from .model import MultimodalModel
from .placement import best_device, choose_dtype, placement
from .processors import load_processor
from .sites import find_sites
from .source import FOLDER, find_source, missing_package, one_line, read_config, refuse_mismatch
from .state import loading, make_ordinary, plain_torch
from .wrappers import unwrapped

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["load_model", "quiet_when_small"]

_SMALL = 64 * 2**20


class LoadOptions(TypedDict, total=False):
    """What transformers' ``from_pretrained`` takes besides the arguments of `load_model`."""

    attn_implementation: str
    cache_dir: str | PathLike[str]
    experts_implementation: str
    force_download: bool
    gguf_file: str
    ignore_mismatched_sizes: bool
    key_mapping: dict[str, str]
    local_files_only: bool
    max_memory: dict[int | str, int | str]
    offload_buffers: bool
    offload_folder: str | PathLike[str]
    proxies: dict[str, str]
    quantization_config: Any
    subfolder: str
    token: str | bool
    tp_plan: str | dict[str, str]
    use_kernels: bool
    use_safetensors: bool
    variant: str


@sure
def quiet_when_small(folder: str) -> Iterator[None]:
    """Hide transformers' progress bar while a folder of less than 64 MiB of weights is read."""
    from transformers.utils import logging

    weights = Path(folder).glob("*.safetensors") if Path(folder).is_dir() else ()
    sizes = [file.stat().st_size for file in weights]
    if not sizes or sum(sizes) > _SMALL or not logging.is_progress_bar_enabled():
        yield
        return
    with ending(logging.enable_progress_bar):
        logging.disable_progress_bar()
        yield


#: model_type -> the class that holds the language model as ``.model``: transformers 5.23 renames
#: the keys of these folders for that class alone, its Auto class would leave weights random.
_INSIDE = {"shieldgemma2": "ShieldGemma2ForImageClassification"}


@plain_torch(False)
def load_model(
    model: str | PathLike[str] | torch.nn.Module,
    processor: Any = None,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    device_map: Any = None,
    load_in_8bit: bool = False,
    stack: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    check: bool = True,
    **options: Unpack[LoadOptions],
) -> MultimodalModel:
    """Load a multimodal language model and find its FFN neurons.

    Parameters
    ----------
    model : str, path or transformers.PreTrainedModel
        ``"pocket"`` (the model in the box), ``"pocket-plain"`` (the same network, trained by
        captions alone), ``"pocket-smollm2"`` (a pretrained language model with eyes; with
        ``":SOURCE"`` behind it, that folder's or hub name's weights of SmolLM2-135M), a name on the
        Hugging Face hub, a model folder (also mPLUG-Owl2's, which transformers does not know), or a
        model object of your own; what is round it (``torch.compile``, ``DataParallel``, PEFT) is
        taken off.
    processor : transformers.ProcessorMixin, optional
        With a model object: what reads pictures and texts for it. Without one the model takes
        ready-made inputs (a dict of tensors) only.
    device : str or torch.device, optional
        By default the GPU, else Apple's MPS, else the CPU. A model object stays where it is.
    dtype : str or torch.dtype, optional
        By default float32 on a CPU, the checkpoint's own type elsewhere (float16 on MPS instead of
        bfloat16). ``"auto"`` takes the checkpoint's type everywhere.
    device_map : optional
        As in transformers (``"auto"`` spreads the model; needs accelerate); excludes `device`.
    load_in_8bit : bool
        Pack the weights with bitsandbytes. Capture and ablation work, weight edits are refused.
    stack : {"auto", "decoder", "encoder"}
        Which stack of an encoder-decoder. ``"auto"``: the one that holds the image tokens.
    revision : str, optional
        The hub's branch, tag or commit.
    trust_remote_code : bool
        Run Python code that comes with the checkpoint. Off: nothing from outside is executed.
    check : bool
        Run one small forward that proves each site; off, the first problem shows in use.
    **options
        Passed to ``AutoModelForImageTextToText.from_pretrained``: those of `LoadOptions`, such as
        ``attn_implementation``, ``max_memory``, ``quantization_config``, ``token``.

    Returns
    -------
    MultimodalModel
        In evaluation mode, parameters frozen.

    Raises
    ------
    BadArgument
        If there is no such model, it is no multimodal model, its files are damaged, or an option
        is unknown (or stands beside a model object, which is loaded already).
    NotSupported
        If its neurons cannot be found or the check fails; the message says why.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> model.n_layers, model.n_neurons
    (6, 512)
    """
    if stack not in ("auto", "decoder", "encoder"):
        raise bad_argument("stack", stack, "'auto', 'decoder' or 'encoder'")
    if str(device).startswith("cuda") and not torch.cuda.is_available():
        raise bad_argument("device", str(device), f"'{best_device()}': torch finds no CUDA here")
    for option, given in options.items():
        if option not in LoadOptions.__annotations__:
            known = ", ".join(LoadOptions.__annotations__)
            raise bad_argument(option, given, f"no such argument; besides its own {known}")
        if isinstance(model, torch.nn.Module):
            raise bad_argument(option, given, "none beside a model object, which is loaded already")
    if isinstance(model, torch.nn.Module):
        hf = unwrapped(model)
        name, found_revision = _name_of(hf), revision or ""
        if device is not None or dtype is not None:
            hf = hf.to(
                device=device, dtype=choose_dtype(dtype, torch.device(device or "cpu"), None)
            )
    elif (name := str(model)).partition(":")[0] == smollm2.NAME:
        given = {"device_map": device_map, "load_in_8bit": load_in_8bit or None, **options}
        for option, value in given.items():
            if value is not None:
                raise bad_argument(option, value, f"none for {smollm2.NAME}, which is assembled")
        target, found_revision = torch.device(device or best_device()), ""
        hf, assembled = smollm2.assemble(name, target, dtype)
        processor = assembled if processor is None else processor
    else:
        source = find_source(name)
        if device is not None and device_map is not None:
            raise BadArgument("device: give device or device_map, not both")
        target = torch.device(device) if device is not None else best_device()
        config = read_config(source, name, revision, trust_remote_code)
        hf = _load_weights(
            source, name, config, target,
            {
                **options,
                **placement(target, device_map, load_in_8bit),
                "dtype": choose_dtype(dtype, target, config),
                "revision": revision or "main",
                "trust_remote_code": trust_remote_code,
            },
        )  # fmt: skip
        found_revision = str(getattr(hf.config, "_commit_hash", None) or revision or "")
        if processor is None and config.model_type == mplug_owl2_config.MODEL_TYPE:
            processor = mplug_owl2.load_processor(source, hf, revision or "main")
        elif processor is None:
            processor = load_processor(source, config, revision, trust_remote_code)
    hf.eval()
    hf.requires_grad_(False)
    return wrap(hf, processor, name=name, revision=found_revision, stack=stack, check=check)


def wrap(
    hf: Any,
    processor: Any,
    *,
    name: str,
    revision: str = "",
    stack: str = "auto",
    check: bool = True,
) -> MultimodalModel:
    """Find the sites of a model that is in memory, check them, and return its `MultimodalModel`."""
    make_ordinary(hf)
    fill_in(processor, hf)
    chosen = choose_stack(hf) if stack == "auto" else stack
    if chosen == "encoder" and not hasattr(hf, "get_encoder"):
        raise bad_argument("stack", stack, f"'decoder': {type(hf).__name__} has no encoder")
    search = find_sites(hf, chosen)
    return MultimodalModel(
        hf, processor, search, name=name, revision=revision, stack=chosen, check=check
    )


def choose_stack(hf: Any) -> str:
    """Return which stack holds the image tokens: the text encoder of an encoder-decoder, if any."""
    if not hasattr(hf, "get_encoder") or not reads_text_apart(hf):
        return "decoder"
    try:
        found = find_sites(hf, "encoder")
    except (NotSupported, AttributeError):
        return "decoder"
    return "encoder" if found.sites else "decoder"


def _name_of(hf: Any) -> str:
    given = getattr(getattr(hf, "config", None), "_name_or_path", "") or ""
    return Path(given).name if given else type(hf).__name__


def _load_weights(
    source: str, name: str, config: Any, device: torch.device, options: dict[str, Any]
) -> Any:
    from safetensors import SafetensorError

    auto = _auto_class(config, name, options["trust_remote_code"])
    refuse_mismatch(source, name, config, auto)
    try:
        with quiet_when_small(source), loading():
            hf, info = auto.from_pretrained(
                source, config=config, output_loading_info=True, **options
            )
    except SafetensorError as error:
        raise BadArgument(
            f"model: the safetensors of {name} are damaged ({one_line(error)}); copy or download "
            "them again"
        ) from error
    except torch.OutOfMemoryError:
        raise
    except ImportError as error:
        raise missing_package(name, error) from error
    except Exception as error:
        if "ignore_mismatched_sizes" in str(error):
            raise BadArgument(
                f"model: the weights of {name} have other shapes than its config.json says; "
                "expected those of one model"
            ) from error
        if any(sign in str(error) for sign in ("safetensors", "HeaderTooLarge", "header")):
            raise BadArgument(
                f"model: the weights of {name} cannot be read ({one_line(error)}); expected "
                f"{FOLDER}"
            ) from error
        raise BadArgument(
            f"model: {name} cannot be loaded: {type(error).__name__}: {one_line(error)}"
        ) from error
    if config.model_type in _INSIDE:
        hf = hf.model
    if lost := sorted(info["missing_keys"]):
        more = f" and {len(lost) - 3} more" if lost[3:] else ""
        raise BadArgument(
            f"model: the weights of {name} lack {', '.join(lost[:3])}{more} and would be random; "
            "if that is meant, load it with transformers and pass the model object"
        )
    if "device_map" not in options:
        hf = hf.to(device)
    return hf


def _auto_class(config: Any, name: str, trust: bool) -> Any:
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    kind = config.model_type
    if kind == mplug_owl2_config.MODEL_TYPE:
        return mplug_owl2_config.model_class()
    if kind in _INSIDE:
        return getattr(transformers, _INSIDE[kind])
    remote = getattr(config, "auto_map", None) or {}
    if trust and "AutoModelForImageTextToText" not in remote and "AutoModelForCausalLM" in remote:
        return transformers.AutoModelForCausalLM
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or trust:
        found = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(kind)
        known = transformers.AutoModelForImageTextToText._model_mapping
        if trust or type(config) in known:
            return transformers.AutoModelForImageTextToText
        return getattr(transformers, str(found))
    raise BadArgument(
        f"model: {name} is a {kind} model, which reads no pictures; expected a model of the "
        "image-text-to-text kind, such as LLaVA, BLIP-2, Qwen-VL or PaliGemma"
    )
