"""Everything that ACE raises on purpose.

    AceError
    ├── SettingsError        a setting that can't be used
    ├── InputError           a text, position, span or argument that can't be used
    ├── ModelError           weights that are missing, wrong or unsupported
    │   ├── ModelNotFound    nothing of that name here; says how to get it
    │   ├── ChecksumError    bytes that are not the expected ones
    │   └── FingerprintError made for another model
    ├── BundleError          no bundle, or a broken one
    ├── Cancelled            the caller asked to stop
    └── StorageError         the disk is full or not writable

Each message says what was expected, what was got and what to do.
"""


class AceError(Exception):
    """Base of all errors that ACE raises on purpose."""


class SettingsError(AceError):
    """A setting that can't be used; names the nearest known key or value."""


class InputError(AceError):
    """A text, position, span or argument that can't be used."""


class ModelError(AceError):
    """Weights that are missing, wrong or unsupported."""


class ModelNotFound(ModelError):
    """No model of that name is here; the message says how to get it."""


class ChecksumError(ModelError):
    """Bytes whose checksum is not the expected one; they were not used."""


class FingerprintError(ModelError):
    """Something stored for one model was used with another."""


class BundleError(AceError):
    """A model has no bundle, or the bundle is incomplete or damaged."""


class Cancelled(AceError):
    """The caller asked to stop; nothing partial was kept."""


class StorageError(AceError):
    """The disk is full or not writable."""
