"""How a model is changed: plans, data, runs, the training worker, evaluation.

Owns everything between a plan and an artefact on disk. Refuses to know the chat, the votes and the screen: it
imports `prompts` but never `assistant` or gradio. Modules that import torch are `convert`, `evaluate`, `generate`,
`measure`, `modeling`, `sft` and `worker`; everything else stays light enough for the UI process.
"""
