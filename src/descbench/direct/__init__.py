"""What the workflow does, in one call for images of the user's own: search, evaluation, matches, pairs files.

Everything is kept in a folder, so that a second call does only what is new. Nothing here is a stage of the workflow:
its library functions are called as its rules call them, with checkpoints and codebooks that it made.
"""
