"""The verbs: a module and a function each, the same from Python and from the command line.

A verb is a plain function in the module of its name, ``api/train.py: train(...)``. All that it must keep to:

* Its signature and Google-style docstring *are* its command line (jsonargparse reads both). A parameter
  without a default is positional (``checkpoint: Path``; ``images: list[Path]`` takes one or more), one with
  a default is an option, and one that is a frozen dataclass, ``optim: OptimOptions = OptimOptions()``,
  is a group of options (``--optim.lr``). The docstring's ``Args:`` and the dataclass's ``Attributes:`` are
  the help. Annotations are read while the program runs: the types they name must be imported for real, not
  under ``TYPE_CHECKING``, and be light.
* A verb that takes recipes has ``config: str | Path | None = None`` among its parameters and is decorated
  with :func:`msgformer.config.parser.configurable`, which reads the file: what is given explicitly beats the
  file, which beats the defaults. The body need not look at ``config``. ``python_only`` names parameters that are no
  options, and ``show`` gives what ``--print_config`` prints.
* ``--plugins`` is an option of every command and imported before the verb runs. A verb that records plug-ins has the
  parameter ``plugins``, which holds those of the configuration as well.
* It checks what it is given (paths first) before it imports torch, and raises
  :class:`msgformer.errors.UserError` with one line for what the user can mend.
* It returns a frozen dataclass that extends :class:`msgformer.utils.result.Result`, and prints nothing but
  progress. The command line prints ``result.render(as_json=...)``, JSON if ``--json`` is given. While a verb
  runs, standard output goes to standard error, so that a pipe receives the result alone.
* Its module imports nothing heavy (torch, timm, lightning, numpy) outside its functions.
"""
