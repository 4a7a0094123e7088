"""What a plan will take before it starts: memory, time, energy and money, for training and for serving.

Owns the arithmetic, the tables of cards and prices, and how far earlier runs correct both. Refuses to know projects and
to advise.
"""
