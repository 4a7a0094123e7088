"""Watching a result that is served: what is asked of it, whether that is still what it was trained on, and whether its
answers are still as good.

Owns the log of requests in a run's folder, the tests on it, and the advice. Refuses to send anything anywhere. `log`
keeps the requests, `recorder` hears them at the address for programs, `drift` is the test of one block of inputs,
`looks` says when it is looked and keeps what was seen, `labelled` scores newly labelled rows, `watch` puts it together.
"""
