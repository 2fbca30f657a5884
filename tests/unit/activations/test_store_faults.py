"""What may go wrong with a store: a killed or a second writer, a full disk, damage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmkn_widgets as mmkn
from mmkn_widgets.activations import open_store, save
from mmkn_widgets.activations.picture import Picture
from mmkn_widgets.activations.zarr_store import StoreWriter
from mmkn_widgets.core.errors import BadArgument

_WRITER = """
    import sys, time
    import numpy as np
    from pathlib import Path
    from mmkn_widgets.activations.picture import FILLS, Picture
    from mmkn_widgets.activations.zarr_store import StoreWriter

    def picture(number, layers=4, tokens=40, neurons=2000):
        values = np.full((layers, tokens, neurons), number, np.float32)
        held = {name: np.full(tokens, fill) for name, fill in FILLS.items()}
        held["valid"] = np.ones(tokens, bool)
        return Picture({"activation": values}, held, list(range(layers)), [-1] * layers)

    def write(path, n):
        attrs = {"format": "mmkn-activations", "version": 1, "weights": "w"}
        with StoreWriter(Path(path), attrs) as writer:
            for number in range(len(writer.finished), n):
                writer.add(str(number), picture(number))
                print(number, flush=True)
"""


def _script(body: str) -> str:
    return textwrap.dedent(_WRITER) + textwrap.dedent(body)


def _start(root: Path, body: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _script(body), *arguments],
        cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_killed_writer_loses_no_committed_picture(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    committed = -1
    for turn in range(3):
        writer = _start(root, "write(sys.argv[1], 10_000)", str(path))
        assert writer.stdout is not None
        for _ in range(4):
            committed = int(writer.stdout.readline())
        time.sleep(0.003 * turn)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        committed = int(rest[-1]) if rest else committed
        held = open_store(path)
        assert held.sizes["image"] in (committed + 1, committed + 2)  # killed before it said so
        for place, name in enumerate(held["image"].values.tolist()):
            values = held.activation[place].values
            assert (values == int(name)).all()
        assert held["image"].values.tolist() == [str(n) for n in range(held.sizes["image"])]


def test_two_writers_are_refused_and_the_second_harms_nothing(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    body = "write(sys.argv[1], 2)\nprint('done', flush=True)\n"
    hold = """
        with StoreWriter(Path(sys.argv[1]), {"format": "mmkn-activations", "version": 1}) as w:
            w.add("0", picture(0))
            print("held", flush=True)
            sys.stdin.readline()
    """
    first = subprocess.Popen(
        [sys.executable, "-c", _script(hold), str(path)],
        cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert first.stdout is not None
    assert first.stdin is not None
    assert first.stdout.readline().strip() == "held"
    second = _start(root, body, str(path))
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "a store that no one else writes" in said
    with pytest.raises(BadArgument, match="no one else writes"), StoreWriter(path, {}):
        pass
    assert open_store(path).sizes["image"] == 1  # reading is never refused
    first.stdin.write("\n")
    first.stdin.close()
    assert first.wait(timeout=60) == 0
    first.stdout.close()


def test_a_full_disk_is_one_line_and_keeps_what_was_committed(root: Path, tmp_path: Path) -> None:
    body = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        from mmkn_widgets.core import BadArgument
        attrs = {"format": "mmkn-activations", "version": 1}
        with StoreWriter(Path(sys.argv[1]), attrs) as writer:
            for number in range(int(sys.argv[2])):
                writer.add(str(number), picture(number))
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            try:
                writer.add("x", picture(7))
            except BadArgument as error:
                print(error)
    """
    for n in (2, 0):
        path = tmp_path / f"s{n}"
        said = _start(root, body, str(path), str(n)).communicate(timeout=60)[0]
        assert said.startswith("out: ")
        assert len(said.splitlines()) == 1
        if n:
            assert "took 2 pictures, then: File too large" in said
            assert open_store(path).sizes["image"] == 2
            assert not (path / ".writing").exists()
        else:
            assert not path.exists()


def test_a_place_that_cannot_be_written(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = [Path("/proc/nothing/store")] if Path("/proc").is_dir() else []
    for place in (*nowhere, tmp_path / "file" / "store"):
        with pytest.raises(BadArgument, match="out: ") as error:
            mmkn.capture(pocket, pictures[0], out=place)
        assert "\n" not in str(error.value)
    with pytest.raises(BadArgument, match="expected a folder"):
        mmkn.capture(pocket, pictures[0], out=tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(BadArgument, match="a new folder"):
        mmkn.capture(pocket, pictures[0], out=tmp_path / "full")
    assert os.listdir(tmp_path / "full") == ["thesis.txt"]


def test_an_interrupted_first_picture_leaves_no_store(
    pocket: Any, pictures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StoreWriter, "add", interrupted)
    (tmp_path / "mine").mkdir()
    for name in ("new", "mine"):
        with pytest.raises(KeyboardInterrupt):
            mmkn.capture(pocket, pictures, out=tmp_path / name)
    assert not (tmp_path / "new").exists()
    assert [f.name for f in (tmp_path / "mine").iterdir()] == [".writer.lock"]


def test_other_versions_and_no_stores(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    mmkn.capture(pocket, pictures[0], out=path)
    mark = path / "zarr.json"
    described = json.loads(mark.read_text())
    described["attributes"]["version"] = 99
    mark.write_text(json.dumps(described))
    with pytest.raises(BadArgument, match="version 99"):
        open_store(path)
    with pytest.raises(BadArgument, match="version 99"):
        mmkn.capture(pocket, pictures, out=path)
    assert (path / "images" / "00000000").is_dir()
    described["attributes"]["format"] = "other"
    mark.write_text(json.dumps(described))
    with pytest.raises(BadArgument, match="an activation store"):
        open_store(path)
    for wrong in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BadArgument, match="path: "):
            open_store(wrong)
    mark.write_text("{")
    with pytest.raises(BadArgument, match="path: "):
        open_store(path)


def test_damage_is_found_when_it_is_read(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    mmkn.capture(pocket, pictures[:2], out=path)
    chunk = path / "images" / "00000001" / "activation" / "c" / "3" / "0" / "0"
    raw = bytearray(chunk.read_bytes())
    raw[1000] ^= 1
    chunk.write_bytes(raw)
    held = open_store(path)
    assert held.activation.sel(image="0").values.any()
    assert held.activation.sel(image="1", layer=2).values.any()
    with pytest.raises(BadArgument, match=r"layer row 3 is damaged"):
        _ = held.activation.sel(image="1", layer=3).values
    (path / "images" / "00000001" / "zarr.json").write_text("{}")
    with pytest.raises(BadArgument, match="a whole picture"):
        open_store(path)


def test_a_picture_half_written_by_hand_is_not_seen(tmp_path: Path) -> None:
    values = np.ones((2, 3, 4), np.float32)
    tokens = {"valid": np.ones(3, bool), "role": np.full(3, "text")}
    with StoreWriter(tmp_path / "s", {"format": "mmkn-activations", "version": 1}) as writer:
        from mmkn_widgets.activations.picture import FILLS

        for name, fill in FILLS.items():
            tokens.setdefault(name, np.full(3, fill))
        writer.add("a", Picture({"activation": values}, tokens, [0, 1], [-1, -1]))
        (tmp_path / "s" / ".writing" / "00000001").mkdir(parents=True)
        held = open_store(tmp_path / "s")
        assert held["image"].values.tolist() == ["a"]
    assert not (tmp_path / "s" / ".writing").exists()
    assert save(held, tmp_path / "t").is_dir()


def test_the_memory_of_a_sweep_does_not_grow_with_its_pictures(root: Path, tmp_path: Path) -> None:
    body = """
        import resource
        def sweep(folder, first, n):
            with StoreWriter(Path(folder), {"format": "mmkn-activations", "version": 1}) as writer:
                for number in range(first, n):
                    writer.add(str(number), picture(number, 8, 100, 2500))  # 8 MB each
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        few = sweep(sys.argv[1], 0, 4)
        print(sweep(sys.argv[1], 4, 24) - few)
    """
    said, problem = _start(root, body, str(tmp_path / "s")).communicate(timeout=120)
    assert not problem
    assert float(said) < 24  # MB, of 160 written
