"""The race of `bench.race` over HTTPS, as six of seven of GBIF's image URLs are (8,820 of 10,266 real rows), and over plain HTTP.

`python -m bench.fetch` prints a table for each, and as its last line one JSON object; names without `_http` are those of HTTPS.
"""

from __future__ import annotations

import argparse
import json

from bench.race import OURS, Course, Result, add_course, race, server_capacity, show, tell_server

PEERS = ("curl -Z", "img2dataset")
SCHEMES = ("https", "http")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_course(parser, images=6000, rounds=3)
    parser.add_argument("--no-img2dataset", action="store_true", help="leave img2dataset out")
    args = parser.parse_args()
    if args.quick:
        args.images, args.rounds, args.no_img2dataset = 600, 1, True
    courses = [Course(args.images, args.connections, args.latency_ms, args.image_kb, scheme) for scheme in SCHEMES]
    capacity = server_capacity(courses[0])
    results = race(courses, args.rounds, PEERS[: 1 if args.no_img2dataset else 2])
    figures: dict[str, float | None] = {}
    for result in results:
        show(result)
        tell_server(capacity, result)
        figures |= figures_of(result)
    print(json.dumps({"bench": "fetch", **figures, "server_capacity_per_s": round(capacity)}))


def figures_of(result: Result) -> dict[str, float | None]:
    suffix = "" if result.course.scheme == "https" else f"_{result.course.scheme}"
    ratio = result.cpu_ms(OURS) / result.cpu_ms("img2dataset") if "img2dataset" in result.runs else None
    figures = {
        "share_of_ideal": result.share(OURS),
        "curl_share_of_ideal": _share(result, "curl -Z"),
        "img2dataset_share_of_ideal": _share(result, "img2dataset"),
        "cpu_ratio_to_img2dataset": ratio,
        "cpu_ms_per_image": result.cpu_ms(OURS),
    }
    return {f"{name}{suffix}": None if figure is None else round(figure, 3) for name, figure in figures.items()}


def _share(result: Result, name: str) -> float | None:
    return result.share(name) if name in result.runs else None


if __name__ == "__main__":
    main()
