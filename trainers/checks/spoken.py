"""Which language a text is in.

Owns the identifier and when it is to be believed. Refuses to guess: a text too short or too mixed is "und", the ISO
code for undetermined.
"""

from __future__ import annotations

from functools import cache
from typing import Any

UNDETERMINED = "und"
# Languages that many people write. The rare ones that the identifier also knows (pidgins, dialects) take short
# sentences away from their large neighbours: "pcm" took 21 English rows of Banking77.
_KNOWN = (
    "ar bg bn ca cs da de el en es et fa fi fr gu he hi hr hu id it ja ka kn ko lt lv ml mr nb nl pa pl pt ro ru sk sl "
    "sq sr sv sw ta te th tl tr uk ur vi zh"
)
_BYTES, _SURE = 20, 0.7  # measured on Banking77: shorter or less sure, and English is taken for something else
_READ = 1000  # characters; more do not change the answer


def language_of(text: str) -> str:
    """An ISO 639-1 code, or "und"."""
    start = text[:_READ]
    # In bytes, since a Chinese sentence says in ten characters what takes thirty in English.
    if len(start.encode("utf-8", "replace")) < _BYTES:
        return UNDETERMINED
    code, sure = _identifier().classify(start)
    return str(code) if sure >= _SURE else UNDETERMINED


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # reads its model, so only when it is needed

    # One of its own: the chat narrows the library's shared one to the four languages that it speaks.
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([code for code in _KNOWN.split() if code in identifier.labels])
    return identifier
