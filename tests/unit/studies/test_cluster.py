"""A study on Dask's workers: the same figures, the same folder, and a worker that is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dask.distributed import Client, LocalCluster

import mmkn_widgets as mmkn
from mmkn_widgets import cli
from mmkn_widgets.studies import run_study
from mmkn_widgets.studies import search as search_module
from mmkn_widgets.studies.cluster import on_workers

SMALL: dict[str, Any] = {
    "concepts": ["star", "cup"],
    "methods": ["two_stage", "random"],
    "n_scenes": 4,
    "n_random": 2,
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        Client(cluster) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def model() -> mmkn.MultimodalModel:
    return mmkn.load_model("pocket")


def _figures(result: dict[str, Any]) -> str:
    return json.dumps({key: result[key] for key in ("methods", "per_concept", "skipped")})


def test_the_figures_are_those_of_one_process_and_either_resumes_the_other(
    client: Client, model: Any, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    shared = run_study(
        model,
        out=tmp_path / "shared",
        client=client,
        progress=lambda _, done, total: seen.append((done, total)),
        **SMALL,
    )
    alone = run_study(model, out=tmp_path / "alone", **SMALL)
    assert _figures(shared) == _figures(alone)
    names = sorted(p.relative_to(tmp_path / "alone") for p in (tmp_path / "alone").rglob("*.json"))
    for name in names:
        assert (tmp_path / "shared" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert seen[0] == (0, 4) and seen[-1] == (4, 4)
    gone = tmp_path / "shared" / "parts" / "star" / "random.json"
    gone.unlink()
    again = run_study(model, out=tmp_path / "shared", **SMALL)
    assert gone.is_file() and _figures(again) == _figures(alone)
    gone.unlink()
    assert _figures(run_study(model, out=tmp_path / "shared", client=client, **SMALL)) == _figures(
        alone
    )


def _die_once(mark: str, number: int) -> int:
    if number == 1 and not os.path.exists(mark):
        with open(mark, "w") as file:
            file.write(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_a_killed_worker_is_survived(client: Client, tmp_path: Path) -> None:
    mark, found = str(tmp_path / "dead"), dict[str, int]()
    on_workers(
        client, _die_once, {str(n): (mark, n) for n in range(4)}, lambda k, v: found.update({k: v})
    )
    assert found == {"0": 0, "1": 1, "2": 4, "3": 9}
    died = int(Path(mark).read_text())
    pids = client.run(os.getpid)
    assert died not in pids.values()


def _fail(number: int) -> int:
    if number == 2:
        raise ValueError("two is too many")
    return number


def test_one_that_fails_is_told_when_the_others_are_done(client: Client) -> None:
    found: list[str] = []
    with pytest.raises(mmkn.MmknError, match="'2' failed: two is too many"):
        on_workers(client, _fail, {str(n): (n,) for n in range(4)}, lambda k, _: found.append(k))
    assert sorted(found) == ["0", "1", "3"]


def _wait(seconds: float) -> float:
    import time

    time.sleep(seconds)
    return seconds


def test_cancelling_waits_for_nobody(client: Client) -> None:
    import time

    token = mmkn.CancelToken()
    start = time.perf_counter()
    with pytest.raises(mmkn.Cancelled):
        on_workers(
            client,
            _wait,
            {"short": (0.1,), "long": (20.0,)},
            lambda *_: token.cancel(),
            token,
        )
    assert time.perf_counter() - start < 15


def test_other_weights_are_refused(client: Client, model: Any, tmp_path: Path) -> None:
    other = mmkn.load_model("pocket")
    with torch.no_grad():
        next(other.hf.parameters()).add_(1e-3)
    with pytest.raises(mmkn.MmknError, match="other weights"):
        run_study(other, out=tmp_path / "other", client=client, load="pocket", **SMALL)
    with pytest.raises(mmkn.BadArgument, match="load: got 'pocket'"):
        run_study(model, out=tmp_path / "out", load="pocket", **SMALL)
    with pytest.raises(mmkn.BadArgument, match="client: got 'tcp"):
        run_study(model, out=tmp_path / "o", client="tcp://127.0.0.1:1", **SMALL)  # type: ignore[arg-type]


def test_a_study_on_a_cluster_of_this_machine(tmp_path: Path, capfd: Any) -> None:
    common = ["study", "--concepts", "star", "--methods", "random", "--scenes", "3"]
    common += ["--n-random", "1", "--bertscore", "none", "--json"]
    assert cli.main([*common, "--workers", "1", "--out", str(tmp_path / "a")]) == 0
    shared = capfd.readouterr()
    assert "dashboard: http" in shared.err
    assert cli.main([*common, "--out", str(tmp_path / "b")]) == 0
    assert json.loads(shared.out) == json.loads(capfd.readouterr().out)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--workers", "0"], "--workers"),
        (["--workers", "2", "--jobs", "2"], "one of the three"),
        (["--scheduler", "nonsense://x"], "a Dask scheduler that answers"),
    ],
)
def test_what_is_no_cluster_is_refused(
    tmp_path: Path, capsys: Any, given: list[str], said: str
) -> None:
    assert cli.main(["study", "--out", str(tmp_path / "out"), *given]) == 2
    assert said in capsys.readouterr().err


def test_a_threshold_search_on_workers_is_that_of_one_process(
    client: Client, model: Any, monkeypatch: Any
) -> None:
    val = mmkn.datasets.pocket_world("val")
    study = mmkn.study(model, "car", val.with_concept("car", 10), progress=False)
    options: dict[str, Any] = {
        "without_concept": val.without_concept("car", 9),
        "quantiles_d": (0.9, 0.98),
        "kept": (5, 20),
        "n_random": 2,
    }
    alone = study.propose_thresholds(**options)
    seen: list[tuple[Any, ...]] = []
    asked: list[Any] = []
    own = search_module.on_workers

    def noted(*given: Any) -> None:
        asked.extend(given[2].values())
        own(*given)

    monkeypatch.setattr(search_module, "on_workers", noted)
    shared = study.propose_thresholds(
        **options, client=client, progress=lambda *step: seen.append(step)
    )
    assert shared.points.identical(alone.points) and shared.best == alone.best
    assert alone.points["random_control"].notnull().all() and alone.points.sizes["setting"] > 2
    assert [len(one[4]) for one in asked] == [8, 8, 3] and [one[5] for one in asked] == [8, 2, 0]
    assert seen[-1] == ("searching thresholds", 3, 3)
    with pytest.raises(mmkn.BadArgument, match="load: got 'pocket'"):
        study.propose_thresholds(**options, load="pocket")


def test_an_atlas_on_workers_is_that_of_one_process(
    client: Client, model: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    from pocket_lab import atlas

    options: dict[str, Any] = {"n_scenes": 1, "n_joint": 2}
    atlas.measure_atlas(model, ["star"], tmp_path / "alone", **options)
    monkeypatch.setattr(atlas, "lesioned", None)  # in this process nothing is measured
    atlas.measure_atlas(model, ["star"], tmp_path / "shared", client=client, **options)
    files = [next((tmp_path / name).rglob("star.npz")) for name in ("alone", "shared")]
    with np.load(files[0]) as first, np.load(files[1]) as second:
        assert set(first) == {"single", "error", "joint", "course", "scenes"}
        for name in first:
            np.testing.assert_allclose(first[name], second[name], rtol=0, atol=1e-6)
        assert np.abs(first["single"]).max() > 0.01
    atlas.measure_atlas(model, ["star"], tmp_path / "shared", client=client, **options)
