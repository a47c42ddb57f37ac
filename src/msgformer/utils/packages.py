"""Optional packages."""

from __future__ import annotations

import importlib.util

from msgformer.errors import UserError


def require_package(package: str, extra: str, what: str) -> None:
    """Check that an optional package is installed.

    Args:
        package: Name by which it is imported.
        extra: Extra of msgformer that installs it.
        what: Option or action that needs it, for the message.

    Raises:
        UserError: The package is missing; the message names the extra.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{what} needs the package {package!r}; install it with: uv sync --extra {extra}")
