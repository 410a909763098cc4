"""The one exception that means "the user can fix this"."""


class HashfedError(Exception):
    """A mistake in the input, or a state of the machine, that the user can mend.

    The message is one line that names the field or file, the value, and what is allowed. The command
    line prints it without a traceback and ends with exit code 2.
    """


def one_line(error: Exception) -> str:
    """What happened, on one line: the message of a user's mistake, else with the exception's name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, HashfedError) else f"{type(error).__name__}: {text}"
