"""transformers without its bars and its advice.

Standard error is an editor's log, or a terminal with a bar of our own.
"""

import contextlib
import io
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no warnings from transformers, as long as the block lasts."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def unseen_bars() -> Iterator[None]:
    """For bars that are drawn whatever the settings say: what is written to standard error is dropped."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
