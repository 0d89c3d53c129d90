"""The installed version, found without `importlib.metadata`.

That brings in the email package, which would take a twentieth of the time until `initialize` is answered.
"""

import sys
from pathlib import Path

_PREFIX, _SUFFIX = "ace_lsp-", ".dist-info"


def installed_version() -> str:
    """As `ace_analysis.__version__`, from the name of the distribution's folder where there is one."""
    for place in map(Path, filter(None, sys.path)):
        found = next(place.glob(f"{_PREFIX}*{_SUFFIX}"), None)
        if found is not None:
            return found.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    from ace_analysis import __version__

    return __version__
