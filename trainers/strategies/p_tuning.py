"""P-tuning: virtual tokens that a small network makes, which is dropped once they are learned (Liu et al. 2021,
https://arxiv.org/abs/2103.10385).

Begins as the person's own system prompt: the network's last layer is solved for its embeddings. Owns the knobs, that
solution and PEFT's configuration.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from trainers.strategies.soft_prompts import SoftPrompt, embedded
from trainers.strategies.strategy import Start


class PTuningStrategy(SoftPrompt):
    """A network's virtual tokens; the artefact holds the tokens alone."""

    title: ClassVar[str] = "P-tuning"

    type: Literal["p_tuning"] = "p_tuning"
    encoder_hidden_size: int = Field(128, ge=8, le=8192, description="Width of the network")

    def peft_config(self, start: Start) -> Any:
        from peft import PromptEncoderConfig

        return PromptEncoderConfig(
            num_virtual_tokens=self.num_virtual_tokens,
            encoder_hidden_size=self.encoder_hidden_size,
            task_type="CAUSAL_LM",
        )

    def begin(self, model: Any, start: Start) -> None:
        import torch

        if self.init != "prompt":
            return
        encoder, wanted = model.prompt_encoder["default"], embedded(start, self.num_virtual_tokens)
        places = torch.arange(self.num_virtual_tokens, device=wanted.device)
        with torch.no_grad():
            made = encoder.mlp_head[:-1](encoder.embedding(places)).float()
            made = torch.cat([made, torch.ones_like(made[:, :1])], dim=1)
            # The smallest weights that give these embeddings: exact where the network is as wide as there are tokens.
            solved = torch.linalg.lstsq(made.cpu(), wanted.cpu(), driver="gelsd").solution.to(wanted.device)
            encoder.mlp_head[-1].weight.copy_(solved[:-1].T)
            encoder.mlp_head[-1].bias.copy_(solved[-1])
