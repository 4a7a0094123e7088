"""Trying the options for real: every candidate on growing portions of the rows, within a budget, and what that proves.

Owns which candidate is tried next and when it can no longer win (`halving`), what a curve promises for all rows
(`curves`), what is decided from it (`deciding`), and the life of the process that does it (`life`, `worker`). Refuses
to know where candidates come from and what is made of the outcome: that is the assistant's.
"""
