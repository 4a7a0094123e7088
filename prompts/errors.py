"""Every error that a person may meet. The UI and the command line show message and hint word for word.

    TunewrightError
    ├── DataError      a file or a row cannot be used
    ├── PromptError    a prompt cannot be rendered
    ├── PlanError      a training plan has an unknown key or an impossible value
    ├── ModelError     a base model cannot be found or loaded
    ├── RunError       a training run cannot start, continue or be read
    └── EngineError    a serving engine cannot start or answer

Owns the tree only. An error says what is wrong and where; the hint says what to do.
"""


class TunewrightError(Exception):
    """The root. `str(error)` is the whole sentence for the person: message, then hint."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class DataError(TunewrightError):
    """A file or a row cannot be used."""


class PromptError(TunewrightError):
    """A prompt cannot be rendered."""


class PlanError(TunewrightError):
    """A training plan has an unknown key or an impossible value."""


class ModelError(TunewrightError):
    """A base model cannot be found or loaded."""


class RunError(TunewrightError):
    """A training run cannot start, continue or be read."""


class EngineError(TunewrightError):
    """A serving engine cannot start or answer."""
