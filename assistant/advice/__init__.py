"""What to do, why, what it will take and how sure that is, including "do not tune".

Owns the facts that advice rests on, the rules as data, the options with their plans, and what happens where wishes
contradict each other. Refuses to start anything and to estimate (that is `trainers.estimating`).
"""
