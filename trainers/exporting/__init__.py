"""A run's result as files for elsewhere: adapter, merged model, GGUF, Ollama, a hub; each loaded again and compared.

Owns writing them and the proof that they answer as the served model does. Refuses to train and to serve. `records` are
what is asked for and told, `checking` refuses before anything is loaded, each form has a file of its own, `selftest`
compares, and `carry_out` does it all:

    python -m trainers.exporting RUN ORDER_AS_JSON

tells its progress as JSON lines, for whoever started it.
"""
