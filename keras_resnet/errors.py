"""What a command can end with other than success."""


class UsageError(ValueError):
    """A mistake in what was asked for, told in one sentence.

    The sentence names the constraint, the value that broke it, and the choices or
    the fix. Commands print it as one line on stderr and exit with status 2.
    """


class Stopped(Exception):  # noqa: N818 - it need not be an error
    """Ends a command with one line on stderr and an exit status.

    Args:
        message: The line.
        status: 1 for a failure, 128 + the number of the signal that stopped it.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
