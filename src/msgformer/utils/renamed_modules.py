"""Modules by the names that they had before, which work for one release."""

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
"""Old names that README or docs showed, and the present ones."""


class RenamedModules(MetaPathFinder, Loader):
    """Finds a module by its old name, and says once which name to use."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return a spec for an old name; None for any other name."""
        return ModuleSpec(fullname, self, is_package=True) if fullname in RENAMED else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the present name in the place of the one that was asked for."""
        old, new = module.__name__, RENAMED[module.__name__]
        warnings.warn(f"{old} is deprecated: its name is {new} now", FutureWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(new)


def install() -> None:
    """Let old names be imported."""
    sys.meta_path.append(RenamedModules())
