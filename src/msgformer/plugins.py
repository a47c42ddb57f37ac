"""Plug-ins: modules of the user that register exchanges, messengers or timm models when they are imported.

A plug-in is named by its dotted module name or by the path of a ``.py`` file. It is imported only on request
(`load_plugins`, ``--plugins``, or an import statement), or if an installed distribution declares it as an entry point
of the group `ENTRY_POINTS`. A name in a run or a configuration file alone never causes an import.
"""

from __future__ import annotations

import collections
import contextlib
import importlib
import importlib.util
import shlex
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from msgformer.errors import UserError, shown

ENTRY_POINTS = "msgformer.plugins"
"""Entry-point group by which an installed distribution declares its plug-ins."""

PLUGINS = "plugins"
"""Name of the option of all commands that names plug-ins."""

_loaded: list[str] = []
"""Plug-ins that `load_plugins` has imported in this process, by the names that runs record."""
_searched: set[str] = set()
"""Entry-point groups whose plug-ins this process has imported."""


def load_plugins(names: str | Path | Iterable[str | Path]) -> list[str]:
    """Import plug-ins, which executes their code.

    The current folder, or the folder of a file, is appended to ``sys.path``, so that the plug-in can import modules
    beside it, and spawned processes find it under the same name.

    Args:
        names: Dotted module names and paths of ``.py`` files.

    Returns:
        The names as a run records them, with absolute paths.

    Raises:
        UserError: A plug-in can't be imported; the message holds the error of its code.
    """
    given: list[Any] = [*names] if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    found = merge_plugins(given, [])
    for name in found:
        _load(name)
        _loaded.append(name)
    return found


def loaded_plugins() -> list[str]:
    """Return the plug-ins that `load_plugins` has imported in this process."""
    return list(dict.fromkeys(_loaded))


def load_installed_plugins() -> None:
    """Import the plug-ins that installed distributions declare, once per process.

    A plug-in that fails is skipped, with a warning on standard error.
    """
    if ENTRY_POINTS in _searched:
        return
    _searched.add(ENTRY_POINTS)  # first, because a plug-in may build a model while it is imported
    for point in entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except (Exception, SystemExit) as error:
            owner = f" of {point.dist.name}" if point.dist else ""
            reason = shown(_reason(error))
            line = f"warning: plug-in {point.name!r}{owner} ({point.value}) can't be loaded and is skipped: {reason}"
            print(line, file=sys.stderr, flush=True)


def merge_plugins(given: Iterable[str | Path], recorded: Iterable[str | Path]) -> list[str]:
    """Merge the plug-ins given by the user with those of a configuration, each module once.

    Args:
        given: Plug-ins given by the user. They take precedence over the same file at another path.
        recorded: Plug-ins of the configuration.

    Returns:
        Their names as a run records them, with absolute paths.

    Raises:
        UserError: A value is not a name.
    """
    merged: dict[str, str] = {}
    for name in (*given, *recorded):
        if not isinstance(name, str | Path) or not str(name).strip():
            raise UserError(f"plugins must be names of modules or paths of .py files, not {name!r}")
        name = _recorded_name(str(name).strip())
        merged.setdefault(_module_name(name), name)
    return list(merged.values())


def require_plugins(names: Iterable[str], source: object) -> None:
    """Check that recorded plug-ins have been imported.

    Args:
        names: Names as a run records them.
        source: The file that names them, for the message.

    Raises:
        UserError: A plug-in has not been imported. It isn't imported here, because that would run code without
            permission.
    """
    names = list(names)
    if not all(map(_is_imported, names)):
        load_installed_plugins()
    missing = [name for name in names if not _is_imported(name)]
    if missing:
        options = shown(plugin_options(missing))
        needed = f"the plug-in {shown(missing[0])}" if len(missing) == 1 else "plug-ins"
        raise UserError(
            f"{source} needs {needed}, which is not run automatically; add {options} (in Python, import the module)"
        )


def plugin_options(names: Iterable[str]) -> str:
    """Return the command line options for plug-ins, quoted for a shell."""
    return shlex.join(word for name in names for word in ("--plugins", name))


def plugin_of(cls: type) -> str | None:
    """Return the plug-in that defines a class, as a run records it; None for this package's classes.

    A class of the running script belongs to the file of the script; a class of a notebook has no plug-in.
    """
    module = cls.__module__
    if module.partition(".")[0] == __package__:
        return None
    if module != "__main__":
        owners = (name for name in _loaded if f"{module}.".startswith(f"{_module_name(name)}."))
        return next(owners, module)
    file = _file_of("__main__")
    return None if file is None or file.suffix != ".py" else str(file)


def _load(name: str) -> None:
    """Import one plug-in by its recorded name."""
    importlib.invalidate_caches()  # the file may be newer than the cached listing of its folder
    module = _module_name(name)
    try:
        with _folder_on_path(Path(name).parent if _is_file(name) else Path.cwd()):
            if _is_file(name):
                _check_file(Path(name), module)
            importlib.import_module(module)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"plugins: {shown(name)} can't be imported: {_reason(error)}{_hint(error, name)}") from error


@contextlib.contextmanager
def _folder_on_path(folder: Path) -> Iterator[None]:
    """Append a folder to ``sys.path``, and remove it if the block fails; appended, so that it hides no other module."""
    known = str(folder) in sys.path
    if not known:
        sys.path.append(str(folder))
    try:
        yield
    except BaseException:
        if not known:
            sys.path.remove(str(folder))
        raise


def _check_file(path: Path, module: str) -> None:
    """Check that a file exists, and that importing its name would import it rather than another module.

    Raises:
        UserError: There is no such file, or another module has its name.
    """
    if not path.is_file():
        raise UserError(f"plugins: no such file: {shown(path)}; give a .py file or the dotted name of a module")
    if "." in module:
        raise UserError(f"plugins: the name of {shown(path)} has a dot before .py, which no module can have; rename it")
    found = _file_of(module)
    if found is None and module not in sys.modules:
        spec = importlib.util.find_spec(module)
        found = Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None
    if found != path:
        other = f"{module!r} ({found})" if found else repr(module)
        raise UserError(f"plugins: {shown(path)} has the name of another module, {other}; rename it")


def _is_imported(name: str) -> bool:
    """Return whether a recorded plug-in has been imported, possibly from another folder or as part of a package."""
    module = _module_name(name)
    if module in sys.modules or (_is_file(name) and _file_of("__main__") == Path(name)):
        return True
    tail = module.rpartition(".")[2]
    return any(_module_name(loaded).rpartition(".")[2] == tail for loaded in _loaded)


def _file_of(module: str) -> Path | None:
    """Return the file that a module was imported from; None if it wasn't imported or has no file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return None if file is None else Path(file).resolve()


def _is_file(name: str) -> bool:
    return name.endswith(".py")


def _module_name(name: str) -> str:
    return Path(name).stem if _is_file(name) else name


def _recorded_name(name: str) -> str:
    return str(Path(name).expanduser().resolve()) if _is_file(name) else name


def _reason(error: BaseException) -> str:
    """Return the message of an error, and the line that raised it."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    here = [frame for frame in frames if frame.filename != __file__]
    where = f" ({here[-1].filename}, line {here[-1].lineno})" if here and not isinstance(error, SyntaxError) else ""
    return f"{kind}: {text}{where}" if text else f"{kind}{where}"


def _hint(error: BaseException, name: str) -> str:
    """Return the remedy for a module that doesn't exist."""
    if not isinstance(error, ModuleNotFoundError) or error.name not in (name, name.partition(".")[0]):
        return ""
    return "; give a module that is installed or lies in the current folder, or the path of a .py file"


def split_plugins(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the plug-ins that it names by ``--plugins`` and the other words.

    Raises:
        UserError: The option has no value.
    """
    plugins: list[str] = []
    others: list[str] = []
    words = collections.deque(argv)
    while words:
        word = words.popleft()
        name, equals, value = word.partition("=")
        if word == "--":
            return plugins, [*others, word, *words]
        if name not in (f"--{PLUGINS}", f"--{PLUGINS}+"):
            others.append(word)
            continue
        if not equals:
            if not words or words[0].startswith("--"):
                raise UserError(f"{name} needs a value")
            value = words.popleft()
        plugins += [part.strip(" '\"") for part in value.strip().removeprefix("[").removesuffix("]").split(",")]
    return plugins, others
