"""`python -m assistant` is `tunewright`."""

from assistant.cli import main

main()
