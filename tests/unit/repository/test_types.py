"""What a user's type checker and editor see of the package, and what a wrong call meets."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import mmkn_widgets as mmkn
from mmkn_widgets import BadArgument

SEEN = {
    "mmkn.load_model": "def (model: str | os.PathLike[str]",
    "mmkn.load_model('pocket').caption": "Overload|def (",
    "mmkn.study": "def (model: mmkn_widgets.models.model.MultimodalModel",
    "mmkn.Explorer": "-> mmkn_widgets.widgets.explorer.Explorer",
    "mmkn.compare": "-> mmkn_widgets.widgets.concept_pair.ConceptPair",
    "mmkn.datasets.pocket_world('val')[7]": "mmkn_widgets.datasets.base.Scene",
    "mmkn.evaluation.Effect": "-> mmkn_widgets.evaluation.effect.Effect",
    "mmkn.widgets.NeuronTable": "-> mmkn_widgets.widgets.parts.NeuronTable",
    "mmkn.NeuronSet([1], [2]).top(1)": "mmkn_widgets.core.neurons.NeuronSet",
}
WRONG = {
    "mmkn.load_model(3)": "arg-type",
    "mmkn.load_model('pocket', nonsense=True)": "call-arg",
    "mmkn.nothing": "attr-defined",
    "mmkn.widgets.Nothing": "attr-defined",
}


@pytest.fixture(scope="module")
def checked(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Return what mypy says of each line: those of `SEEN`, then those of `WRONG`."""
    snippet = tmp_path_factory.mktemp("types") / "snippet.py"
    lines = [*(f"reveal_type({code})" for code in SEEN), *WRONG]
    snippet.write_text("\n".join(["import mmkn_widgets as mmkn", *lines]), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml")]
    command += ["--cache-dir", str(root / ".mypy_cache"), str(snippet)]
    # from the repository: so that its package is found, and the cache that `make lint` filled
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=400)
    said: dict[int, str] = {}
    for line, text in re.findall(r"snippet\.py:(\d+): (.*)", done.stdout):
        said[int(line)] = f"{said.get(int(line), '')}{text}\n"
    assert said, done.stdout + done.stderr
    return said


def test_every_public_name_has_its_type(checked: dict[int, str]) -> None:
    for line, (code, wanted) in enumerate(SEEN.items(), 2):
        assert any(part in checked[line] for part in wanted.split("|") if part), (
            code,
            checked[line],
        )
        assert '"Any"' not in checked[line]


def test_a_wrong_name_or_argument_is_a_type_error(checked: dict[int, str]) -> None:
    for line, (code, kind) in enumerate(WRONG.items(), 2 + len(SEEN)):
        assert f"[{kind}]" in checked.get(line, ""), code


@pytest.mark.parametrize("face", ["mmkn_widgets", "mmkn_widgets.widgets"])
def test_what_checkers_see_is_what_the_lazy_face_gives(root: Path, face: str) -> None:
    module = importlib.import_module(face)
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    shown = Counter(re.findall(r"^    from \.\w* import \w+ as (\w+)$", text, re.MULTILINE))
    assert sorted(shown) == sorted(set(module.__all__) - {"__version__"})
    assert set(shown.values()) == {1}
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(BadArgument, match="nonsense: got True"):
        mmkn.load_model("pocket", nonsense=True)
    with pytest.raises(BadArgument, match="beside a model object"):
        mmkn.load_model(mmkn.load_model("pocket").hf, max_memory={"cpu": "1GB"})
    with pytest.raises(BadArgument):
        mmkn.load_model(3, nonsense=True)


def test_the_package_is_light_to_import() -> None:
    heavy = "{'torch', 'xarray', 'transformers', 'ipywidgets', 'numpy'} & set(sys.modules)"
    code = f"import sys, mmkn_widgets; mmkn_widgets.__dir__(); assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
