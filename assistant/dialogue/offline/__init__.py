"""The mind that is always there: rules over a lexicon of four languages, and a small classifier for the task's kind.

One message goes through `text` (folding, statements), `numbers` (words to digits), `amounts`, `lists`, `phrases` and
`kinds`, which each find facts of their own; `mind` puts them together. No network, no language model, no torch.
"""
