"""A second notebook in the same JupyterLab window, with a kernel of its own."""

from __future__ import annotations

from typing import Any

from .notebook import NotebookPage, wait_for

__all__ = ["NotebookBeside"]


class NotebookBeside(NotebookPage):
    """A notebook opened in a window that already shows another.

    Parameters
    ----------
    first : NotebookPage
        The one that is open.
    path : str
        The second one's path from the server's root.
    """

    def __init__(self, first: NotebookPage, path: str) -> None:
        self.page, self.server = first.page, first.server
        self.path, self.errors = path, first.errors
        self._client = None
        self.show()
        self.session: dict[str, Any] = wait_for("the kernel", self._ready_session)

    def show(self) -> None:
        """Make this the current notebook."""
        self.command("docmanager:open", path=self.path)
        self.page.wait_for_function(
            "(path) => window.jupyterapp.shell.currentWidget?.context?.path === path",
            arg=self.path,
        )

    def close(self) -> None:
        """Shut the kernel down."""
        if self._client is not None:
            self._client.stop_channels()
        self.server.delete(f"/api/sessions/{self.session['id']}")
