"""Errors that a user can cause and mend. This module imports nothing."""


class UserError(Exception):
    """Something the user gave can't be used; the message names it, its value and the remedy in one line.

    The command line prints the message alone and exits with status 2; in Python it is an ordinary exception.
    """

    def __init__(self, message: str) -> None:
        # A worker of torch's DataLoader makes its error anew with the whole traceback for a message.
        if "Original Traceback" in message:
            message = message.rpartition(f"{__name__}.UserError: ")[2].rstrip()
        super().__init__(message)


class JobError(Exception):
    """What was begun can't go on, by no fault of the user: the disk is full, a process was killed.

    The command line prints the message alone, in one line, and exits with status 1.
    """


def shown(name: object) -> str:
    """``name`` as it can stand in a line of text, with control characters and undecodable bytes as escapes.

    A file's name may hold anything but a slash; a message or a table must not be broken, or colored, by it.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(name))
