"""What a message must not carry to a terminal or a log."""

from __future__ import annotations

import re
from collections.abc import Mapping

from providers.documents.secrets import MASK, hidden

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|WEBHOOK", re.IGNORECASE)
SHORTEST_SECRET = 6
"""Characters. Shorter values are words; masking them would garble the text and hide nothing."""


def mask_secrets(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` without the values of variables that are named like secrets, and without what looks like a key."""
    secrets = {value for name, value in environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return hidden(text)
