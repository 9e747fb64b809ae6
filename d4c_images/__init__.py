"""d4c-images: a resumable bulk downloader for the images of a GBIF download."""

__version__ = "0.1.0"
