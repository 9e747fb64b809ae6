"""Pieces of the patterns that many rules are made of. Holds no publisher."""

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
PICTURE = r"(?i:jpe?g|png|tiff?)"  # the extension of a picture, without its dot
IIIF_SIZE = r"max|full|!?[0-9]{1,5},[0-9]{1,5}|[0-9]{1,5},|,[0-9]{1,5}"  # of a whole picture, where a rule reads IIIF URLs itself
