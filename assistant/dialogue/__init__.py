"""The chat: reading what a person writes, and wording what is said back. In its first form: rules, no model.

`reader` turns text into facts and acts; `wording` turns facts into sentences and the next question. Both are pure:
what an act does is the pipeline's business.
"""
