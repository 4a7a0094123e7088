"""Searching a better prompt within a budget, and proving it on rows that the search never saw.

    budget.py    calls and seconds, and what is left of them
    halving.py   successive halving on growing subsets of rows
    search.py    the generations, the one confirmation, and the outcome

Owns what is tried next and when to stop. Refuses to know models and metrics: `Trials` asks and compares.
"""

from prompts.search.budget import Budget
from prompts.search.search import Line, Outcome, Progress, Search, Trials

__all__ = ["Budget", "Line", "Outcome", "Progress", "Search", "Trials"]
