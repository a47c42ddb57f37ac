"""The command line, ``msgformer COMMAND ...``.

A command is imported when it is called, so that help, listings and mistyped words answer at once.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from msgformer.errors import JobError, UserError, shown
from msgformer.model_names import nearest
from msgformer.plugins import load_plugins, merge_plugins
from msgformer.utils.freed_memory import keep_freed_memory

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("msgformer.commands.train:train", "train a model, on the embedded digits or on a folder of images"),
    "report": (
        "msgformer.commands.report:report",
        "write the page about a run anew: curves, confusion, worst mistakes",
    ),
    "evaluate": ("msgformer.commands.evaluate:evaluate", "score a trained model on a validation set"),
    "predict": ("msgformer.commands.predict:predict", "name what images show"),
    "embed": ("msgformer.commands.embed:embed", "write the pooled features of images, as .npy or Parquet"),
    "explain": (
        "msgformer.commands.explain:explain",
        "draw attention, routes, significance and token groups in a model",
    ),
    "export": ("msgformer.commands.export:export", "write a model as ONNX, OpenVINO or a PyTorch file, and check it"),
    "benchmark": (
        "msgformer.commands.benchmark:benchmark",
        "time models in turns, beside others and this machine's limit",
    ),
    "average": ("msgformer.commands.average:average", "average the weights of several checkpoints of one model"),
    "study": ("msgformer.commands.study:study", "train the rows of a paper's table of ablations, and write the table"),
    "check-data": ("msgformer.commands.check_data:check_data", "find everything that is wrong with a data set"),
    "sample-data": (
        "msgformer.commands.sample_data:sample_data",
        "write scenes to try detection and segmentation with",
    ),
    "convert": (
        "msgformer.commands.convert:convert",
        "turn weights into this package's format, or to MindSpore's and back",
    ),
    "init-from": ("msgformer.commands.init_from:init_from", "carry a Swin's weights into an MSG-Transformer"),
    "models": ("msgformer.commands.models:models", "list this package's models, and count what they cost"),
    "recipes": ("msgformer.commands.models:recipes", "list the recipes that train --config takes, or print one"),
}
"""Every command: the function that it runs, whose signature is its options, and what it does."""

USER_ERROR = 2
OTHER_ERROR = 1
INTERRUPTED = 130  # what a shell reports for a process that SIGINT ended

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after ``msgformer``; those the process was started with by default.

    Returns:
        The exit status: 0; 2 for what the user can mend and 1 for files the system refuses, each told in one
        line on standard error; 130 after an interrupt.
    """
    keep_freed_memory()
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except UserError as error:
        return _fail(str(error), USER_ERROR)
    except JobError as error:
        return _fail(str(error), OTHER_ERROR)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):  # which Lightning turns into sys.exit(1)
            return _fail("interrupted", INTERRUPTED)
        raise
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`): nothing is left to say, nor to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OTHER_ERROR
    except OSError as error:
        if error.filename is None and error.errno not in FULL_DISK:
            raise  # no file of the user's: an error of ours, or of a library, whose traceback is needed
        return _fail(": ".join(str(part) for part in (error.filename, error.strerror) if part), OTHER_ERROR)


def _run(argv: list[str]) -> int:
    command, arguments = (argv[0], argv[1:]) if argv else ("--help", [])
    if command in ("-h", "--help"):
        print(_help())
        return 0
    if command == "--version":
        print(f"msgformer {version('msgformer')}")
        return 0
    if command not in COMMANDS:
        what = "option" if command.startswith("-") else "command"
        known = [*COMMANDS, "--help", "--version"]
        raise UserError(f"unknown {what} {command!r}{nearest(command, known)} ('msgformer --help' shows all)")

    from msgformer.config.parser import PLUGINS, Options, split_plugins  # jsonargparse takes a quarter of a second

    options = Options(_load(command), prog=f"msgformer {command}")
    plugins, arguments = split_plugins(arguments)
    flags = {"json": "Print the result as JSON instead of a table."}
    if options.show is not None:
        flags["print_config"] = "Print all settings as YAML, which --config takes, and stop."
    values, given = options.parse(arguments, **flags)
    if PLUGINS in options.hints:
        values[PLUGINS] = merge_plugins(plugins, values[PLUGINS] or ())
    if options.show is not None and "print_config" in given:
        print(options.show(**values), end="", flush=True)
        return 0
    # Progress and notes go to standard error, so that what is piped on is the result alone.
    with contextlib.redirect_stdout(sys.stderr):
        load_plugins(plugins)
        result = options.function(*values.pop(options.variadic, ()), **values)
    text = result.render(as_json="json" in given)
    if text and _speaks():
        print(text, flush=True)
    return result.exit_status()


def _speaks() -> bool:
    """Whether the result is this process's to tell: of several that trained together, it is the first one's."""
    torch = sys.modules.get("torch")
    return torch is None or not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def _load(command: str) -> Callable[..., Any]:
    module, function = COMMANDS[command][0].split(":")
    return getattr(importlib.import_module(module), function)


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items())
    return (
        "usage: msgformer COMMAND ...\n\n"
        "MSG-Transformer and SG-Former: train, evaluate and use the models of both papers.\n\n"
        f"commands:\n{commands}\n\n"
        "'msgformer COMMAND --help' shows a command's arguments; 'msgformer --version' the version."
    )


def _fail(message: str, status: int) -> int:
    print(f"msgformer: error: {shown(' '.join(message.split()))}", file=sys.stderr)
    return status
