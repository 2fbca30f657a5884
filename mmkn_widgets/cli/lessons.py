"""The notebooks that ship in the package, and copies of them that are never written over."""

from __future__ import annotations

import json
from pathlib import Path

from ..core import MmknError, bad_argument, unwritable

__all__ = ["copy_tutorials", "list_tutorials", "shipped"]


def shipped() -> Path:
    """Return the folder of the notebooks: in the installed package, else in the repository.

    Raises
    ------
    MmknError
        If there is neither.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if any(folder.glob("*.ipynb")):
            return folder
    raise MmknError(
        "the tutorials are not in this installation; install the wheel, or work in a clone"
    )


def list_tutorials() -> list[tuple[str, str]]:
    """Return every notebook's name and title, in their order.

    Examples
    --------
    >>> "quickstart.ipynb" in [name.split("_", 1)[-1] for name, title in list_tutorials()]
    True
    """
    found = []
    for path in sorted(shipped().glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "".join(cells[0]["source"]) if cells else ""
        title = next((line for line in text.splitlines() if line.startswith("#")), path.stem)
        found.append((path.name, title.lstrip("# ").replace("*", "")))
    return found


def copy_tutorials(folder: str | Path) -> tuple[list[str], list[str]]:
    """Copy the notebooks and what they show; a file that is there already stays as it is.

    Parameters
    ----------
    folder : str or pathlib.Path
        Made if need be.

    Returns
    -------
    copied, kept : list of str
        Paths below `folder`: those that were written, and those that were there.

    Raises
    ------
    BadArgument
        If `folder` is a file or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> place = tempfile.mkdtemp()
    >>> copied, kept = copy_tutorials(place)
    >>> len(copied) > 4, kept
    (True, [])
    >>> copy_tutorials(place)[0]
    []
    """
    target, source = Path(folder), shipped()
    if target.exists() and not target.is_dir():
        raise bad_argument("DIR", str(folder), "a folder; there is a file of this name")
    copied, kept = [], []
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if not path.is_file() or any(part.startswith((".", "__")) for part in name.parts):
            continue
        place = target / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_symlink():  # a link that leads nowhere is the reader's too
                raise FileExistsError
            with place.open("xb") as file:
                file.write(path.read_bytes())
        except FileExistsError:
            if place.parent.is_dir():
                kept.append(name.as_posix())
                continue
            raise bad_argument("DIR", str(folder), f"no file named {place.parent}") from None
        except OSError as error:
            raise unwritable("DIR", place, error) from error
        copied.append(name.as_posix())
    return copied, kept
