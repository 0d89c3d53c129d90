"""What is asked of the Hugging Face hub, and of its cache on this machine.

The hub is asked only when a user pulls, never when a model is loaded; a machine that doesn't reach it finds
out in seconds and takes the other source. `huggingface_hub` keeps partial downloads and goes on with them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ace_analysis.errors import Cancelled, ModelError
from ace_analysis.model.catalogue import HubFile
from ace_analysis.model.disk import Progress, megabytes

SECONDS = 4.0
"""How long the hub may take to answer before it counts as out of reach."""

MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt")
"""What a model's folder needs; never pickled weights, and never code."""


def hub_is_off() -> bool:
    """Whether the user has forbidden the hub with HF_HUB_OFFLINE."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def hub_has(file: HubFile) -> bool:
    """Whether the hub can be reached and has this file."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    if hub_is_off():
        return False
    try:
        get_hf_file_metadata(hf_hub_url(file.repository, file.file), timeout=SECONDS)
    except Exception:  # no connection, a proxy's answer, a redirect to a login: each with its own class
        return False
    return True


def download_file(file: HubFile, folder: Path, progress: Progress) -> Path:
    """Fetch a file, or what is missing of it, into a folder.

    Raises:
        Cancelled: `progress` raised it.
    """
    from huggingface_hub import hf_hub_download

    with _stoppable(progress) as asked:
        found = hf_hub_download(
            file.repository, file.file, local_dir=folder, tqdm_class=_bar_class(file.repository, asked)
        )
    return Path(found)


def download_model(repository: str, progress: Progress) -> Path:
    """Fetch a model's folder into the hub's own cache, which other programs share.

    Raises:
        ModelError: the hub doesn't give it.
        Cancelled: `progress` raised it.
    """
    from huggingface_hub import snapshot_download

    try:
        with _stoppable(progress) as asked:
            folder = snapshot_download(
                repository, allow_patterns=list(MODEL_FILES), tqdm_class=_bar_class(repository, asked)
            )
    except Cancelled:
        raise
    except Exception as error:
        reason = "HF_HUB_OFFLINE is set" if hub_is_off() else f"{type(error).__name__}: {error}"
        raise ModelError(
            f"expected to download {repository} from the Hugging Face hub, got {reason}."
            " Check the name, the connection and, for a gated model, `hf auth login`; or give a local folder"
        ) from error
    return Path(folder)


@contextmanager
def _stoppable(progress: Progress) -> Iterator[Progress]:
    """A progress callback whose Cancelled gets through.

    What downloads runs callbacks in its own threads, may take an error there for a broken connection and try
    again: so each later call is refused as well, and at the end the request to stop is what is raised.
    """
    stops: list[Cancelled] = []

    def asked(message: str, fraction: float | None) -> None:
        if stops:
            raise stops[0]
        try:
            progress(message, fraction)
        except Cancelled as stop:
            stops.append(stop)
            raise

    try:
        yield asked
    except Exception as error:
        if stops and error is not stops[0]:
            raise stops[0] from error
        raise
    if stops:
        raise stops[0]


def cached_model(repository: str) -> Path | None:
    """The folder of a hub model in this machine's cache, or None; asks nothing of the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if (folder / "config.json").is_file() else None


def _bar_class(name: str, progress: Progress) -> Any:
    """A progress bar that draws nothing and calls back instead."""
    from huggingface_hub.utils import tqdm

    class CallingBar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.total = kwargs.get("total")
            self.bytes = kwargs.get("unit") == "B"
            self.done = kwargs.get("initial", 0)

        def update(self, n: Any = 1) -> None:
            self.done += n or 0
            if self.bytes and self.total:
                share = f"{megabytes(int(self.done))} of {megabytes(int(self.total))}"
                progress(f"downloading {name}: {share}", min(1.0, self.done / self.total))

    return CallingBar
