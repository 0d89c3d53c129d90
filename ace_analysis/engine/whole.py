"""The whole model beside the blocks that a scan holds: loaded once, when something first asks for it."""

from ace_analysis.errors import FingerprintError
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.model.info import ModelInfo
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.store import Progress


class WholeModel:
    """The causal language model that a scanner's blocks belong to."""

    def __init__(self, info: ModelInfo) -> None:
        self._info = info
        self._model: CausalModel | None = None

    @property
    def is_loaded(self) -> bool:
        return self._model is not None

    def get(self, progress: Progress | None = None, held: ResidualScanner | None = None) -> CausalModel:
        """The model, on the scanner's device and in its dtype; `held`: a scanner whose blocks it takes over.

        Raises:
            FingerprintError: its folder holds other weights than when the scanner was loaded.
        """
        if self._model is None:
            info = self._info
            if progress is not None:
                progress(f"loading all of {info.name}", None)
            name = str(info.folder) if info.edited_from is None else info.name
            model = load_causal(name, info.device, info.dtype, held)
            if model.info.fingerprint != info.fingerprint:
                raise FingerprintError(
                    f"expected {info.name} in {info.folder} with fingerprint {info.fingerprint[:16]}, got"
                    f" {model.info.fingerprint[:16]}: its weights were changed meanwhile; start again"
                )
            self._model = model
        return self._model

    def close(self) -> None:
        """Let go of the model's memory; it is loaded again when it is asked for."""
        self._model = None
