"""The options of a verb, read from its function's signature: on the command line, in YAML, from Python."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jsonargparse

from msgformer.config.recipes import load_config
from msgformer.errors import UserError
from msgformer.model_names import nearest
from msgformer.plugins import load_plugins, merge_plugins

P = ParamSpec("P")
R = TypeVar("R")

PLUGINS = "plugins"
PLUGINS_HELP = (
    "Module, by its dotted name or as a .py file, to import first because it registers exchanges, messengers or models;"
    " its code is executed. Once for each, or '[a, b]'."
)

Base = Callable[[Mapping[str, Any]], tuple[str, dict[str, Any]] | None]
"""From what is given explicitly to what lies under it: a configuration's name and its values, or nothing."""


def named_config(given: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The file or recipe that ``config`` names, if it is given."""
    config = given.get("config")
    return None if config is None else (str(config), load_config(config))


def configured_by(
    base: Base, *, show: Callable[..., str] | None = None, python_only: Collection[str] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a verb take ``config``: explicit arguments beat what ``base`` gives for them, that beats the defaults.

    The function must have ``config: str | Path | None = None`` among its parameters. A group of options that
    is given explicitly as a dataclass replaces the configuration's whole group; given as a mapping it changes
    what it names, as an option of the group on the command line does. So does a mapping given for an option that
    holds one.

    Args:
        base: Gives the configuration under what is given explicitly.
        show: Takes the function's arguments and returns the YAML for ``--print_config``; None: there is no such flag.
        python_only: Parameters that are no options, neither on the command line nor in a configuration.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def configured(*args: P.args, **kwargs: P.kwargs) -> R:
            given = dict(signature.bind_partial(*args, **kwargs).arguments)
            options = Options(configured)
            mappings = options.take_mappings(given)
            name, values = base(given) or ("", {})
            given.pop("config", None)
            arguments = options.from_values(name, values, mappings)
            if PLUGINS in options.hints:
                asked = given.pop(PLUGINS, None)
                loaded = [] if asked is None else load_plugins(asked)
                arguments[PLUGINS] = merge_plugins(loaded, arguments.get(PLUGINS) or ())
            # The same values as keywords: what the configuration gives is then overridden by name.
            return function(**{**arguments, **given})  # type: ignore[call-arg]

        configured.base = base  # type: ignore[attr-defined]
        configured.show = show  # type: ignore[attr-defined]
        configured.python_only = python_only  # type: ignore[attr-defined]
        return configured

    return decorate


def configurable(function: Callable[P, R]) -> Callable[P, R]:
    """Let a verb take ``config``, a YAML file or recipe; see :func:`configured_by`."""
    return configured_by(named_config)(function)


class Options:
    """The command line and the configuration files of one function.

    Args:
        function: Parameters without a default are positional, and ``*names`` any number of words; the rest are
            options; a parameter that is a dataclass is a group of options, ``--group.option``.
        prog: What the help calls the program.
    """

    def __init__(self, function: Callable[..., Any], prog: str = "msgformer") -> None:
        self.function = inspect.unwrap(function)
        self._base: Base = getattr(function, "base", named_config)
        self.show: Callable[..., str] | None = getattr(function, "show", None)
        self._python_only = set(getattr(function, "python_only", ()))
        parameters = inspect.signature(self.function).parameters.values()
        self.required = [p.name for p in parameters if p.default is inspect.Parameter.empty]
        self.variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
        self.hints = typing.get_type_hints(self.function)
        # Only the options, without the positional arguments, which a configuration file doesn't hold.
        self._parser = self._make_parser(prog)
        self._config = [name for name in ("config",) if name in self.hints]
        self.keys = [key for key in vars(self._parser.get_defaults().as_flat()) if key not in self._config]

    def parse(self, argv: Sequence[str], **flags: str) -> tuple[dict[str, Any], list[str]]:
        """Arguments of the function from a command line, the configuration file that it names included.

        Args:
            argv: The command line after the verb.
            **flags: Further options without a value, by name, with their help text.

        Returns:
            The arguments, and the names of the flags that were given.

        Raises:
            UserError: Something isn't understood; the message names it and the nearest valid name.
            SystemExit: after printing the help.
        """
        parser = self._make_parser(self._parser.prog)
        for name in self.required:
            hint = self.hints[name]
            item = _item(hint)
            nargs = "*" if name == self.variadic else "+" if item else None
            parser.add_argument(name, type=item or hint, nargs=nargs, help=self._help(name))
        for flag, text in flags.items():
            parser.add_argument(f"--{flag}", action="store_true", help=text)
        if PLUGINS not in self.hints:
            parser.add_argument(f"--{PLUGINS}", metavar="MODULE", default=argparse.SUPPRESS, help=PLUGINS_HELP)
        argv = self._normalize(argv, flags)
        try:
            parsed = parser.parse_args(argv)
            if "config" in self.hints:
                explicit = vars(parser.parse_args(argv, defaults=False))
                if (base := self._base(explicit)) is not None:
                    parsed = parser.parse_args(argv, namespace=self._read(*base))
            values = parser.instantiate(parsed)
        except argparse.ArgumentError as error:
            raise self._explain(error, "") from error
        given = [flag for flag in flags if values.pop(flag)]
        # The file is read by now, so that the function is not to read it again.
        return {key: value for key, value in vars(values).items() if key != "config"}, given

    def help(self) -> dict[str, str]:
        """What the documentation says about every argument, by its key."""
        options = {action.dest: action.help or "" for action in self._parser._actions}
        return {**{name: self._help(name) for name in self.required}, **options}

    def from_values(
        self, name: str, values: Mapping[str, Any], over: Mapping[str, Mapping[str, Any]] | None = None
    ) -> dict[str, Any]:
        """Arguments of the function from plain values: those that are named, and no others.

        Args:
            name: Where the values come from, for messages.
            values: As a YAML file gives them.
            over: Mappings given in Python, laid over the values member by member.

        Raises:
            UserError: The values aren't what the function takes.
        """
        over = over or {}
        self._check_keys(over, "")
        options, mappings = self._split_members(over)
        config = self._read(name, values)
        try:
            config = self._parser.parse_object(options, config)
        except argparse.ArgumentError as error:
            raise self._explain(error, "", prefix="") from error
        arguments = vars(self._parser.instantiate(config))
        for key, members in mappings.items():
            _update_member(arguments, key.split("."), members)
        named = {str(key).partition(".")[0] for key in (*values, *over)}
        return {key: value for key, value in arguments.items() if key in named}

    def take_mappings(self, given: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Remove the mappings that are given for groups of options, and for options that hold one, and return them.

        Raises:
            UserError: Something else is given for one of them.
        """
        for key, value in given.items():
            hint: Any = self.hints.get(key)
            if self._is_group(key) and not isinstance(value, Mapping | hint):
                raise UserError(f"{key} must be {hint.__name__} or a mapping of its options, not {value!r}")
            if _is_mapping(hint) and not isinstance(value, Mapping | None):
                raise UserError(f"{key} must be a mapping, such as {{'name': value}}, not {value!r}")
        return {key: given.pop(key) for key in [*given] if isinstance(given[key], Mapping)}

    def _split_members(self, over: Mapping[str, Any], group: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
        """Options under dotted keys: those that the parser reads, and the mappings, which stay as they are."""
        options: dict[str, Any] = {}
        mappings: dict[str, Any] = {}
        for name, value in over.items():
            key = f"{group}{name}"
            if key not in self.keys:
                deeper = self._split_members(value, f"{key}.")
                options |= deeper[0]
                mappings |= deeper[1]
            elif _is_mapping(self._hint(key)) and isinstance(value, Mapping):
                mappings[key] = value
            else:
                options[key] = value
        return options, mappings

    def _make_parser(self, prog: str) -> jsonargparse.ArgumentParser:
        parser = jsonargparse.ArgumentParser(
            prog=prog,
            usage=" ".join([prog, *map(self._placeholder, self.required), "[--option VALUE ...]"]),
            description=_summary(self.function),
            formatter_class=_HelpFormatter,
            exit_on_error=False,
            allow_abbrev=False,
            print_config=None,
        )
        parser.add_function_arguments(self.function, as_group=False, skip={*self.required, *self._python_only})
        for action in parser._actions:
            if self._is_group(action.dest):
                action.help = argparse.SUPPRESS  # a whole group as one option: YAML's business
        return parser

    def _placeholder(self, name: str) -> str:
        """What stands for a positional argument in the usage."""
        return f"[{name.upper()} ...]" if name == self.variadic else name.upper()

    def _help(self, name: str) -> str:
        """The docstring's words about a positional argument."""
        text = inspect.getdoc(self.function) or ""
        found = re.search(rf"^    \*?{name}: (.+(?:\n {{8,}}.+)*)", text, flags=re.MULTILINE)
        return " ".join(found[1].split()) if found else ""

    def _is_group(self, key: str) -> bool:
        return dataclasses.is_dataclass(self.hints.get(key))

    def _read(self, name: str, given: Mapping[str, Any]) -> jsonargparse.Namespace:
        """A configuration's values over the defaults."""
        where = f"{name}: " if name else ""
        self._check_keys(given, where)
        try:
            return self._parser.parse_object(given)
        except argparse.ArgumentError as error:
            raise self._explain(error, where) from error

    def _check_keys(self, given: Mapping[str, Any], where: str, group: str = "") -> None:
        for name, value in given.items():
            key = f"{group}{name}"
            if key in self.keys:
                continue
            members = [known for known in self.keys if known.startswith(f"{key}.")]
            if not members:
                raise UserError(f"{where}unknown option {key!r}{_nearest_option(key, self.keys)}")
            if not isinstance(value, Mapping):
                raise UserError(f"{where}{key!r} is a group of options ({', '.join(members)}), not {value!r}")
            self._check_keys(value, where, group=f"{key}.")

    def _normalize(self, argv: Sequence[str], flags: Collection[str]) -> list[str]:
        """Options as ``--key=value`` first, then what is positional, in whatever order they were given.

        Raises:
            UserError: An option isn't known or has no value, or there is a word too many.
        """
        options: list[str] = []
        positional: list[str] = []
        words = collections.deque(argv)
        while words:
            word = words.popleft()
            if word == "--":
                positional += words
                break
            if word.startswith("-") and word != "-":
                options.append(self._normalize_option(word, words, flags))
            else:
                positional.append(word)
        takes_several = bool(self.variadic) or any(_item(self.hints[name]) for name in self.required)
        if len(positional) > len(self.required) and not takes_several:
            raise UserError(f"unexpected argument {positional[len(self.required)]!r}")
        return [*options, "--", *positional] if positional else options

    def _normalize_option(self, word: str, following: collections.deque[str], flags: Collection[str]) -> str:
        """An option as ``--key=value``; takes the value from the following words if need be."""
        name, equals, value = word.partition("=")
        key = name.lstrip("-").replace("-", "_")
        long = name.startswith("--")
        if name == "-h" or (long and key in ("help", *flags)):
            return f"--{key}{equals}{value}" if long else word
        if not (long and self._takes(key)):
            known = [f"--{known}" for known in [*self.keys, *flags, PLUGINS, "help", *self._config]]
            raise UserError(f"unknown option {name!r}{_nearest_option(f'--{key}', known)}")
        if equals:
            return f"--{key}={value}"
        has_value = bool(following) and not following[0].startswith("--")
        if self._hint(key) is bool and has_value and self.required:
            has_value = following[0] in ("true", "false")  # and not a positional argument
        if has_value:
            return f"--{key}={self._take_value(key, following)}"
        if self._hint(key) is bool:
            return f"--{key}=true"
        raise UserError(f"{name} needs a value")

    def _take_value(self, key: str, following: collections.deque[str]) -> str:
        """The next word, and those that belong to it, as in ``--img_size 480 640`` and ``--batch 1 8 64``."""
        words = [following.popleft()]
        hint = self._hint(key)
        most = 2 if _may_be_pair(hint) else math.inf
        while following and len(words) < most and _go_together(hint, words[0], following[0]):
            words.append(following.popleft())
        return words[0] if len(words) == 1 else f"[{', '.join(words)}]"

    def _takes(self, key: str) -> bool:
        """Whether an option is known; ``--list+ x`` appends to a list, ``--dict.key x`` sets one item."""
        if key.removesuffix("+") in [*self.keys, *self._config]:
            return True
        return any(key.startswith(f"{known}.") and _is_mapping(self._hint(known)) for known in self.keys)

    def _hint(self, key: str) -> Any:
        """The type of an option, or None where the signature doesn't tell."""
        hints: Mapping[str, Any] = self.hints
        *groups, name = key.removesuffix("+").split(".")
        for group in groups:
            owner = hints.get(group)
            if not dataclasses.is_dataclass(owner):
                return None
            hints = typing.get_type_hints(owner)
        return hints.get(name)

    def _explain(self, error: argparse.ArgumentError, where: str, prefix: str | None = None) -> UserError:
        """One line for what jsonargparse says in several.

        Args:
            error: What it raised.
            where: The configuration that is wrong, and a colon; empty for the command line and for Python.
            prefix: What an option's name begins with; by default dashes unless a configuration is wrong.
        """
        message = " ".join(str(error).split())
        key = re.search(r'key "([\w.]+)"', message)
        value = re.search(r".*(?:Got|Given) value: ?(.*)", message)
        hint = self._hint(key[1]) if key else None
        if key is None or value is None or hint is None:
            return UserError(f"{where}{message} (see '{self._parser.prog} --help')")
        choices = [str(choice) for choice in typing.get_args(hint)] if _is_literal(hint) else []
        name = f"{('' if where else '--') if prefix is None else prefix}{key[1]}"
        return UserError(f"{where}{name} must be {_describe(hint)}, not {value[1]!r}{nearest(value[1], choices)}")


class _HelpFormatter(jsonargparse.DefaultHelpFormatter):
    """Each option with its default, without jsonargparse's notes on types."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if not action.option_strings or action.default in (None, argparse.SUPPRESS) or action.nargs == 0:
            return text
        return f"{text} (default: %(default)s)"


def _summary(function: Callable[..., Any]) -> str:
    """A docstring's text before its sections."""
    return re.split(r"\n\n(?=\w+:\n)", inspect.getdoc(function) or "")[0]


def split_plugins(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The plug-ins that a command line names by ``--plugins``, and its other words.

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


def _update_member(arguments: dict[str, Any], path: Sequence[str], members: Mapping[str, Any]) -> None:
    """Lay ``members`` over a mapping among the arguments, or in a group of options among them."""
    name, *inside = path
    if inside:
        group = {field.name: getattr(arguments[name], field.name) for field in dataclasses.fields(arguments[name])}
        _update_member(group, inside, members)
        arguments[name] = type(arguments[name])(**group)
    else:
        arguments[name] = {**(arguments[name] or {}), **members}


def _is_mapping(hint: Any) -> bool:
    """Whether an option holds a mapping, as in ``dict[str, Any] | None``."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return any(typing.get_origin(part) is dict or part is dict for part in (typing.get_args(hint) if union else [hint]))


def _nearest_option(key: str, known: Sequence[str]) -> str:
    """A suggestion for an option, its group left out or not."""
    leaf = key.lstrip("-").rsplit(".")[-1]
    same_leaf = [option for option in known if option.lstrip("-").rsplit(".")[-1] == leaf]
    return f"; did you mean {same_leaf[0]!r}?" if len(same_leaf) == 1 else nearest(key, known)


def _item(hint: Any) -> Any:
    """The type of the items where a hint is a list, or may be one as in ``Path | list[Path]``; otherwise None."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    lists = [part for part in (typing.get_args(hint) if union else [hint]) if typing.get_origin(part) is list]
    return typing.get_args(lists[0])[0] if lists else None


def _may_be_pair(hint: Any) -> bool:
    """Whether a hint is ``tuple[X, X]``, or may be one as in ``int | tuple[int, int]``."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    parts = typing.get_args(hint) if union else [hint]
    return any(
        typing.get_origin(part) is tuple and len(typing.get_args(part)) == 2 and ... not in typing.get_args(part)
        for part in parts
    )


def _go_together(hint: Any, first: str, second: str) -> bool:
    """Whether two words may be numbers of a pair or a list, or choices of a list."""
    item = _item(hint)
    if _is_literal(item):
        return {first, second} <= set(typing.get_args(item))
    return (_may_be_pair(hint) or item in (int, float)) and _is_number(first) and _is_number(second)


def _is_number(word: str) -> bool:
    return re.fullmatch(r"\d+(\.\d*)?", word) is not None


def _is_literal(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Literal


def _describe(hint: Any) -> str:
    """A type in words: ``int``, ``a path``, ``one of a, b``, ``float or null``."""
    if _is_literal(hint):
        return f"one of {', '.join(str(choice) for choice in typing.get_args(hint))}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_describe(part) for part in typing.get_args(hint))
    names = {types.NoneType: "null", Path: "a path", bool: "true or false"}
    return names.get(hint) or hint.__name__ if isinstance(hint, type) else str(hint)
