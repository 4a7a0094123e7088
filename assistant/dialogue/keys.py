"""Keys and passwords that somebody pasted by mistake: found and masked before anything is stored or sent on.

Owns the shapes of keys. Refuses to guess from randomness alone: a hash or an id in a description must survive. The
package detect-secrets 1.5 was tried first; it knows neither `sk-proj-`, `sk-ant-` nor `hf_` keys and cuts `ghp_` ones.
"""

from __future__ import annotations

import re

MASK = "[key removed]"
_KEYS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:sk|pk|rk)[-_](?:[A-Za-z0-9]+[-_])*[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic, OpenRouter, Stripe
    r"|\b(?:hf|gsk|r8|ghp|gho|ghu|ghs|ghr|glpat|npm|nvapi|xai|pplx|tgp)[-_][A-Za-z0-9_-]{20,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS
    r"|\bAIza[A-Za-z0-9_-]{30,}"  # Google
    r"|\bxox[abposr]-[A-Za-z0-9-]{10,}"  # Slack
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",  # JWT
    re.DOTALL,
)
# Whatever stands behind one of these words is a secret, in any shape.
_NAMED = re.compile(
    r"(?P<name>\b(?:api[ _-]?keys?|access[ _-]?tokens?|auth[ _-]?tokens?|bearer|passwords?|passwort|secret[ _-]?keys?"
    r"|mot de passe|contrase[nñ]a)\b[\"']?\s*(?:is|ist|est|es|=|:)\s*[\"']?)(?P<key>(?=\S*[\d!@#$%^&*])[^\s\"',;]{8,})",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<name>\bbearer\s+)(?P<key>[A-Za-z0-9._~+/-]{16,}=*)", re.IGNORECASE)


def masked(text: str) -> tuple[str, int]:
    """The text with every key replaced by `MASK`, and how many there were."""
    text, plain = _KEYS.subn(MASK, text)
    for named in (_NAMED, _BEARER):
        text, more = named.subn(lambda found: found["name"] + (found["key"] if MASK in found["key"] else MASK), text)
        plain += more
    return text, min(plain, text.count(MASK))
