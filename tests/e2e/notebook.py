"""One notebook open in a browser, with a second line to its kernel for what the test asserts."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Callable
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from playwright.sync_api import ConsoleMessage, Locator, Page

from .server import JupyterServer

__all__ = ["NotebookPage", "drag", "wait_for"]


def wait_for(what: str, ask: Callable[[], Any], timeout: float = 60.0) -> Any:
    """Return the first true answer of `ask`, or fail saying what was waited for."""
    deadline = time.monotonic() + timeout
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(
                f"after {timeout:.0f} s still waiting for {what}; last: {answer!r}"
            )
        time.sleep(0.1)


def drag(page: Page, start: tuple[float, float], end: tuple[float, float], steps: int = 12) -> None:
    """Press the mouse at `start`, move in `steps` to `end`, and let go."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=steps)
    page.mouse.up()


class NotebookPage:
    """A notebook in JupyterLab or Notebook 7.

    Parameters
    ----------
    page : Page
        Playwright's page; every error it logs is kept in `errors`.
    server : JupyterServer
        Where the notebook lives.
    path : str
        Its path from the server's root.
    """

    def __init__(self, page: Page, server: JupyterServer, path: str) -> None:
        self.page = page
        self.server = server
        self.path = path
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._keep_error)
        where = (
            f"/lab/workspaces/test/tree/{path}?reset&"
            if server.app == "lab"
            else (f"/notebooks/{path}?")
        )
        page.goto(f"{server.url}{where}token={server.token}")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        self.session: dict[str, Any] = wait_for("the kernel", self._ready_session)
        self._client: BlockingKernelClient | None = None

    def _keep_error(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _ready_session(self) -> dict[str, Any] | None:
        for session in self.server.get("/api/sessions"):
            if session["path"] == self.path and session["kernel"]["execution_state"] == "idle":
                return dict(session)
        return None

    def command(self, name: str, **arguments: Any) -> None:
        """Run a command of the front end and wait for its promise."""
        self.page.evaluate(
            "async ([name, args]) => { await window.jupyterapp.commands.execute(name, args); }",
            [name, arguments],
        )

    def run_all(self, timeout: float = 180.0) -> None:
        """Run every cell, and fail when one of them ended in an error."""
        finished = self.page.evaluate(
            """([timeout]) => Promise.race([
                window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => true),
                new Promise(done => setTimeout(() => done(false), timeout)),
            ])""",
            [timeout * 1000],
        )
        assert finished, f"{self.path} still runs after {timeout:.0f} s"
        for number, cell in enumerate(self.saved()["cells"]):
            for output in cell.get("outputs", []):
                assert output["output_type"] != "error", (
                    f"cell {number}: {output['ename']}: {output['evalue']}"
                )

    def saved(self) -> dict[str, Any]:
        """Return the notebook as the front end holds it, outputs included."""
        return dict(
            self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.toJSON()")
        )

    @property
    def client(self) -> BlockingKernelClient:
        """A second client of the notebook's kernel."""
        if self._client is None:
            file = self.server.runtime / f"kernel-{self.session['kernel']['id']}.json"
            client = BlockingKernelClient(connection_file=str(file))
            client.load_connection_file()
            client.start_channels()
            client.wait_for_ready(timeout=60)
            self._client = client
        return self._client

    def execute(self, code: str, value: str = "None", timeout: float = 120.0) -> Any:
        """Run code in the notebook's kernel; return the expression `value` if JSON can carry it."""
        shown = f"__import__('json').dumps({value})"
        reply = self.client.execute_interactive(
            code,
            store_history=False,
            user_expressions={"value": shown},
            output_hook=lambda message: None,
            timeout=timeout,
        )["content"]
        assert reply["status"] == "ok", "\n".join(reply.get("traceback", [str(reply)]))
        answer = reply["user_expressions"]["value"]
        assert answer["status"] == "ok", f"{value}: {answer.get('evalue')}"
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def python(self, expression: str, timeout: float = 120.0) -> Any:
        """Return a Python expression's value in the notebook's kernel."""
        return self.execute("", expression, timeout)

    def wait_for_python(self, expression: str, timeout: float = 60.0) -> Any:
        """Return the expression's value as soon as it is true."""
        return wait_for(expression, lambda: self.python(expression), timeout)

    def scroll_to(self, cell: int) -> None:
        """Bring a cell on screen; the front end draws no others."""
        self.page.evaluate(
            "async (cell) => window.jupyterapp.shell.currentWidget.content.scrollToItem(cell)", cell
        )

    def output(self, cell: int) -> Locator:
        """Return the output area of a cell, counted from 0."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".jp-Cell-outputArea")

    def close(self) -> None:
        """Shut the kernel down and forget the page's state."""
        if self._client is not None:
            self._client.stop_channels()
        self.server.delete(f"/api/sessions/{self.session['id']}")
        self.page.close(run_before_unload=False)
