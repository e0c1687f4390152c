"""The one exception for what a caller can put right."""


class UsageError(ValueError):
    """A mistake in what was asked for, told in one sentence.

    The sentence names the constraint, the value that broke it, and the choices or
    the fix. Commands print it as one line on stderr and exit with status 2.
    """
