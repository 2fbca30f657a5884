"""Find a Chromium for the browser tests, and install one where there is none.

``python scripts/browser.py`` prints the browser's path; with ``--install`` it installs one first if
need be. No browser is an error: a test that needs one never passes without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


def find_browser() -> str | None:
    """Return the path of a Chromium: ``MMKN_BROWSER``, the PATH's, or Playwright's own."""
    chosen = os.environ.get("MMKN_BROWSER")
    if chosen:
        if not Path(chosen).exists():
            raise FileNotFoundError(f"MMKN_BROWSER names {chosen!r}, which is not there")
        return chosen
    for name in NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    for path in APPLICATIONS:
        if Path(path).exists():
            return path
    return _playwrights_own()


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def _is_debian() -> bool:
    try:
        release = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return False
    # Ubuntu's package is a snap that cannot be driven from here; Playwright knows its own way.
    return "\nID=debian" in f"\n{release}" and shutil.which("apt-get") is not None


def _as_root(command: list[str]) -> list[str]:
    if os.geteuid() == 0:
        return command
    if shutil.which("sudo") is None:
        raise PermissionError(
            "installing a browser needs root or sudo; install Chromium yourself, or name one in "
            "the variable MMKN_BROWSER"
        )
    return ["sudo", *command]


def install_browser() -> None:
    """Install Chromium from Debian's packages, or through Playwright elsewhere."""
    if _is_debian():
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        packages = ["chromium", "fonts-dejavu-core"]
        for step in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends"]):
            command = ["apt-get", *step, *(packages if "install" in step else [])]
            subprocess.run(_as_root(command), check=True, env=environment, stdout=sys.stderr)
        return
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    if sys.platform.startswith("linux") and (os.geteuid() == 0 or shutil.which("sudo")):
        command.insert(-1, "--with-deps")
    subprocess.run(command, check=True, stdout=sys.stderr)


def main() -> int:
    if find_browser() is None and "--install" in sys.argv[1:]:
        install_browser()
    path = find_browser()
    if path is None:
        print("no Chromium found: run `python scripts/browser.py --install`", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
