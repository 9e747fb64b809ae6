"""Why rows were rejected, in words for a person. The reasons themselves are `model.RejectReason`."""

from __future__ import annotations

from d4c_images.model import RejectReason

IN_WORDS = {
    RejectReason.TOO_FEW_CELLS: "fewer cells than the header",
    RejectReason.TOO_MANY_CELLS: "more cells than the header",
    RejectReason.UNBALANCED_QUOTES: "a quoted cell has no end",
    RejectReason.ROW_TOO_LONG: "longer than a row may be",
    RejectReason.NUL_BYTES: "contains zero bytes",
    RejectReason.BAD_GBIF_ID: "the gbifID is not a number",
    RejectReason.BAD_RECORD_ID: "no usable record id",
    RejectReason.NO_IDENTIFIER: "no URL",
    RejectReason.RELATIVE_URL: "a relative URL",
    RejectReason.NOT_HTTP: "not an http or https URL",
    RejectReason.MALFORMED_URL: "not a valid URL",
    RejectReason.NOT_ONLINE: "declared to be offline",
    RejectReason.TYPE_SOUND: "declared to be sound",
    RejectReason.TYPE_MOVING_IMAGE: "declared to be a video",
    RejectReason.TYPE_OTHER: "declared to be something other than an image",
    RejectReason.INTERACTIVE_NOT_IIIF: "declared to be interactive, and not a IIIF manifest",
}


def explained(reason: str) -> str:
    """`not_http (not an http or https URL)`; a reason without words as it is."""
    words = IN_WORDS.get(RejectReason(reason)) if reason in set(RejectReason) else None
    return f"{reason} ({words})" if words else reason
