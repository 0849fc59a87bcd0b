"""Read untrusted pickles: containers, numbers, strings and numpy arrays, and nothing that runs.

Official ground truth and released features are pickles served over plain http. Any name that
:mod:`descbench.io.unpickler` does not know is refused before it is imported.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from descbench.errors import DataError
from descbench.io.kinds import describe_kind, shorten
from descbench.io.unpickler import ForbiddenGlobalError, PlainUnpickler, Source, map_file


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Load a pickle that may hold only plain data.

    Admitted are the built-in containers, numbers, strings, bytes, ``OrderedDict`` and numpy arrays,
    scalars and dtypes (also those written by Python 2 and by numpy 1). Strings of Python 2 that are
    not ASCII are read as latin-1.

    Raises:
        DataError: the file is absent, cut short, no pickle, or names anything that could run code;
            nothing of it has been executed. Also if its values unfold to far more than the file holds.
    """
    path = Path(path)
    try:
        content = map_file(path)
        try:
            return PlainUnpickler(Source(content)).load()
        except UnicodeDecodeError:
            return PlainUnpickler(Source(content), encoding="latin1").load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; fetch or unpack it first.") from None
    except ForbiddenGlobalError as error:
        raise DataError(
            f"{path}: the pickle asks for {shorten(error)}, which is not plain data; it is refused and nothing of it "
            "was run. Do not use this file; fetch it again from a source you trust."
        ) from None
    except Exception as error:
        # Damaged bytes can raise nearly anything inside an unpickler.
        kind = describe_kind(path)
        reason = f"it is {kind}" if kind else f"{type(error).__name__}: {shorten(error)}"
        raise DataError(
            f"{path}: not a pickle that can be read ({reason}); "
            "the file is damaged or cut short: delete it and fetch it again."
        ) from error
