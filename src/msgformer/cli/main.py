"""The command line, ``msgformer COMMAND ...``.

Only the module of the command that runs is imported, so that the help and errors appear without delay.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version

from msgformer.config.other_tools import COMMANDS as OTHER_COMMANDS
from msgformer.errors import JobError, UserError, shown
from msgformer.model_names import nearest
from msgformer.plugins import PLUGINS, load_plugins, merge_plugins, split_plugins
from msgformer.utils.freed_memory import keep_freed_memory
from msgformer.utils.result import Result

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("msgformer.commands.train:train", "train a model on bundled data or on your own"),
    "report": ("msgformer.commands.report:report", "write the HTML report of a run again"),
    "evaluate": ("msgformer.commands.evaluate:evaluate", "score trained models on a validation set"),
    "predict": ("msgformer.commands.predict:predict", "predict the classes, objects or class maps of images"),
    "embed": ("msgformer.commands.embed:embed", "write the pooled features of images, as .npy or Parquet"),
    "explain": (
        "msgformer.commands.explain:explain",
        "visualize attention, exchange routes, significance maps and token groups",
    ),
    "export": (
        "msgformer.commands.export:export",
        "write a model as ONNX, OpenVINO, ExecuTorch or a PyTorch file, and check it",
    ),
    "benchmark": ("msgformer.commands.benchmark:benchmark", "time models, and compare them with the roofline"),
    "average": ("msgformer.commands.average:average", "average the weights of several checkpoints of one model"),
    "study": ("msgformer.commands.study:study", "train an ablation table of a paper"),
    "check-data": ("msgformer.commands.check_data:check_data", "find the problems of a data set before training"),
    "sample-data": (
        "msgformer.commands.sample_data:sample_data",
        "write a small data set to try detection and segmentation with",
    ),
    "convert": (
        "msgformer.commands.convert:convert",
        "convert official checkpoints to this package's format, and to MindSpore and back",
    ),
    "init-from": (
        "msgformer.commands.init_from:init_from",
        "initialize an MSG-Transformer from the weights of a Swin Transformer",
    ),
    "models": ("msgformer.commands.models:models", "list the models, and count their parameters and operations"),
    "recipes": ("msgformer.commands.models:recipes", "list the recipes for train --config, or print some of them"),
}
"""Function and short description of each command; the function's signature defines its options."""

USER_ERROR = 2
OTHER_ERROR = 1
INTERRUPTED = 130  # the exit status that shells report for a process ended by SIGINT

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after ``msgformer``; by default those of the process.

    Returns:
        The exit status: 0 for success; 2 for errors that the user can fix and 1 for files that the system can't read or
        write, each reported in one line on standard error; 130 after an interrupt.
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
    except SystemExit as exit_request:
        if isinstance(exit_request.__context__, KeyboardInterrupt):  # Lightning converts it to sys.exit(1)
            return _fail("interrupted", INTERRUPTED)
        raise
    except BrokenPipeError:
        # The reader of the pipe has exited (`| head`): write nothing more, not even when flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OTHER_ERROR
    except OSError as error:
        if error.filename is None and error.errno not in FULL_DISK:
            raise  # not about a file of the user: a bug, whose traceback is needed
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
        meant = OTHER_COMMANDS.get(command)
        hint = nearest(command, known) if meant is None else f"; did you mean '{meant}'?"
        raise UserError(f"unknown {what} {command!r}{hint} ('msgformer --help' lists all)")

    from msgformer.config.parser import Options  # here: jsonargparse takes 0.25 s to import

    options = Options(_load(command), prog=f"msgformer {command}")
    plugins, arguments = split_plugins(arguments)
    flags = {"json": "Print the result as JSON instead of a table."}
    if options.show is not None:
        flags["print_config"] = "Print all settings as YAML for --config, and exit."
    values, given = options.parse(arguments, **flags)
    if PLUGINS in options.hints:
        values[PLUGINS] = merge_plugins(plugins, values[PLUGINS] or ())
    if options.show is not None and "print_config" in given:
        print(options.show(**values), end="", flush=True)
        return 0
    # Progress and notes go to standard error, so that a pipe receives only the result.
    with contextlib.redirect_stdout(sys.stderr):
        load_plugins(plugins)
        result: Result = options.function(*values.pop(options.variadic, ()), **values)
    text = result.render(as_json="json" in given)
    if text and _is_main_process():
        print(text, flush=True)
    return result.exit_status()


def _is_main_process() -> bool:
    """Return whether this process prints the result: in distributed training, only rank 0 does."""
    torch = sys.modules.get("torch")
    return torch is None or not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def _load(command: str) -> Callable[..., Result]:
    module, name = COMMANDS[command][0].split(":")
    function: Callable[..., Result] = getattr(importlib.import_module(module), name)
    return function


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items())
    return (
        "usage: msgformer COMMAND ...\n\n"
        "MSG-Transformer and SG-Former: train, evaluate and use the models of both papers.\n\n"
        f"commands:\n{commands}\n\n"
        "'msgformer COMMAND --help' shows the arguments of a command, 'msgformer --version' the version."
    )


def _fail(message: str, status: int) -> int:
    print(f"msgformer: error: {shown(' '.join(message.split()))}", file=sys.stderr)
    return status
