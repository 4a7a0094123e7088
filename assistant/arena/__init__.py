"""Side by side and blind: several models on the same message, what was said of their answers, and what that proves.

`asking` streams one message to several arms; `batch` takes a file through them; `blind` draws the rounds that are
judged without names; `statistics` says what the votes mean; `pairs` turns them into preference data. None of these
knows engines, screens and storage.
"""
