"""The one exception that means "the user can fix this"."""


class HashfedError(Exception):
    """A mistake in the input, or a state of the machine, that the user can mend.

    The message is one line that names the field or file, the value, and what is allowed. The command
    line prints it without a traceback and ends with exit code 2.
    """
