"""Imports of renamed modules by their old names, which work for one release."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

RENAMED = {
    "msgformer.dense": "msgformer.heads",
    "msgformer.freed_memory": "msgformer.utils.freed_memory",
    "msgformer.insight": "msgformer.explanations",
    "msgformer.insight.messages": "msgformer.explanations.messengers",
    "msgformer.insight.significance": "msgformer.explanations.significance",
    "msgformer.models.window_kernel": "msgformer.kernels.triton_attention",
}
"""Old names that the README or docs showed, with the new ones."""


class RenamedModules(MetaPathFinder, Loader):
    """Finds a module by its old name, and warns once about the new name."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return a spec for an old name; None for any other name.

        Args:
            fullname: Name of the module.
            path: Unused.
            target: Unused.
        """
        return ModuleSpec(fullname, self, is_package=True) if fullname in RENAMED else None

    def exec_module(self, module: ModuleType) -> None:
        """Replace the module of the old name by that of the new name."""
        old, new = module.__name__, RENAMED[module.__name__]
        warnings.warn(f"{old} is deprecated: its name is {new} now", FutureWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(new)


def install() -> None:
    """Make old names importable."""
    # First, because a renamed folder's files would be found under its old name as well, as other modules.
    sys.meta_path.insert(0, RenamedModules())
