"""Texts as the words and pairs of words in them: what the linear classifiers over a data set's rows read.

Owns what counts as a word, and how much of a text is read. Refuses to learn from it.
"""

from __future__ import annotations

from typing import Any

READ = 1000  # characters; what a row is about mostly shows by then, and long documents would take minutes


def word_vectors() -> Any:
    """A vectorizer to be fitted on texts; scikit-learn is loaded with it, so only where it is needed."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # The usual pattern drops words of one letter, and then a row of "?" has nothing left.
    return TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), max_features=50_000, token_pattern=r"\w+|[^\w\s]")
