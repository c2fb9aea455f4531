"""Numba as the kernels use it, deaf to the current folder, which may be a study of somebody else's.

Numba reads .numba_config.yaml there, which can name the folder of its cache, and what lies in that is unpickled: code
would run. It does without where it finds no YAML; the variables NUMBA_* of the environment hold as ever.
"""

import sys
from typing import Any

_MISSING = object()
_yaml: Any = sys.modules.get("yaml", _MISSING)
sys.modules["yaml"] = None  # type: ignore[assignment]  # what Python itself writes there to refuse an import
try:
    import numba
    from numba import njit
finally:
    del sys.modules["yaml"]
    if _yaml is not _MISSING:
        sys.modules["yaml"] = _yaml

__all__ = ["njit", "numba"]
