"""Signed links into S3, Google's storage and CloudFront: the object, and a signature that expires after hours or days.

The same photo has another signature in every download, so the signature is not part of the identity. It stays in the requested
URL; of several, the latest is requested first. Every other parameter (`versionId`, an image server's `size`) is kept.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "signed"
VERSION = 1

_SIGNATURES = ("X-Amz-Signature=", "X-Goog-Signature=", "Key-Pair-Id=", "AWSAccessKeyId=")
_OF_SIGNATURE = re.compile(
    r"X-Amz-(?:Algorithm|Credential|Date|Expires|SignedHeaders|Signature|Security-Token)"
    r"|X-Goog-(?:Algorithm|Credential|Date|Expires|SignedHeaders|Signature)"
    r"|Key-Pair-Id|Policy|Hash-Algorithm|AWSAccessKeyId|Expires|Signature"
).fullmatch
_WHEN = re.compile(r"([0-9]{8})T([0-9]{6})Z|([0-9]{9,11})").fullmatch


def _read(url: Url) -> Variant | None:
    arguments = url.arguments()
    if arguments is None or not arguments.keys() & {name.rstrip("=") for name in _SIGNATURES}:
        return None
    when = arguments.get("X-Amz-Date") or arguments.get("X-Goog-Date") or arguments.get("Expires", "")
    found = _WHEN(when)
    rest = "&".join(pair for pair in url.query[1:].split("&") if pair and not _OF_SIGNATURE(pair.partition("=")[0]))
    photo = f"{url.host}{url.path}{'?' if rest else ''}{rest}"
    return Variant(photo, (-int("".join(found.groups(default=""))) if found else 0,))


_VARIANTS = Variants(NAME, VERSION, _read)
_S3 = "https://examplebucket.s3.amazonaws.com"
_BY_S3 = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20130721%2Fus-east-1%2Fs3%2Faws4_request"
_BY_S3 += "&X-Amz-Date=20130721T201207Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=4f1a"
_CLOUDFRONT = "https://d111111abcdef8.cloudfront.net/image.jpg"
_BY_CLOUDFRONT = "Expires=1767290400&Signature=nitfHRCrtziwO2HwPfWw~yYD&Key-Pair-Id=K2JCJMDEHXQW5F"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Signed links (Amazon S3 and CloudFront, Google Cloud Storage)",
    hints=_SIGNATURES,
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"
    " and https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-creating-signed-url-canned-policy.html",
    examples=(
        Example(f"{_S3}/herbarium/sheet-0001.jpg?{_BY_S3}", "signed:examplebucket.s3.amazonaws.com/herbarium/sheet-0001.jpg"),
        Example(
            f"{_S3}/herbarium/sheet-0001.jpg?versionId=L4kqtJlcp&{_BY_S3}",
            "signed:examplebucket.s3.amazonaws.com/herbarium/sheet-0001.jpg?versionId=L4kqtJlcp",
        ),
        Example(
            "https://examplebucket.s3.amazonaws.com/photos/puppy.jpg?AWSAccessKeyId=AKID&Expires=1175139620&Signature=NpgCjnDzrM",
            "signed:examplebucket.s3.amazonaws.com/photos/puppy.jpg",
        ),
        Example(
            f"{_CLOUDFRONT}?color=red&size=medium&{_BY_CLOUDFRONT}",
            "signed:d111111abcdef8.cloudfront.net/image.jpg?color=red&size=medium",
        ),
        Example(f"{_CLOUDFRONT}?size=medium&Expires=5", f"{_CLOUDFRONT}?size=medium&Expires=5"),
    ),
    traps=(
        (f"{_S3}/herbarium/sheet-0001.jpg?{_BY_S3}", f"{_S3}/herbarium/sheet-0002.jpg?{_BY_S3}"),
        (f"{_S3}/sheet.jpg?{_BY_S3}&versionId=1", f"{_S3}/sheet.jpg?{_BY_S3}&versionId=2"),
        (f"{_CLOUDFRONT}?id=1&{_BY_CLOUDFRONT}", f"{_CLOUDFRONT}?id=2&{_BY_CLOUDFRONT}"),
    ),
)
