"""Building blocks for the patterns of many rules. Contains no publisher."""

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
PICTURE = r"(?i:jpe?g|png|tiff?)"  # an image file's extension, without its dot
IIIF_SIZE = r"max|full|!?[0-9]{1,5},[0-9]{1,5}|[0-9]{1,5},|,[0-9]{1,5}"  # of a whole picture, for rules that read IIIF URLs
