"""What is asked of a model: the task, the prompt, and how an answer is scored.

Owns the task spec, chat messages, prompt versions, starting templates and metrics. Refuses to know how a
model is trained, served or shown: it imports neither `trainers` nor `assistant`, neither torch nor gradio.
"""
