"""Errors that a user can cause and mend. This module imports nothing."""


class UserError(Exception):
    """Something the user gave can't be used; the message names it, its value and the remedy in one line.

    The command line prints the message alone and exits with status 2; in Python it is an ordinary exception.
    """
