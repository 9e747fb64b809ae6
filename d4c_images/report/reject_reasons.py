"""Why rows were rejected, and what is noted about others, in words for people. The reasons are `model.RejectReason`."""

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
    RejectReason.NOT_ONLINE: "declared as offline",
    RejectReason.TYPE_SOUND: "declared as sound",
    RejectReason.TYPE_MOVING_IMAGE: "declared as video",
    RejectReason.TYPE_OTHER: "declared as something other than an image",
    RejectReason.INTERACTIVE_NOT_IIIF: "declared as interactive, but not a IIIF manifest",
}

NOTES_IN_WORDS = {
    "several_urls": "the cell lists several images",
    "unusable_url_among_several": "one URL of several is unusable",
    "joined_to_another_row": "shows the same picture as another row of its record",
    "too_many_urls": "more URLs of one image than are kept",
    "broken_utf8": "not valid UTF-8",
    "identifier_cut": "a list of URLs that is too long; its end was dropped",
    "checklist_unknown": "has taxon keys, but no checklist that they belong to: name it with --checklist-key",
}
NOTE_ENDINGS_IN_WORDS = {"_cut": "too long; its start is kept", "_unreadable": "not a number, or not a possible one: left empty"}


def explained(reason: str) -> str:
    """`not_http (not an http or https URL)`; a reason without words as it is."""
    words = IN_WORDS.get(RejectReason(reason)) if reason in set(RejectReason) else None
    return f"{reason} ({words})" if words else reason


def explained_note(note: str) -> str:
    """`license_cut (too long; its start is kept)`. Labels also note for which reason a row gave none."""
    endings = (words for end, words in NOTE_ENDINGS_IN_WORDS.items() if note.endswith(end))
    words = NOTES_IN_WORDS.get(note) or next(endings, None)
    return f"{note} ({words})" if words else explained(note)
