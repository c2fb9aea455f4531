"""AutoSSL finds the self-supervised pretext task whose encoder serves your medical-imaging target best."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autossl.api import load, resume, search
    from autossl.errors import UserError
    from autossl.study import Study

__all__ = ["Study", "UserError", "load", "resume", "search"]

_HOMES = {"search": "api", "resume": "api", "load": "api", "Study": "study", "UserError": "errors"}


def __getattr__(name: str) -> Any:
    # on first use, because torch takes seconds to import and `autossl --help` must not
    if name not in _HOMES:
        raise AttributeError(f"module 'autossl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"autossl.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
