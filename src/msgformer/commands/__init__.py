"""The commands: one module and one function each, with the same meaning in Python and on the command line.

A command is a plain function in the module of its name, such as ``commands/train.py: train(...)``. Its rules:

* Its signature and Google-style docstring define its command line (jsonargparse reads both). A parameter without a
  default is positional (``checkpoint: Path``; ``images: list[Path]`` takes one or more). A parameter with a default is
  an option. A parameter that is a frozen dataclass, ``optim: OptimOptions = OptimOptions()``, is a group of options
  (``--optim.lr``). The help is taken from the docstring's ``Args:`` and the dataclass's ``Attributes:``. Annotations
  are evaluated at run time: import their types normally, not under ``TYPE_CHECKING``, and keep those imports light.
* A command that accepts recipes has the parameter ``config: str | Path | None = None`` and is decorated with
  `msgformer.config.parser.configured_by`, which reads the file. Explicit arguments override the file, which
  overrides the defaults. The function itself ignores ``config``. ``python_only`` names parameters that are not
  options, and ``show`` returns the text for ``--print_config``.
* ``--plugins`` is an option of every command; plug-ins are imported before the command runs. A command that records
  plug-ins has the parameter ``plugins``, which includes those of the configuration.
* It validates its arguments (paths first) before it imports torch, and raises `msgformer.errors.UserError` with one
  line for what the user can fix.
* It returns a frozen dataclass that extends `msgformer.utils.result.Result`, and prints nothing but progress. The
  command line prints ``result.render(as_json=...)``; ``--json`` selects JSON. While a command runs, standard output is
  redirected to standard error, so that a pipe receives only the result.
* Its module imports nothing heavy (torch, timm, lightning, numpy) outside its functions.
"""
