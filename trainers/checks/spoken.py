"""Which language a text is in.

Owns the identifier and when it is to be believed. Refuses to guess: a text too short or too mixed is "und", the ISO
code for undetermined.

py3langid's own `classify` goes over each text letter by letter in Python, two minutes for a million. Here its automaton
goes over two thousand texts at once, in numpy, by the same tables and the same arithmetic; a test holds the two
together.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

UNDETERMINED = "und"
# Languages that many people write. The rare ones that the identifier also knows (pidgins, dialects) take short
# sentences away from their large neighbours: "pcm" took 21 English rows of Banking77.
_KNOWN = (
    "ar bg bn ca cs da de el en es et fa fi fr gu he hi hr hu id it ja ka kn ko lt lv ml mr nb nl pa pl pt ro ru sk sl "
    "sq sr sv sw ta te th tl tr uk ur vi zh"
)
_BYTES, _SURE = 20, 0.7  # measured on Banking77: shorter or less sure, and English is taken for something else
_READ = 1000  # characters; more do not change the answer
_CHUNK = 2048  # texts at once


def language_of(text: str) -> str:
    """An ISO 639-1 code, or "und"."""
    return next(languages_of([text]))


def languages_of(texts: Sequence[str], say: Callable[[float], None] = lambda done: None) -> Iterator[str]:
    """An ISO 639-1 code, or "und", for each text. `say` is told the share that is done."""
    for start in range(0, len(texts), _CHUNK):
        say(start / len(texts))
        chunk = [text[:_READ] for text in texts[start : start + _CHUNK]]
        # In bytes, since a Chinese sentence says in ten characters what takes thirty in English.
        long = [n for n, text in enumerate(chunk) if len(text.encode("utf-8", "replace")) >= _BYTES]
        codes = [UNDETERMINED] * len(chunk)
        for n, code in zip(long, _classified([_prepared(chunk[n]) for n in long]), strict=True):
            codes[n] = code
        yield from codes


def _prepared(text: str) -> bytes:
    """As py3langid wants it."""
    lowered = text.lower() if text.isupper() else text
    return unicodedata.normalize("NFC", lowered).encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class _Model:
    """py3langid's tables: its automaton over bytes, and what each run of bytes that it knows says for each language.

    `moves` has 256 places for each kind of state, `row` the kind of a state, `runs` the run that ends in a state or -1.
    """

    moves: NDArray[np.int64]
    row: NDArray[np.int64]
    runs: NDArray[np.int64]
    weights: NDArray[np.float32]
    prior: NDArray[np.float32]
    codes: tuple[str, ...]


def _classified(texts: Sequence[bytes]) -> Iterator[str]:
    if not texts:
        return
    model, sizes = _model(), np.array([len(text) for text in texts])
    scores = _scores(model, texts, sizes) / np.sqrt(sizes)[:, None]  # so that a long text is not all too sure
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    for at, first in enumerate(map(model.codes.index, model.codes)):
        if first != at:  # Serbian stands there in both of its scripts
            likely[:, first] += likely[:, at]
            likely[:, at] = 0
    best = likely.argmax(axis=1)
    sure = likely[np.arange(len(texts)), best] >= _SURE
    yield from (model.codes[one] if believed else UNDETERMINED for one, believed in zip(best, sure, strict=True))


def _scores(model: _Model, texts: Sequence[bytes], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(texts, languages): the logarithm of how likely each is."""
    from scipy.sparse import csr_matrix  # 0.1 s, so only when it is needed

    owners, runs = _walked(model, texts, sizes)
    found, counts = np.unique(owners * len(model.weights) + runs, return_counts=True)
    owner, run = np.divmod(found, len(model.weights))
    seen = np.bincount(owner, minlength=len(texts))
    ends = np.concatenate([[0], np.cumsum(seen)])
    table = csr_matrix((np.log1p(counts.astype(np.float32)), run, ends), shape=(len(texts), len(model.weights)))
    scores: NDArray[np.float32] = table @ model.weights
    return scores + model.prior * (seen > 0)[:, None]  # where nothing is known, all are alike


def _walked(
    model: _Model, texts: Sequence[bytes], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every known run in every text: the text's number, and the run's."""
    order = np.argsort(-sizes, kind="stable")  # the longest first, so that those still under way stand together
    letters = np.frombuffer(b"".join(texts), dtype=np.uint8)
    begins = (np.cumsum(sizes) - sizes)[order]
    state = np.zeros(len(texts), dtype=np.int64)
    owners, runs = [], []
    for place in range(int(sizes.max())):
        left = int(np.searchsorted(-sizes[order], -place))  # texts that are longer than this place
        state = model.moves[(model.row[state[:left]] << 8) + letters[begins[:left] + place]]
        run = model.runs[state]
        known = np.flatnonzero(run >= 0)
        owners.append(order[known])
        runs.append(run[known])
    return np.concatenate(owners), np.concatenate(runs)


@cache
def _model() -> _Model:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # reads its model, so only when it is needed

    # One of its own: the chat narrows the library's shared one to the four languages that it speaks.
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([code for code in _KNOWN.split() if code in identifier.labels])
    return _Model(
        moves=np.array(identifier.tk_nextmove, dtype=np.int64),
        row=np.array(identifier.tk_row, dtype=np.int64),
        runs=np.array(identifier.tk_output, dtype=np.int64),
        weights=np.ascontiguousarray(identifier.nb_ptc, dtype=np.float32),
        prior=np.array(identifier.nb_pc, dtype=np.float32),
        codes=tuple(identifier.nb_classes),
    )
