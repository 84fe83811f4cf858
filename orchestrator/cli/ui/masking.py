"""What an error message must not carry to a terminal or a log."""

from __future__ import annotations

import re
from collections.abc import Mapping

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|WEBHOOK", re.IGNORECASE)
# Shapes of keys that vendors hand out, and a password in an address, for a secret that came from elsewhere than the
# environment.
SECRET_SHAPE = re.compile(
    r"(?i)\b(?:sk|gsk|csk|xai|pk|hf|ghp|r8)[-_][\w-]{16,}|\bAIza[\w-]{20,}|(?<=bearer )\S{8,}"
    r"|(?<=://)[^\s/@]*:[^\s/@]+(?=@)"
)
MASK = "***"
SHORTEST_SECRET = 6
"""Characters. Shorter values are words; masking them would garble the text and hide nothing."""


def mask_secrets(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` without the values of variables that are named like secrets, and without what looks like a key."""
    secrets = {value for name, value in environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return SECRET_SHAPE.sub(MASK, text)
