"""Files that are whole or not there: kills, full disks, savers at the same time, early refusals."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmkn_widgets.core import (
    BadArgument,
    NeuronSet,
    check_file,
    check_folder,
    heal,
    seal,
    unseal,
    whole_folder,
    write_all,
    write_whole,
)


def _folder(path: Path, text: str) -> None:
    with whole_folder(path, replaces=lambda held: (held / "a.txt").is_file()) as part:
        (part / "a.txt").write_text(text)
        (part / "b").mkdir()
        (part / "b" / "c.txt").write_text(text)


SAVES: dict[str, Callable[[Path, str], Any]] = {
    "file": lambda place, text: write_whole(place / "x", text),
    "several": lambda place, text: write_all(place / "many", {"a.txt": text, "b.txt": text}),
    "folder": lambda place, text: _folder(place / "one", text),
    "neurons": lambda place, text: NeuronSet([0], [len(text)]).save(place / "n.mmkn.json"),
}


def _files(place: Path) -> dict[str, bytes]:
    return {str(f.relative_to(place)): f.read_bytes() for f in place.rglob("*") if f.is_file()}


@pytest.mark.parametrize("kind", [
    "neuron_set", "several", "part", "cached", "patch", "store", "study",
])  # fmt: skip
def test_a_kill_at_any_moment_leaves_the_older_or_the_newer(root: Path, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed.py")), kind],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[1]) >= 8  # steps of which each was the last


@pytest.mark.parametrize("kind", SAVES)
def test_everything_is_on_the_disk_before_it_takes_its_place(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SAVES[kind](tmp_path, "older")
    synced: list[int] = []
    renamed: list[tuple[int, int]] = []
    fsync, replace = os.fsync, os.replace

    def noted(handle: int) -> None:
        fsync(handle)
        synced.append(os.fstat(handle).st_ino)

    def checked(part: Any, place: Any) -> None:
        if Path(part).name.startswith(".part-") and not Path(place).name.startswith(".part-"):
            for one in [Path(part), *Path(part).rglob("*")]:
                assert one.stat().st_ino in synced, f"{one} is renamed before it is on the disk"
            renamed.append((len(synced), Path(place).parent.stat().st_ino))
        replace(part, place)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", checked)
    SAVES[kind](tmp_path, "newer")
    assert renamed
    for n, parent in renamed:
        assert parent in synced[n:], "the folder's new entry is not on the disk"


@pytest.mark.parametrize("kind", SAVES)
def test_a_full_disk_leaves_the_older(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SAVES[kind](tmp_path, "older")
    before = _files(tmp_path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(BadArgument, match=r"path: .*No space left on device.*make room"):
            SAVES[kind](tmp_path, "newer")
    assert _files(tmp_path) == before
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
    try:
        with pytest.raises(BadArgument, match=r"path: .*File too large"):
            SAVES[kind](tmp_path, "newer" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert _files(tmp_path) == before


@pytest.mark.parametrize("kind", SAVES)
def test_what_is_saved_has_ordinary_permissions(kind: str, tmp_path: Path) -> None:
    held = os.umask(0o027)
    try:
        SAVES[kind](tmp_path, "x")
    finally:
        os.umask(held)
    for one in tmp_path.rglob("*"):
        wanted = 0o750 if one.is_dir() else 0o640
        assert stat.S_IMODE(one.stat().st_mode) == wanted, one


def test_savers_at_the_same_time_do_not_collide(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for _ in range(15):
                for save in SAVES.values():
                    save(tmp_path, name)
        except BaseException as error:
            failed.append(error)

    children = []
    for number in range(2):
        child = os.fork()
        if not child:
            work(str(number) * 9)
            os._exit(1 if failed else 0)
        children.append(child)
    threads = [threading.Thread(target=work, args=(str(n) * 9,)) for n in range(3, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert failed == []
    held = tmp_path / "one"
    assert (held / "a.txt").read_text() == (held / "b" / "c.txt").read_text()
    assert len(NeuronSet.load(tmp_path / "n.mmkn.json")) == 1
    names = {one.name for one in tmp_path.iterdir()}
    assert names == {"x", "many", "one", "n.mmkn.json"}


def test_a_folder_between_its_renames_comes_back(tmp_path: Path, monkeypatch: Any) -> None:
    _folder(tmp_path / "one", "older")
    replace = os.replace

    def killed(part: Any, place: Any) -> None:
        if Path(place).name == "one":
            raise KeyboardInterrupt
        replace(part, place)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        _folder(tmp_path / "one", "newer")
    monkeypatch.undo()
    assert not (tmp_path / "one").exists()
    heal(tmp_path / "one")
    assert (tmp_path / "one" / "a.txt").read_text() == "older"
    assert [one.name for one in tmp_path.iterdir()] == ["one"]


def test_only_what_is_dead_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".part-dead").write_text("left")
    (tmp_path / ".part-folder").mkdir()
    (tmp_path / ".part-folder" / "x").write_text("left")
    (tmp_path / "mine.part").write_text("not ours")
    with whole_folder(tmp_path / "one") as part:
        (part / "a.txt").write_text("alive")
        write_whole(tmp_path / "x", "x")
        assert (part / "a.txt").is_file()
    assert {p.name for p in tmp_path.iterdir()} == {"one", "x", "mine.part"}


def test_what_stands_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder" / "full").mkdir(parents=True)
    (tmp_path / "file").write_text("mine")
    long = tmp_path / ("n" * 300)
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: write_whole(tmp_path / "folder", "x"), "there is a folder of this name"),
        (lambda: check_file(tmp_path / "folder"), "there is a folder of this name"),
        (lambda: write_whole(tmp_path / "absent" / "x", "x"), "make its folder first"),
        (lambda: check_file(tmp_path / "absent" / "x"), "make its folder first"),
        (lambda: write_whole(tmp_path / "file" / "x", "x"), "Not a directory"),
        (lambda: check_file(tmp_path / "file" / "x"), "Not a directory"),
        (lambda: write_whole(long, "x"), "choose a shorter name"),
        (lambda: check_file(long), "choose a shorter name"),
        (lambda: _folder(tmp_path / "file", "x"), "there is a file of this name"),
        (lambda: check_folder(tmp_path / "file"), "there is a file of this name"),
        (lambda: _folder(tmp_path / "file" / "x", "x"), "Not a directory"),
        (lambda: check_folder(tmp_path / "file" / "x" / "y"), "Not a directory"),
        (lambda: _folder(tmp_path / "folder", "x"), "a new folder, or one that such a save wrote"),
        (lambda: check_folder(tmp_path / "folder"), "a new folder, or one that such a save wrote"),
        (lambda: check_folder(long, shared=True), "choose a shorter name"),
        (lambda: write_all(tmp_path / "file", {"x": "x"}), "there is a file of this name"),
        (lambda: write_all(tmp_path / "folder", {"full": "x"}), "there is a folder of this name"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for save, says in wrong:
        with pytest.raises(BadArgument, match="path: ") as error:
            save()
        assert says in str(error.value)
        assert "\n" not in str(error.value)
        assert sorted(tmp_path.rglob("*")) == before
    check_file(tmp_path / "file")
    check_file(tmp_path / "new")
    check_folder(tmp_path / "a" / "b" / "c")
    check_folder(tmp_path / "folder", shared=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = os.open

    def denied(path: Any, flags: int, *mode: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", str(path))
        return held(path, flags, *mode, **named)

    monkeypatch.setattr(os, "open", denied)
    for save in (write_whole, write_all):
        with pytest.raises(BadArgument, match="--out: .*Permission denied"):
            save(tmp_path / "x", {"a": "x"} if save is write_all else "x", "--out")  # type: ignore
    for check in (check_file, check_folder):
        with pytest.raises(BadArgument, match="--out: .*Permission denied"):
            check(tmp_path / "y", "--out")


def test_a_link_leads_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target = write_whole(tmp_path / "there" / "a.txt", "older")
    (tmp_path / "link").symlink_to(target)
    write_whole(tmp_path / "link", "newer")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "newer"


def test_json_knows_when_it_was_changed() -> None:
    content = {"a": [1, None, "ü"], "b": {"checksum": "0" * 64}, "c": "0" * 64}
    text = seal(content)
    assert unseal(text) == content
    assert json.loads(text)["a"] == content["a"]
    raw = text.encode()
    for place in range(len(raw)):
        for bit in (0, 3, 5):
            changed = bytearray(raw)
            changed[place] ^= 1 << bit
            with pytest.raises(ValueError):  # noqa: PT011
                unseal(bytes(changed))
    assert unseal('{"a": 1}', required=False) == {"a": 1}


def test_a_neuron_set_that_was_changed_is_refused(tmp_path: Path) -> None:
    place = NeuronSet([1, 2], [3, 4], score=[0.5, 0.25]).save(tmp_path / "a.mmkn.json")
    raw = place.read_bytes()
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        place.write_bytes(changed)
        with pytest.raises(BadArgument, match="path: "):
            NeuronSet.load(place)
    for n in range(0, len(raw) - 2, 7):
        place.write_bytes(raw[:n])
        with pytest.raises(BadArgument, match="path: "):
            NeuronSet.load(place)
    held = json.loads(raw)
    held["neurons"][0]["index"] = 9
    del held["checksum"]  # changed by hand, and said so
    place.write_text(json.dumps(held))
    assert NeuronSet.load(place).index.tolist() == [9, 4]


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    for save in (
        lambda: write_whole(place, b"x", "out"),
        lambda: check_file(place, "out"),
        lambda: check_folder(place, "out"),
        lambda: write_all(place, {"x": b""}, "out"),
        lambda: whole_folder(place, "out").__enter__(),
    ):
        with pytest.raises(BadArgument, match="out: got .*NUL"):
            save()
