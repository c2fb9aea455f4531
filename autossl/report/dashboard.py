"""Optuna's dashboard on a study: on this machine only, and read-only unless asked otherwise."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from autossl.errors import UserError
from autossl.errors.keywords import whole
from autossl.record.folder import Folder
from autossl.record.journal import open_storage
from autossl.report.attached import Attached
from autossl.report.board import Board

HOST = "127.0.0.1"  # the dashboard asks nobody for a password
LOCAL = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", re.ASCII)  # what a Host may be; a tunnel has another port
READING = ("GET", "HEAD")
UNFRAMED = ("X-Frame-Options", "DENY")  # else a page elsewhere could lay itself over the buttons

Start = Callable[..., Any]
App = Callable[[dict[str, Any], Start], Iterable[bytes]]


class Server(ThreadingMixIn, WSGIServer):
    """A server that answers several requests at a time; the journal is read anew for each."""

    daemon_threads = True
    allow_reuse_address = True

    def server_bind(self) -> None:
        """Without the name of this address, for which the class above asks the network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])
        self.setup_environ()


class Quiet(WSGIRequestHandler):
    """A handler that does not print a line for every poll of the page."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


PORT = whole(0, 65535, wanted="a free port between 1024 and 65535", remedy="give another with --port")


def serve(folder: Folder, port: int | str = 8080, read_only: bool = True) -> None:
    """Serve Optuna's dashboard on the study in `folder` until Ctrl-C; the study may be at work.

    Raises UserError if the extra is not installed, the study has no trials to show yet, or the port is taken.
    """
    with open_server(folder, PORT.take("--port", port), read_only) as server:
        number = server.server_port
        print(f"Optuna's dashboard: http://{HOST}:{number}/   (Ctrl-C ends it)")
        print(f"from another machine: ssh -L {number}:{HOST}:{number} USER@HERE, then open it there", flush=True)
        if not read_only:
            print("whoever reaches this address can change and delete the study")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended; the study is as it was")


def open_server(folder: Folder, port: int, read_only: bool) -> WSGIServer:
    """The server, bound to 127.0.0.1 and not yet serving; port 0 takes a free one. Raises UserError as `serve`."""
    app = only_here(_application(folder, read_only))
    try:
        return make_server(HOST, port, reading_only(app) if read_only else app, Server, Quiet)
    except (OSError, OverflowError) as fault:
        raise UserError(
            f"a free port between 1024 and 65535 was wanted, but {port} cannot be used ({fault}); "
            "give another with --port"
        ) from None


def _application(folder: Folder, read_only: bool) -> App:
    """The dashboard as a view of the study; where one may write, on the study as Optuna has it."""
    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError:
        raise UserError(
            "the dashboard was wanted, but optuna-dashboard is not installed; "
            "pip install 'autossl-imaging[dashboard]', or use autossl report"
        ) from None
    if not folder.journal.is_file():
        raise UserError(
            f"a study was wanted, found none at {folder.root} (no study.journal); start one with autossl search"
        )
    board = partial(Board, folder=folder)
    app: App = wsgi(open_storage(folder, board), Attached(folder)) if read_only else wsgi(open_storage(folder))
    return app


def only_here(app: App) -> App:
    """The same application, refusing what a web page elsewhere can make a browser ask for.

    Requests must name this machine, or such a page could read the study under a name of its own; those that may change
    something must also come from a page of this server, which browsers say in Origin.
    """

    def guarded(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        if not LOCAL.fullmatch(host):
            return _refused(start, f"this dashboard answers at {HOST} and localhost only")
        if environ["REQUEST_METHOD"] not in READING and environ.get("HTTP_ORIGIN") != f"http://{host}":
            return _refused(start, f"changes are taken from pages of this dashboard only (Origin: http://{host})")

        def unframed(status: str, headers: list[tuple[str, str]], *fault: Any) -> Any:
            return start(status, [*headers, UNFRAMED], *fault)

        return app(environ, unframed)

    return guarded


def _refused(start: Start, sentence: str) -> Iterable[bytes]:
    start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{sentence}\n".encode()]


def reading_only(app: App) -> App:
    """The same application, answering 405 to every request that could change something."""

    def guarded(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READING:
            return app(environ, start)
        start("405 Method Not Allowed", [("Allow", ", ".join(READING)), ("Content-Type", "text/plain; charset=utf-8")])
        return [b"this dashboard is read-only; start it with --read-write to change the study\n"]

    return guarded
