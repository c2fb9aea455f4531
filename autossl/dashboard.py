"""Optuna's dashboard on a study, for this machine only."""

import errno
import socketserver
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from autossl.errors import UserError
from autossl.folder import Folder, read_toml
from autossl.journal import open_storage

HOST = "127.0.0.1"  # the dashboard has no authentication
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Threaded(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """One line per request would bury the address."""


def server(folder: Folder, port: int = 8080, read_only: bool = True) -> WSGIServer:
    """The dashboard's server, bound to 127.0.0.1. UserError if it is not installed or the port is taken."""
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise UserError(
            "the dashboard was wanted, but optuna-dashboard is not installed here; pip install 'autossl-imaging[dashboard]'"
        ) from None
    application: Any = wsgi(open_storage(folder, read_toml(folder.config).get("storage")))
    try:
        return make_server(
            HOST,
            port,
            guarded(application) if read_only else application,
            server_class=_Threaded,
            handler_class=_Silent,
        )
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        raise UserError(f"a free port was wanted, but {port} is taken on this machine; give another --port") from None


def guarded(application: Application) -> Application:
    """Answers 405 to everything that could change or delete."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        start_response("405 Method Not Allowed", [("Content-Type", "text/plain"), ("Allow", "GET, HEAD")])
        return [b"this dashboard is read-only; start it with --read-write to change the study\n"]

    return answer


def serve(folder: Folder, port: int = 8080, read_only: bool = True) -> None:
    """Serve the dashboard until interrupted; works while a search runs."""
    found = server(folder, port, read_only)
    print(f"http://{HOST}:{port}/dashboard  (Ctrl-C ends it)")
    print(f"from another machine: ssh -L {port}:{HOST}:{port} THIS_MACHINE, then the same address there")
    with found:
        try:
            found.serve_forever()
        except KeyboardInterrupt:
            print("closed")
