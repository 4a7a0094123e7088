"""Going through rows one at a time: `reviews` is what the screen calls, `session` one project's queues behind it.

`cards` are the values that are shown; `changes` writes a decision into the data's list; `proposals` learns from what is
answered; `chores` works in the background.
"""
