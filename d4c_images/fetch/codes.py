"""Maps libcurl's errors to our codes. Knows nothing of an exchange except how it ended."""

from __future__ import annotations

import pycurl

from d4c_images.model import OwnCode

_BY_CURL_CODE: dict[int, OwnCode] = {
    pycurl.E_URL_MALFORMAT: OwnCode.BAD_URL,
    pycurl.E_BAD_FUNCTION_ARGUMENT: OwnCode.BAD_URL,
    pycurl.E_UNSUPPORTED_PROTOCOL: OwnCode.BROKEN,  # the URL's scheme was checked before: this is an HTTP/0.9 answer
    5: OwnCode.CONNECT,  # COULDNT_RESOLVE_PROXY: our side, says nothing about the image's host
    6: OwnCode.DNS,
    7: OwnCode.CONNECT,
    8: OwnCode.BROKEN,  # WEIRD_SERVER_REPLY
    pycurl.E_HTTP2: OwnCode.BROKEN,
    92: OwnCode.BROKEN,  # HTTP2_STREAM: reset by the server
    pycurl.E_PARTIAL_FILE: OwnCode.BROKEN,
    pycurl.E_SSL_CONNECT_ERROR: OwnCode.TLS,
    pycurl.E_GOT_NOTHING: OwnCode.BROKEN,
    pycurl.E_SEND_ERROR: OwnCode.BROKEN,
    pycurl.E_RECV_ERROR: OwnCode.BROKEN,
    pycurl.E_SSL_CERTPROBLEM: OwnCode.TLS,
    pycurl.E_SSL_CIPHER: OwnCode.TLS,
    pycurl.E_SSL_PEER_CERTIFICATE: OwnCode.TLS,
    pycurl.E_BAD_CONTENT_ENCODING: OwnCode.BAD_ENCODING,
    pycurl.E_FILESIZE_EXCEEDED: OwnCode.TOO_LARGE,
    pycurl.E_SSL_ISSUER_ERROR: OwnCode.TLS,
    pycurl.E_SSL_INVALIDCERTSTATUS: OwnCode.TLS,
    97: OwnCode.CONNECT,  # PROXY
    100: OwnCode.BROKEN,  # TOO_LARGE: of headers
}


def own_code(curl_code: int, message: str) -> OwnCode:
    """Our code for a libcurl error (https://curl.se/libcurl/c/libcurl-errors.html).

    Code 28 stands for every timeout; only libcurl's message says which one it was.
    """
    if curl_code != pycurl.E_OPERATION_TIMEDOUT:
        return _BY_CURL_CODE.get(curl_code, OwnCode.OTHER)
    if "too slow" in message:
        return OwnCode.STALLED
    if message.startswith("Resolving"):
        return OwnCode.DNS
    return OwnCode.TIMEOUT if message.startswith("Operation timed out") else OwnCode.CONNECT
