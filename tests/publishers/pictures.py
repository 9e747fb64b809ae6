"""Real encoded images of many formats, the same for the same URL and distinct for distinct URLs. Knows no HTTP.

A few scenes are drawn and encoded once per size and format; the URL is then written into a comment, a chunk or a box that
decoders pass over, so that each URL has bytes of its own at the price of a copy.
"""

from __future__ import annotations

import functools
import io
import random
import struct
import zlib
from collections.abc import Callable

from PIL import Image, ImageCms, ImageDraw

SCENES = 8
WEBP_BOMB = "524946461a000000574542505650384c0e0000002ffebfff0f071011fd0f4444ff03"
PROFILE_DATE = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
SMALL = (192, 144)  # for the formats that are slow to encode


def jpeg(text: str, size: tuple[int, int] = (640, 480), kind: str = "baseline") -> bytes:
    """`kind`: baseline, progressive, exif_rotated, cmyk, icc or grey."""
    return with_jpeg_comment(_jpeg_base(scene_of(text), size, kind), text)


def png(text: str, size: tuple[int, int] = SMALL, kind: str = "rgb") -> bytes:
    """`kind`: rgb, rgba, palette, 16bit."""
    return _with_png_text(_png_base(scene_of(text), size, kind), text)


def gif(text: str, size: tuple[int, int] = SMALL, frames: int = 1) -> bytes:
    base = _gif_base(scene_of(text), size, frames)
    return base[:-1] + b"\x21\xfe" + b"".join(bytes([len(part)]) + part for part in _parts(text, 255)) + b"\0;"


def tiff(text: str, size: tuple[int, int] = SMALL) -> bytes:
    out = io.BytesIO()
    _scene(scene_of(text), size).save(out, "TIFF", tiffinfo={270: text.encode("ascii", "replace").decode()})
    return out.getvalue()


def webp(text: str, size: tuple[int, int] = SMALL) -> bytes:
    chunk = _padded(text.encode())
    body = _base("WEBP", scene_of(text), size)[8:] + b"d4cT" + struct.pack("<I", len(chunk)) + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp(text: str, size: tuple[int, int] = SMALL) -> bytes:
    base = bytearray(_base("BMP", scene_of(text), size))
    mark = text.encode()[:400]
    base[-len(mark) :] = mark  # the last pixels are the mark
    return bytes(base)


def jp2(text: str, size: tuple[int, int] = SMALL) -> bytes:
    return _base("JPEG2000", scene_of(text), size) + _free_box(text)


def avif(text: str, size: tuple[int, int] = SMALL) -> bytes:
    return _base("AVIF", scene_of(text), size) + _free_box(text)


def heic(text: str, size: tuple[int, int] = SMALL) -> bytes:
    return _base("HEIF", scene_of(text), size) + _free_box(text)


PICTURES: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "jpg": ("image/jpeg", jpeg),
    "jpeg": ("image/jpeg", jpeg),
    "png": ("image/png", png),
    "gif": ("image/gif", gif),
    "tif": ("image/tiff", tiff),
    "tiff": ("image/tiff", tiff),
    "webp": ("image/webp", webp),
    "bmp": ("image/bmp", bmp),
    "jp2": ("image/jp2", jp2),
    "avif": ("image/avif", avif),
    "heic": ("image/heic", heic),
}
"""By file extension: media type and maker."""


def with_jpeg_comment(base: bytes, text: str) -> bytes:
    """`base` with a COM segment behind its APPn segments."""
    at = 2
    while base[at] == 0xFF and 0xE0 <= base[at + 1] <= 0xEF:
        at += 2 + int.from_bytes(base[at + 2 : at + 4], "big")
    comment = text.encode()[:60000]
    return base[:at] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + base[at:]


@functools.lru_cache(maxsize=4)
def jpeg_of_about(size_bytes: int) -> bytes:
    """A noisy 640 x 480 photo-like JPEG of about that many bytes (or as near as its qualities allow)."""
    noise = Image.merge("RGB", [Image.effect_noise((640, 480), 40) for _ in range(3)])
    picture = Image.blend(_scene(1, (640, 480)), noise, 0.25)
    low, high = 1, 95
    while low < high:
        quality = (low + high + 1) // 2
        low, high = (quality, high) if len(saved(picture, "JPEG", quality=quality)) <= size_bytes else (low, quality - 1)
    return saved(picture, "JPEG", quality=low)


@functools.lru_cache(maxsize=1)
def png_bomb(edge: int = 50_000) -> bytes:
    """A valid black 1-bit PNG of `edge` x `edge` pixels in a few hundred kB.

    Its deflate stream is one flushed block of zeros, repeated; the Adler-32 of n zeros is (n mod 65521) << 16 | 1.
    """
    rows = (1 + (edge + 7) // 8) * edge
    block_size = 1 << 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(block_size)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = last.compress(bytes(rows % block_size)) + last.flush()
    stream = b"\x78\xda" + block * (rows // block_size) + rest + struct.pack(">I", (rows % 65521) << 16 | 1)
    header = struct.pack(">IIBBBBB", edge, edge, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", stream) + _png_chunk(b"IEND", b"")


@functools.lru_cache(maxsize=4)
def tiff_large(edge: int = 9_000, rows: int = 100) -> bytes:
    """A valid TIFF of `edge` x `edge` grey pixels, packed with deflate, whose strips of `rows` rows are all the same one."""
    n = edge // rows
    strip = zlib.compress(random.Random(edge).randbytes(edge) * rows, 1)
    strip += bytes(len(strip) % 2)
    lists = struct.pack(f"<{n}I", *(8,) * n) + struct.pack(f"<{n}I", *(len(strip),) * n)
    at = 8 + len(strip)
    entries = (
        (256, 4, 1, edge), (257, 4, 1, edge), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1),
        (273, 4, n, at), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, n, at + 4 * n),
    )  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", at + len(lists)) + strip + lists + directory


@functools.lru_cache(maxsize=2)
def jpeg_large(edge: int = 7000) -> bytes:
    """A progressive JPEG of `edge` x `edge` pixels: 49 MP take 147 MB to decode."""
    return saved(Image.linear_gradient("L").resize((edge, edge)).convert("RGB"), "JPEG", progressive=True, quality=80)


def webp_bomb() -> bytes:
    """A WebP of 16,383 x 16,383 black pixels in 34 bytes: without loss, one colour, no codes (RFC 9649)."""
    return bytes.fromhex(WEBP_BOMB)


def scene_of(text: str) -> int:
    return zlib.crc32(text.encode()) % SCENES


@functools.lru_cache(maxsize=64)
def _scene(scene: int, size: tuple[int, int]) -> Image.Image:
    """A pressed plant on paper, more or less."""
    width, height = size
    dice = random.Random(scene)
    paper = (dice.randint(215, 245), dice.randint(210, 235), dice.randint(180, 215))
    picture = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(picture)
    x, y = width / 2, float(height)
    while y > height * 0.15:
        nx, ny = x + dice.uniform(-0.04, 0.04) * width, y - height * 0.06
        draw.line((x, y, nx, ny), fill=(70, 90, 40), width=max(1, width // 120))
        for side in (-1, 1):
            reach, thick = dice.uniform(0.08, 0.3) * width, dice.uniform(0.01, 0.04) * height
            green = (dice.randint(30, 110), dice.randint(80, 150), dice.randint(20, 70))
            box = sorted((nx, nx + side * reach))
            draw.ellipse((box[0], ny - thick, box[1], ny + thick), fill=green)
        x, y = nx, ny
    draw.rectangle((width * 0.7, height * 0.82, width * 0.96, height * 0.96), outline=(60, 60, 60), fill=(250, 250, 245))
    return picture


@functools.lru_cache(maxsize=256)
def _jpeg_base(scene: int, size: tuple[int, int], kind: str) -> bytes:
    picture = _scene(scene, size)
    match kind:
        case "progressive":
            return saved(picture, "JPEG", quality=85, progressive=True)
        case "exif_rotated":
            exif = Image.Exif()
            exif[0x0112] = 6  # stored lying, to be turned 90 degrees clockwise
            return saved(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=85, exif=exif)
        case "cmyk":
            return saved(picture.convert("CMYK"), "JPEG", quality=85)
        case "icc":
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
            at_any_time = profile[:24] + PROFILE_DATE + profile[36:]  # else it has the moment at which it was made
            return saved(picture, "JPEG", quality=85, icc_profile=at_any_time)
        case "grey":
            return saved(picture.convert("L"), "JPEG", quality=85)
    return saved(picture, "JPEG", quality=85)


@functools.lru_cache(maxsize=64)
def _png_base(scene: int, size: tuple[int, int], kind: str) -> bytes:
    picture = _scene(scene, size)
    if kind == "16bit":
        deep = picture.convert("L").convert("I").point(lambda value: value * 257)
        return saved(deep.convert("I;16"), "PNG")
    return saved(picture.convert({"rgba": "RGBA", "palette": "P"}.get(kind, "RGB")), "PNG")


@functools.lru_cache(maxsize=64)
def _gif_base(scene: int, size: tuple[int, int], frames: int) -> bytes:
    pages = [_scene((scene + number) % SCENES, size).convert("P") for number in range(frames)]
    more = {"save_all": True, "append_images": pages[1:], "duration": 100} if frames > 1 else {}
    return saved(pages[0], "GIF", **more)


@functools.lru_cache(maxsize=64)
def _base(form: str, scene: int, size: tuple[int, int]) -> bytes:
    if form == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    return saved(_scene(scene, size), form)


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def _with_png_text(base: bytes, text: str) -> bytes:
    end = base.rindex(b"IEND") - 4
    return base[:end] + _png_chunk(b"tEXt", b"Source\0" + text.encode()) + base[end:]


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _free_box(text: str) -> bytes:
    body = text.encode()
    return struct.pack(">I", 8 + len(body)) + b"free" + body


def _padded(body: bytes) -> bytes:
    return body + bytes(len(body) % 2)


def _parts(text: str, most: int) -> list[bytes]:
    body = text.encode()
    return [body[at : at + most] for at in range(0, len(body), most)]
