"""AutoSSL finds the self-supervised pretext task whose encoder serves your medical-imaging target best."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autossl.api import load, resume, search
    from autossl.embedder import Embedder
    from autossl.errors import UserError
    from autossl.study import Study

    __version__: str

__all__ = ["Embedder", "Study", "UserError", "load", "resume", "search"]

_HOMES = {
    "Embedder": "embedder", "Study": "study", "UserError": "errors", "load": "api", "resume": "api", "search": "api"
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # on first use, because torch takes seconds to import and `autossl --help` must not
    if name == "__version__":
        from importlib.metadata import version

        return version("autossl-imaging")
    if name not in _HOMES:
        raise AttributeError(f"module 'autossl' has no attribute {name!r}")
    from importlib import import_module
    from warnings import catch_warnings, filterwarnings

    with catch_warnings():  # libraries miss widgets in notebooks for bars that nobody draws here
        filterwarnings("ignore", "IProgress not found")
        return getattr(import_module(f"autossl.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
