"""Read the options of a command from its function's signature: on the command line, in YAML, and in Python."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import inspect
import json
import math
import re
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jsonargparse

from msgformer.config.constraints import check_effects
from msgformer.config.help_text import HelpFormatter, examples, summary
from msgformer.config.other_tools import other_option, other_value
from msgformer.config.recipes import named_config
from msgformer.config.renamed_arguments import (
    print_warning,
    rename_warning,
    renamed_options,
    use_new_options,
    warn_caller,
)
from msgformer.config.type_hints import (
    accepts_text,
    belong_together,
    describe_type,
    is_literal,
    is_mapping,
    item_type,
    may_be_pair,
    option_type,
)
from msgformer.errors import UserError
from msgformer.model_names import nearest
from msgformer.plugins import PLUGINS, load_plugins, merge_plugins

P = ParamSpec("P")
R = TypeVar("R")

HELP = {"-h", "--help"}
PLUGINS_HELP = (
    "Module that registers exchanges, messengers or models, by its dotted name or as a .py file; it is imported first,"
    " and its code is executed. Repeat the option for several, or pass '[a, b]'."
)

ConfigResolver = Callable[[Mapping[str, Any]], tuple[str, dict[str, Any]] | None]
"""Maps explicit arguments to the configuration that they override: its name and its values, or None."""


def configured_by(
    resolver: ConfigResolver,
    *,
    show: Callable[..., str] | None = None,
    python_only: Collection[str] = (),
    hidden: Callable[[Mapping[str, Any]], Collection[str]] = lambda _: (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a command read a configuration: explicit arguments override it, and it overrides the defaults.

    The function must have the parameter ``config: str | Path | None = None``. A group of options that is passed as a
    dataclass replaces the whole group of the configuration; passed as a mapping, it changes only the options that it
    names, as on the command line. A mapping that is passed for an option that holds a mapping is merged, too.

    Args:
        resolver: Returns the configuration for the explicit arguments.
        show: Takes the function's arguments and returns the YAML for ``--print_config``; None for no such flag.
        python_only: Parameters that are not options, neither on the command line nor in a configuration.
        hidden: Returns, for the explicit arguments, the parameters that the help leaves out.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def configured(*args: P.args, **kwargs: P.kwargs) -> R:
            given = dict(signature.bind_partial(*args, **kwargs).arguments)
            options = Options(configured)
            mappings = options.take_mappings(given)
            name, values = resolver(given) or ("", {})
            given.pop("config", None)
            arguments = options.from_values(name, values, mappings)
            if PLUGINS in options.hints:
                requested = given.pop(PLUGINS, None)
                loaded = [] if requested is None else load_plugins(requested)
                arguments[PLUGINS] = merge_plugins(loaded, arguments.get(PLUGINS) or ())
            arguments |= given
            check_effects([*given, *_dotted_keys(mappings)], arguments)
            # All arguments as keywords, so that explicit ones override the configuration by name.
            return function(**arguments)  # type: ignore[call-arg]

        configured.resolver = resolver  # type: ignore[attr-defined]
        configured.show = show  # type: ignore[attr-defined]
        configured.python_only = python_only  # type: ignore[attr-defined]
        configured.hidden = hidden  # type: ignore[attr-defined]
        return configured

    return decorate


class Options:
    """Options of one command, on the command line and in configuration files.

    Args:
        function: The command. Parameters without a default are positional; ``*names`` takes any number of words; the
            other parameters are options; a dataclass is a group of options, ``--group.option``.
        prog: Name of the program in the help.
    """

    def __init__(self, function: Callable[..., Any], prog: str = "msgformer") -> None:
        self.function = inspect.unwrap(function)
        self._resolver: ConfigResolver = getattr(function, "resolver", named_config)
        self.show: Callable[..., str] | None = getattr(function, "show", None)
        self._python_only = set(getattr(function, "python_only", ()))
        self._hidden: Callable[[Mapping[str, Any]], Collection[str]] | None = getattr(function, "hidden", None)
        parameters = inspect.signature(self.function).parameters.values()
        self.required = [p.name for p in parameters if p.default is inspect.Parameter.empty]
        self.variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
        self.hints = typing.get_type_hints(self.function)
        self._renamed = renamed_options(function, self.hints)
        # Only the options: configuration files have no positional arguments.
        self._parser = self._make_parser(prog)
        self._config = [name for name in ("config",) if name in self.hints]
        self.keys = [key for key in vars(self._parser.get_defaults().as_flat()) if key not in self._config]

    def parse(self, argv: Sequence[str], **flags: str) -> tuple[dict[str, Any], list[str]]:
        """Parse a command line, including the configuration file that it names.

        Args:
            argv: Words after the name of the command.
            **flags: Help texts of further options without a value, by name.

        Returns:
            Arguments of the function, and the names of the flags that were given.

        Raises:
            UserError: An argument is invalid; the message names it and suggests the closest valid name.
            SystemExit: After the help was printed.
        """
        parser = self._make_parser(self._parser.prog)
        for name in self.required:
            hint = self.hints[name]
            item = item_type(hint)
            nargs = "*" if name == self.variadic else "+" if item else None
            parser.add_argument(name, type=item or hint, nargs=nargs, help=self._help(name))
        for flag, text in flags.items():
            parser.add_argument(f"--{flag}", action="store_true", help=text)
        if PLUGINS not in self.hints:
            parser.add_argument(f"--{PLUGINS}", metavar="MODULE", default=argparse.SUPPRESS, help=PLUGINS_HELP)
        argv = self._normalize(argv, flags)
        try:
            if self._hidden is not None and "config" in self.hints and HELP & {*argv}:
                self._adapt_help(parser, [word for word in argv if word not in HELP])
            parsed = parser.parse_args(argv)
            if "config" in self.hints:
                explicit = vars(parser.parse_args(argv, defaults=False))
                if (config := self._resolver(explicit)) is not None:
                    parsed = parser.parse_args(argv, namespace=self._read(*config))
            values = parser.instantiate(parsed)
            given_keys = vars(parser.parse_args(argv, defaults=False).as_flat())
            check_effects(given_keys, vars(values))
        except argparse.ArgumentError as error:
            raise self._explain(error, "") from error
        given = [flag for flag in flags if values.pop(flag)]
        # The configuration is already read: the function must not read it again.
        return {key: value for key, value in vars(values).items() if key != "config"}, given

    def _adapt_help(self, parser: jsonargparse.ArgumentParser, argv: Sequence[str]) -> None:
        """Let the help show the defaults of the configuration that applies, and leave out options of no use with it."""
        explicit = vars(parser.parse_args(argv, defaults=False))
        name, values = self._resolver(explicit) or ("", {})
        flat = vars(self._read(name, values).as_flat())
        parser.set_defaults({key: flat[key] for key in self.keys if key in flat and not self._is_group(key)})
        hidden = self._hidden(explicit) if self._hidden else ()
        for action in _actions(parser):
            if action.dest.partition(".")[0] in hidden:
                action.help = argparse.SUPPRESS
        parser.description = f"{parser.description}\n\nThe defaults below are those of {name!r}."

    def help(self) -> dict[str, str]:
        """Return the help text of every argument, by its key."""
        options = {action.dest: action.help or "" for action in _actions(self._parser)}
        return {**{name: self._help(name) for name in self.required}, **options}

    def from_values(
        self, name: str, values: Mapping[str, Any], overrides: Mapping[str, Mapping[str, Any]] | None = None
    ) -> dict[str, Any]:
        """Convert plain values to arguments of the function; others are not returned.

        Args:
            name: Source of the values, for error messages.
            values: Values as in a YAML file.
            overrides: Mappings passed in Python, which override the values member by member.

        Raises:
            UserError: A value is invalid.
        """
        overrides = use_new_options(overrides or {}, self.hints, warn_caller)
        self._check_keys(overrides, "")
        options, mappings = self._split_members(overrides)
        config = self._read(name, values)
        try:
            config = self._parser.parse_object(options, config)
        except argparse.ArgumentError as error:
            raise self._explain(error, "", prefix="") from error
        arguments = vars(self._parser.instantiate(config))
        for key, members in mappings.items():
            _update_member(arguments, key.split("."), members)
        named = {str(key).partition(".")[0] for key in (*values, *overrides)}
        return {key: value for key, value in arguments.items() if key in named}

    def take_mappings(self, given: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Remove from ``given`` the mappings for groups of options and for options that hold one, and return them.

        Raises:
            UserError: One of these options has a value of another type.
        """
        for key, value in given.items():
            hint: Any = self.hints.get(key)
            if self._is_group(key) and not isinstance(value, Mapping | hint):
                raise UserError(f"{key} must be {hint.__name__} or a mapping of its options, not {value!r}")
            if is_mapping(hint) and not accepts_text(hint) and not isinstance(value, Mapping | None):
                raise UserError(f"{key} must be a mapping, such as {{'name': value}}, not {value!r}")
        mappings = [key for key, value in given.items() if isinstance(value, Mapping) and key not in self.required]
        return {key: given.pop(key) for key in mappings}

    def _split_members(self, overrides: Mapping[str, Any], group: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
        """Return options by dotted key: those for the parser to read, and the mappings."""
        options: dict[str, Any] = {}
        mappings: dict[str, Any] = {}
        for name, value in overrides.items():
            key = f"{group}{name}"
            if key not in self.keys:
                deeper = self._split_members(value, f"{key}.")
                options |= deeper[0]
                mappings |= deeper[1]
            elif is_mapping(option_type(self.hints, key)) and isinstance(value, Mapping):
                mappings[key] = value
            else:
                options[key] = value
        return options, mappings

    def _make_parser(self, prog: str) -> jsonargparse.ArgumentParser:
        parser = jsonargparse.ArgumentParser(
            prog=prog,
            usage=" ".join([prog, *map(self._placeholder, self.required), "[--option VALUE ...]"]),
            description=summary(self.function),
            epilog=examples(self.function),
            formatter_class=HelpFormatter,
            exit_on_error=False,
            allow_abbrev=False,
            print_config=None,
        )
        parser.add_function_arguments(self.function, as_group=False, skip={*self.required, *self._python_only})
        for action in _actions(parser):
            if self._is_group(action.dest):
                action.help = argparse.SUPPRESS  # a whole group as one option, which only YAML uses
        return parser

    def _placeholder(self, name: str) -> str:
        """Return the name of a positional argument in the usage."""
        return f"[{name.upper()} ...]" if name == self.variadic else name.upper()

    def _help(self, name: str) -> str:
        """Return the docstring's description of a positional argument."""
        text = inspect.getdoc(self.function) or ""
        found = re.search(rf"^    \*?{name}: (.+(?:\n {{8,}}.+)*)", text, flags=re.MULTILINE)
        return " ".join(found[1].split()) if found else ""

    def _is_group(self, key: str) -> bool:
        return dataclasses.is_dataclass(self.hints.get(key))

    def _read(self, name: str, given: Mapping[str, Any]) -> jsonargparse.Namespace:
        """Return the values of a configuration over the defaults."""
        where = f"{name}: " if name else ""
        self._check_keys(given, where)
        try:
            values: jsonargparse.Namespace = self._parser.parse_object(given)
            return values
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
        """Return options as ``--key=value``, followed by the positional arguments; users may mix their order.

        Raises:
            UserError: An option is unknown or has no value, or there are too many arguments.
        """
        options: list[str] = []
        positional: list[str] = []
        members: dict[str, dict[str, str]] = {}
        words = collections.deque(argv)
        while words:
            word = words.popleft()
            if word == "--":
                positional += words
                break
            if word.startswith("-") and word != "-":
                option = self._normalize_option(word, words, flags)
                name, _, member = option.lstrip("-").partition("=")[0].partition(".")
                if name in self.required:
                    members.setdefault(name, {})[member] = option.partition("=")[2]
                else:
                    options.append(option)
            else:
                positional.append(word)
        for name, mapping in members.items():
            positional.insert(self.required.index(name), json.dumps(mapping))
        takes_several = bool(self.variadic) or any(item_type(self.hints[name]) for name in self.required)
        if len(positional) > len(self.required) and not takes_several:
            extra = positional[len(self.required)]
            hint = f"; did you mean '--data {extra}'?" if not self.required and "data" in self.keys else ""
            raise UserError(f"unexpected argument {extra!r}{hint}")
        return [*options, "--", *positional] if positional else options

    def _normalize_option(self, word: str, following: collections.deque[str], flags: Collection[str]) -> str:
        """Return an option as ``--key=value``; remove its value from the following words if it stands there."""
        name, equals, value = word.partition("=")
        key = name.lstrip("-").replace("-", "_")
        long = name.startswith("--")
        if long and key in self._renamed:
            print_warning(rename_warning(name, f"--{self._renamed[key]}"))
            key = self._renamed[key]
        if name == "-h" or (long and key in ("help", *flags)):
            return f"--{key}{equals}{value}" if long else word
        if not (long and self._is_option(key)):
            known = [f"--{known}" for known in [*self.keys, *flags, PLUGINS, "help", *self._config]]
            hint = other_option(key, self.keys) or _nearest_option(f"--{key}", known)
            raise UserError(f"unknown option {name!r}{hint}")
        if equals:
            return f"--{key}={value}"
        has_value = bool(following) and not following[0].startswith("--")
        if option_type(self.hints, key) is bool and has_value and self.required:
            has_value = following[0] in ("true", "false")  # other words are positional arguments
        if has_value:
            return f"--{key}={self._take_value(key, following)}"
        if option_type(self.hints, key) is bool:
            return f"--{key}=true"
        raise UserError(f"{name} needs a value")

    def _take_value(self, key: str, following: collections.deque[str]) -> str:
        """Remove and return the words of a value, as in ``--img_size 480 640`` and ``--batch_size 1 8 64``."""
        words = [following.popleft()]
        hint = option_type(self.hints, key)
        max_words = 2 if may_be_pair(hint) else math.inf
        while following and len(words) < max_words and belong_together(hint, words[0], following[0]):
            words.append(following.popleft())
        return words[0] if len(words) == 1 else f"[{', '.join(words)}]"

    def _is_option(self, key: str) -> bool:
        """Return whether an option exists; ``--list+ x`` appends to a list, ``--dict.key x`` sets one item."""
        if key.removesuffix("+") in [*self.keys, *self._config]:
            return True
        known = [*self.keys, *self.required]
        return any(key.startswith(f"{name}.") and is_mapping(option_type(self.hints, name)) for name in known)

    def _explain(self, error: argparse.ArgumentError, where: str, prefix: str | None = None) -> UserError:
        """Convert an error of jsonargparse to one line.

        Args:
            error: The error.
            where: Name of the invalid configuration and a colon; empty for the command line and for Python.
            prefix: Prefix of option names; by default dashes on the command line, nothing in a configuration.
        """
        message = " ".join(str(error).split())
        key = re.search(r'key "([\w.]+)"', message)
        value = re.search(r".*(?:Got|Given) value: ?(.*)", message)
        hint = option_type(self.hints, key[1]) if key else None
        if key is None or value is None or hint is None:
            return UserError(f"{where}{message} (see '{self._parser.prog} --help')")
        choices = [str(choice) for choice in typing.get_args(hint)] if is_literal(hint) else []
        name = f"{('' if where else '--') if prefix is None else prefix}{key[1]}"
        advice = other_value(key[1], value[1]) or nearest(value[1], choices)
        return UserError(f"{where}{name} must be {describe_type(hint)}, not {value[1]!r}{advice}")


def _actions(parser: jsonargparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options and positional arguments of a parser."""
    return parser._actions  # argparse has no public name for them


def _dotted_keys(mappings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the keys of mappings with the name of each, such as ``optim.lr``."""
    return [f"{name}.{key}" for name, mapping in mappings.items() for key in mapping]


def _update_member(arguments: dict[str, Any], path: Sequence[str], members: Mapping[str, Any]) -> None:
    """Merge ``members`` into a mapping among the arguments, or in a group of options among them."""
    name, *inside = path
    if inside:
        group = {field.name: getattr(arguments[name], field.name) for field in dataclasses.fields(arguments[name])}
        _update_member(group, inside, members)
        arguments[name] = type(arguments[name])(**group)
    else:
        arguments[name] = {**(arguments[name] or {}), **members}


def _nearest_option(key: str, known: Sequence[str]) -> str:
    """Return a suggestion for an unknown option, which may lack its group."""
    leaf = key.lstrip("-").rsplit(".")[-1]
    same_leaf = [option for option in known if option.lstrip("-").rsplit(".")[-1] == leaf]
    return f"; did you mean {same_leaf[0]!r}?" if len(same_leaf) == 1 else nearest(key, known)
