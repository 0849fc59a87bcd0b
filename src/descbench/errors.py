"""The errors a user can meet. Each message names the file, what is wrong with it and what to do."""

from collections.abc import Sequence


class DescbenchError(Exception):
    """Base class: anything descbench refuses on purpose."""


class ConfigError(DescbenchError):
    """A configuration file holds something it must not; raised before any job starts."""


def refusal(problems: Sequence[str]) -> ConfigError:
    """One error that lists all problems of a configuration."""
    return ConfigError("\n".join(["The configuration is refused:", *(f"  {problem}" for problem in problems)]))


class DownloadError(DescbenchError):
    """A file could not be fetched from any of its mirrors, or must be asked for by hand."""


class DataError(DescbenchError):
    """An input file (archive, pickle, image, checkpoint, features...) is damaged or does not fit."""


class StaleFileError(DataError):
    """A file of an earlier stage was made from other inputs than the ones at hand."""


def for_user(error: Exception) -> str | None:
    """The message of an error that a user can mend: a refusal of ours, or one of the system about a file.

    None of any other, which is a fault of the code and needs its traceback.
    """
    if isinstance(error, DescbenchError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: the system refuses it ({error.strerror}); correct the path, or its permissions."
    return None
