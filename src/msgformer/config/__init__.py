"""What a user may set: option dataclasses, their constraints, recipes and the parser; neither torch nor NumPy."""
