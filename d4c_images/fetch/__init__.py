"""Image bodies over HTTP(S) with libcurl's multi interface: streamed to a sink, hashed on the fly. Judges and paces nothing.

One request is one exchange: a redirect is reported, never followed, since the caller has to count, pace and route the next request.
A bad server or a bad URL becomes a `Reply` with an `OwnCode`; only a sink that cannot be written raises.
"""

from d4c_images.fetch.body import HEAD_BYTES, TAIL_BYTES, Sink, Unfinished
from d4c_images.fetch.codes import own_code
from d4c_images.fetch.coding import may_be_brotli
from d4c_images.fetch.connections import Connections
from d4c_images.fetch.fetcher import Fetcher
from d4c_images.fetch.transfer import Request
from d4c_images.fetch.urls import host_of

__all__ = [
    "HEAD_BYTES",
    "TAIL_BYTES",
    "Connections",
    "Fetcher",
    "Request",
    "Sink",
    "Unfinished",
    "host_of",
    "may_be_brotli",
    "own_code",
]
