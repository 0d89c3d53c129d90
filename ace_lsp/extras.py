"""What a client can show beside a diagnostic's message. Apart, so that asking it imports no feature."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """By default everything; see client.py for where it comes from."""

    related_information: bool = True
    code_description: bool = True
