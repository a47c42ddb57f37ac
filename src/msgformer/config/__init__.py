"""Options of the commands: dataclasses, constraints, recipes and the parser; imports neither torch nor NumPy."""
