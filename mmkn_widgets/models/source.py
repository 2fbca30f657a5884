"""Where a model comes from, and one clear line for everything that is no model."""

from __future__ import annotations

import json
import math
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..core import BadArgument, MmknError, NotSupported
from ..pocket import FOLDERS, path
from . import mplug_owl2_config

__all__ = ["FOLDER", "find_source", "missing_package", "one_line", "read_config", "refuse_mismatch"]

FOLDER = "config.json, weights (model.safetensors), and a tokenizer and processor beside them"


def find_source(name: str) -> str:
    """Return the folder or hub name behind what the user wrote."""
    if name in FOLDERS:
        return str(path(name))
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BadArgument(
                f"model: {name} is not a model folder: it has no config.json; expected {FOLDER}"
            )
        return str(folder)
    if folder.is_file():
        raise BadArgument(f"model: {name} is a file; expected the folder that holds {FOLDER}")
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    if looks_local or not name:
        raise BadArgument(f"model: there is no folder {name!r}; expected a folder with {FOLDER}")
    if near := get_close_matches(name.lower(), FOLDERS, 1, cutoff=0.8):  # the hub has none of these
        raise BadArgument(f"model: there is no folder {name!r}; did you mean {near[0]!r}?")
    return name


def one_line(error: BaseException, limit: int = 240) -> str:
    """Return an error's text on one line, shortened."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def missing_package(name: str, error: ImportError) -> NotSupported:
    """Return the error of a model that needs a package that is not here, such as timm."""
    found = re.search(r"requires the (\S+) library", str(error)) or re.search(
        r"[Nn]o module named '(\w+)", str(error)
    )
    if found is None:
        return NotSupported(f"model: {name} cannot be built here: {one_line(error)}")
    package = found[1].lower()
    more = " (it brings torchvision; take the one that fits your torch)" * (package == "timm")
    return NotSupported(f"model: {name} needs {package}; pip install {package}{more}")


def refuse_mismatch(source: str, name: str, config: Any, kind: Any) -> None:
    """Raise before loading where a folder's weights are far too few for its configuration.

    transformers would make up what is missing, which may be more than the memory holds.
    """
    import torch
    from safetensors import safe_open

    held = 0
    files = list(Path(source).glob("*.safetensors")) if Path(source).is_dir() else []
    try:
        for file in files:
            with safe_open(file, "pt") as weights:
                for key in weights.keys():  # noqa: SIM118
                    held += math.prod(weights.get_slice(key).get_shape())
        with torch.device("meta"):
            wanted = sum(p.numel() for p in kind.from_config(config).parameters())
    except Exception:  # noqa: BLE001  whatever it is, the loading itself will say it
        return
    if held and wanted > 4 * held + 10**8:
        raise BadArgument(
            f"model: the config.json of {name} describes {wanted:,} parameters and its weights "
            f"hold {held:,}; expected those of one model"
        )


def read_config(source: str, name: str, revision: str | None, trust: bool) -> Any:
    """Return the configuration of a folder or hub name, or say why there is none."""
    from transformers import AutoConfig

    folder = Path(source)
    if folder.is_dir():
        try:
            written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise BadArgument(
                f"model: the config.json of {name} cannot be read ({one_line(error)})"
            ) from error
        if not isinstance(written, dict) or "model_type" not in written:
            raise BadArgument(
                f"model: the config.json of {name} names no model_type, so it is not a "
                f"transformers model; expected {FOLDER}"
            )
        if not mplug_owl2_config.is_one(written):
            _refuse_remote_code(written, name, trust)
    try:
        config = _own_config(source, revision or "main")
        if config is None:
            config = AutoConfig.from_pretrained(
                source, revision=revision or "main", trust_remote_code=trust
            )
    except MmknError:
        raise
    except Exception as error:
        raise _config_error(error, name, trust) from error
    _refuse_sizes(config.to_dict(), name)
    return config


def _own_config(source: str, revision: str) -> Any:
    """Return the configuration of a model that this package builds itself, None of another."""
    from transformers import PreTrainedConfig

    written, _ = PreTrainedConfig.get_config_dict(source, revision=revision)
    return mplug_owl2_config.config(written) if mplug_owl2_config.is_one(written) else None


#: names under which configurations say how many layers there are, and more than any model has
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth", "depths")
_MOST_LAYERS = 10_000


def _refuse_sizes(described: Any, name: str) -> None:
    """Refuse a configuration that would build modules for hours before a weight is read."""
    if isinstance(described, dict):
        for key, value in described.items():
            counts = value if isinstance(value, list | tuple) else [value]
            if key in _LAYERS and any(isinstance(n, int) and n > _MOST_LAYERS for n in counts):
                raise BadArgument(
                    f"model: the config.json of {name} says {key} = {value}, expected at most "
                    f"{_MOST_LAYERS}; the file is damaged or no model's"
                )
            _refuse_sizes(value, name)


def _refuse_remote_code(written: dict[str, Any], name: str, trust: bool) -> None:
    from transformers import CONFIG_MAPPING

    if "auto_map" in written and written["model_type"] not in CONFIG_MAPPING and not trust:
        raise _remote_code_error(name)


def _remote_code_error(name: str) -> NotSupported:
    return NotSupported(
        f"model: {name} needs Python code that comes with its checkpoint, which is not run unless "
        "you read it and pass trust_remote_code=True"
    )


def _config_error(error: Exception, name: str, trust: bool) -> Exception:
    if isinstance(error, ImportError):
        return missing_package(name, error)
    text = one_line(error)
    if "trust_remote_code" in text and not trust:
        return _remote_code_error(name)
    if "model type" in text.lower() and "does not recognize" in text.lower():
        return NotSupported(
            f"model: this transformers does not know the model type of {name}: {text}"
        )
    if isinstance(error, OSError):
        return BadArgument(
            f"model: no folder {name!r} here, and the Hugging Face hub has no such model or cannot "
            f"be reached; expected {', '.join(map(repr, FOLDERS))}, a folder with {FOLDER}, or a "
            "hub name like 'llava-hf/llava-1.5-7b-hf'"
        )
    return BadArgument(f"model: the configuration of {name} cannot be used ({text})")
