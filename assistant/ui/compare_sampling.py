"""How answers are drawn: the fields for it, folded away. Owns reading them; refuses to ask."""

from __future__ import annotations

from typing import Any

import gradio as gr
from pydantic import ValidationError

from prompts.allowed import Allowed
from prompts.chat_model import Sampling
from prompts.errors import RunError


class SamplingBox:
    """The fields. `inputs` goes to an event, and what comes of it to `read`."""

    def __init__(self) -> None:
        with gr.Accordion("How answers are drawn", open=False, elem_id="compare-sampling"):
            with gr.Row():
                tokens = gr.Number(256, label="Most tokens", minimum=1, maximum=8192, precision=0, min_width=110)
                heat = gr.Number(0, label="Temperature", minimum=0, maximum=2, step=0.1, min_width=110)
                top_p = gr.Number(1, label="Top-p", minimum=0.01, maximum=1, step=0.05, min_width=90)
                top_k = gr.Number(0, label="Top-k", minimum=0, precision=0, min_width=90)
                seed = gr.Textbox(label="Seed", placeholder="any", min_width=90)  # an empty number would be 0
            gr.Markdown(
                "At temperature 0 each answer takes the likeliest token, and the other figures do nothing. "
                "Without a choice or a schema here, every side is held to what its own prompt allows.",
                elem_classes="tw-hint",
            )
            with gr.Row():
                choices = gr.Textbox(label="Only one of these, one a line", lines=3, elem_id="compare-choices")
                schema = gr.Textbox(
                    label="Or JSON of this schema", lines=3, placeholder='{"type": "object"}', elem_id="compare-schema"
                )
        self.inputs: list[Any] = [tokens, heat, top_p, top_k, seed, choices, schema]

    @staticmethod
    def read(
        tokens: float | None,
        heat: float | None,
        top_p: float | None,
        top_k: float | None,
        seed: str,
        choices: str,
        schema: str,
    ) -> Sampling:
        """The fields as settings; empty ones are as usual. Raises `RunError`."""
        lines = tuple(line.strip() for line in (choices or "").splitlines() if line.strip())
        wanted = {
            "max_tokens": tokens,
            "temperature": heat,
            "top_p": top_p,
            "top_k": top_k,
            "seed": (seed or "").strip() or None,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        schema = (schema or "").strip()
        try:
            held = Allowed(choices=lines, json_schema=schema) if lines or schema else None
            return Sampling.model_validate({**given, "allowed": held})
        except ValidationError as error:
            raise RunError(
                f"Answers cannot be drawn like that: {_first(error)}.", hint="Look at the fields."
            ) from error


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    where = " ".join(str(part).replace("_", " ") for part in found["loc"])
    told = found["msg"].removeprefix("Value error, ")
    return f"{where}: {told}" if where else told
