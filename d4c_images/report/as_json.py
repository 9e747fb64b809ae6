"""JSON as commands print it: times, whose names end in `_at` or `until`, are ISO 8601 with their offset. Prints nothing.

In the ledger, and in the files of checks, they are Unix times.
"""

from __future__ import annotations

import json
from typing import Any

from d4c_images.durations import show_moment

CONTAINERS = (dict, list, tuple)


def json_text(value: Any, indent: int | None = 2) -> str:
    """`indent` None: one line, and five times as fast."""
    return json.dumps(_shown(value), indent=indent)


def _shown(value: Any) -> Any:
    """Calls nothing for values that stay as they are: a list of hosts has millions of them."""
    if isinstance(value, dict):
        return {
            name: _moment(one)
            if name[-3:] == "_at" or name[-5:] == "until"
            else _shown(one)
            if one.__class__ in CONTAINERS
            else one
            for name, one in value.items()
        }
    return [_shown(one) for one in value] if isinstance(value, (list, tuple)) else value


def _moment(value: Any) -> Any:
    return show_moment(value) if isinstance(value, (int, float)) else value
