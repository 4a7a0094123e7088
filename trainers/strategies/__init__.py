"""Ways to change a model. To add one: a file here with a frozen pydantic class (its knobs, its `type`) that has
`peft_config()`, its paper in the docstring, and its name in the plan's union. Heavy imports stay inside functions.
"""
