"""Packages that this one can do without."""

from __future__ import annotations

import importlib.util

from msgformer.errors import UserError


def require_package(package: str, extra: str, what: str) -> None:
    """Make sure that an optional package is installed.

    Args:
        package: Its name when it is imported.
        extra: The extra of this package that brings it.
        what: What needs it, for the message.

    Raises:
        UserError: it isn't; names the extra that brings it.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{what} needs the package {package!r}; install it with: uv sync --extra {extra}")
