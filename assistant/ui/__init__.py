"""The screen: Gradio 6 Blocks, one small file a panel, thin over the pipeline.

`app` lays it out and keeps it in step; each panel has `build` in its constructor, a `signature` that says what it
shows, and `draw` that shows it. To add a panel: a file here with a `Panel`, and a line in `app`.
"""
