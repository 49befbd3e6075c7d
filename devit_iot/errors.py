"""Every error that this package raises on purpose.

    DevitError                 one line for a person: what is wrong and what to do
      SpecError                a sub-ViT or fusion shape that cannot exist
      BundleError              a bundle file is missing, changed, or of another version
      TrustError               metadata of releases that is not signed by who may
      ConfigError              an unknown key, a bad value, a file that does not parse
      EngineError              no such engine, a missing extra, a failed golden check
      BrokerError              the broker refused us, or cannot be started
      DataError                an image folder or a checkpoint that cannot be used
      TrainingError            a loss that became NaN or infinite
      InputError               something from the wire; refused, counted, never fatal
        ImageError             not an image that we decode, or too large
        MessageError           a feature, label or status that does not parse

Anything else that escapes is a bug in devit-iot.
"""


class DevitError(Exception):
    """Base class: its text is shown to a person as it is, without a traceback."""


class SpecError(DevitError):
    """A sub-ViT or fusion shape that cannot exist."""


class BundleError(DevitError):
    """A bundle that is missing, changed, incomplete or of another version."""


class TrustError(DevitError):
    """Metadata of releases that does not parse, or is not signed by who may."""


class ConfigError(DevitError):
    """A configuration that cannot be used as written."""


class EngineError(DevitError):
    """An engine that does not exist, cannot run here, or computes wrong numbers."""


class BrokerError(DevitError):
    """A broker that refused the connection for good, or could not be started."""


class DataError(DevitError):
    """Training or evaluation data, or a checkpoint, that cannot be used."""


class TrainingError(DevitError):
    """A training that diverged; its last good state is kept."""


class InputError(DevitError):
    """One bad input from the wire. It costs one request, never the service.

    Attributes:
        reason: short stable name of the cause, used as a counter's key.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ImageError(InputError):
    """A payload that is not an image we decode, or that is too large."""


class MessageError(InputError):
    """A feature, label or status message that does not parse or does not belong here."""
