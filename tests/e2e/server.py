"""A JupyterLab or Notebook server of the tests' own: its own port, token, settings and kernels."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["JupyterServer", "free_port"]

#: JupyterLab neither asks for news nor shows notifications over what a test clicks.
_QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class JupyterServer:
    """``jupyter lab`` or ``jupyter notebook`` on a folder, until the context is left.

    Parameters
    ----------
    folder : Path
        What the server shows as its root.
    home : Path
        An empty folder for settings, kernel connection files and the log.
    app : {"lab", "notebook"}
        Which front end to start.
    """

    def __init__(self, folder: Path, home: Path, app: str = "lab") -> None:
        self.folder = folder
        self.home = home
        self.app = app
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runtime(self) -> Path:
        """Folder of the kernels' connection files."""
        return self.home / "runtime"

    def _environment(self) -> dict[str, str]:
        own = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "IPYTHONDIR": "ipython",
        }
        settings = self.home / "config/lab/user-settings/@jupyterlab/apputils-extension"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(_QUIET))
        return os.environ | {name: str(self.home / where) for name, where in own.items()}

    def __enter__(self) -> JupyterServer:
        self.home.mkdir(parents=True, exist_ok=True)
        module = {"lab": "jupyterlab", "notebook": "notebook"}[self.app]
        command = [
            *(sys.executable, "-m", module, "--no-browser"),
            f"--ServerApp.root_dir={self.folder}",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.ip=127.0.0.1",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
        ]
        if os.name == "posix" and os.geteuid() == 0:
            command.append("--allow-root")
        with (self.home / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment(), cwd=self.folder
            )
        deadline = time.monotonic() + 90
        while True:
            try:
                self.get("/api/status")
                return self
            except (urllib.error.URLError, ConnectionError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._process.kill()
                    raise RuntimeError(f"{module} did not start:\n{self.log()}") from None
                time.sleep(0.2)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self, lines: int = 40) -> str:
        """Return the end of what the server wrote."""
        text = (self.home / "server.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def get(self, path: str) -> Any:
        """Return the server's JSON answer to a GET of `path`."""
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def delete(self, path: str) -> None:
        """Ask the server to delete what `path` names."""
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"token {self.token}"}, method="DELETE"
        )
        with urllib.request.urlopen(request, timeout=30):
            pass
