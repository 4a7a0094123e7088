"""The person's journey: dialogue, recommendation, serving, arena, storage, screen, command line.

Never imports torch outside `serving/embedded_server.py`, which runs in a process of its own: the UI must be there
in a moment and must not die with a model.
"""
