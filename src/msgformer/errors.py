"""Exceptions with one-line messages for the user. This module imports nothing."""


class UserError(Exception):
    """Invalid input of the user; the message names it, its value and the remedy in one line.

    The command line prints only the message and exits with status 2. In Python it is an ordinary exception.
    """

    def __init__(self, message: str) -> None:
        # torch's DataLoader re-creates a worker's error with the whole traceback as its message.
        if "Original Traceback" in message:
            message = message.rpartition(f"{__name__}.UserError: ")[2].rstrip()
        super().__init__(message)


class JobError(Exception):
    """Failure of a job that is not caused by its input, such as a full disk or a killed process.

    The command line prints only the message, in one line, and exits with status 1.
    """


def shown(name: object) -> str:
    """Escape control characters and undecodable bytes of a name for display in one line.

    A file name may contain anything but a slash. It must not break the lines of a message or table, or change colors.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(name))
