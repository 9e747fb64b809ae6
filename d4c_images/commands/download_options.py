"""The options of `download`, and the plan of a run that follows from them. Runs nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from d4c_images.commands import arguments, presets
from d4c_images.errors import UsageError
from d4c_images.model import FetchOptions, Limits
from d4c_images.policy import contact, pace
from d4c_images.settings import Settings
from d4c_images.steward.terms import Plan

LEAST_REFETCH_S = 86400.0
DECODING_S = 300.0  # more than a worker needs to decode and store what it has fetched, on a bad day


def add_options(parser: argparse.ArgumentParser, settings: Settings) -> None:
    _add_what(parser.add_argument_group("selection"))
    _add_how_long(parser.add_argument_group("time limits"))
    how = parser.add_argument_group("network and storage")
    _add_workers(how, settings)
    _add_network(how, settings)
    _add_storage(how)
    watch = parser.add_argument_group("notifications")
    watch.add_argument(
        "--notify-every", type=arguments.positive, default=100_000, metavar="N", help="send a message every N images"
    )
    arguments.add_progress(parser)


def _add_what(what: argparse._ArgumentGroup) -> None:
    what.add_argument(
        "--limit", type=arguments.positive, metavar="N", help="stop when N images are stored; the job is not requeued"
    )
    what.add_argument(
        "--limit-tries", type=arguments.positive, metavar="N", help="stop after trying N images, stored or not; likewise"
    )
    what.add_argument("--host", action="append", default=[], metavar="NAME", help="only fetch from this host; repeatable")
    what.add_argument(
        "--retry-failed",
        nargs="?",
        const="all",
        choices=("all", "transient"),
        help="retry failed images (with --host, only of these hosts): `all`, or `transient`, those whose transient failures "
        "exhausted their attempts (default: all)",
    )
    what.add_argument(
        "--refetch",
        type=arguments.span,
        metavar="SPAN",
        help="revalidate stored images last requested more than SPAN ago (e.g. 90d; minimum 1d)",
    )
    what.add_argument(
        "--respect-robots-tag",
        action="store_true",
        help="skip images served with X-Robots-Tag noai or noimageai (error type robots_tag)",
    )
    what.add_argument(
        "--max-edge",
        type=arguments.positive,
        metavar="PX",
        help="scale images down to PX pixels on the longest edge and store JPEGs instead of the originals",
    )


def _add_how_long(when: argparse._ArgumentGroup) -> None:
    arguments.add_end(when)
    when.add_argument(
        "--max-idle",
        type=arguments.span,
        default="15m",
        metavar="SPAN",
        help="stop if every image left has to wait longer than SPAN",
    )
    when.add_argument(
        "--give-up-after",
        type=arguments.span,
        default="1d",
        metavar="SPAN",
        help="give up on a host unreachable for SPAN while other hosts respond; 7 x SPAN if none does, or if the host answers "
        "every request with the same page",
    )
    arguments.add_requeue(when)


def _add_workers(how: argparse._ArgumentGroup, settings: Settings) -> None:
    how.add_argument(
        "--processes",
        type=arguments.positive,
        default=settings.processes,
        metavar="N",
        help="number of worker processes (default: one per core granted by the scheduler)",
    )
    how.add_argument(
        "--new-root",
        metavar="CODE",
        help="use another image root than the previous run; CODE is printed when that is refused and is valid once",
    )
    how.add_argument(
        "--cluster",
        type=Path,
        metavar="DIR",
        help="coordinate only; workers started by 'd4c-images work' on any node join through DIR, a folder on a shared disk",
    )
    how.add_argument("--interface", metavar="NAME", help="with --cluster: network interface that the other nodes can reach")
    how.add_argument(
        "--max-connections",
        type=arguments.positive,
        default=256,
        metavar="N",
        help="maximum number of connections per worker process",
    )


def _add_network(how: argparse._ArgumentGroup, settings: Settings) -> None:
    how.add_argument("--hosts-file", type=Path, default=settings.hosts_file, metavar="FILE", help="TOML file with limits per host")
    how.add_argument(
        "--max-attempts",
        type=arguments.positive,
        default=4,
        metavar="N",
        help="attempts per image before transient failures become final",
    )
    how.add_argument(
        "--retry-wait",
        type=arguments.span,
        default="30s",
        metavar="SPAN",
        help="delay before the second attempt; doubles each time",
    )
    how.add_argument("--connect-timeout", type=arguments.span, default="20s", metavar="SPAN", help="connection timeout")
    how.add_argument("--timeout", type=arguments.span, default="10m", metavar="SPAN", help="maximum time for one request")
    how.add_argument(
        "--stall-timeout",
        type=arguments.span,
        default="30s",
        metavar="SPAN",
        help="abort a request after SPAN of near-zero throughput",
    )
    how.add_argument(
        "--max-size",
        type=arguments.size,
        default="2G",
        metavar="SIZE",
        help="maximum size of one image",
    )
    arguments.add_route(how, settings)
    how.add_argument(
        "--insecure-host",
        action="append",
        default=[],
        metavar="NAME",
        help="do not verify the TLS certificate of this host (NAME:PORT if the port is not 443); repeatable",
    )


def _add_storage(how: argparse._ArgumentGroup) -> None:
    how.add_argument(
        "--store",
        choices=("files", "pack"),
        help="store each image as a file, or pack images into tar files (default: as in the previous run; files for a new ledger)",
    )
    how.add_argument(
        "--shard-size", type=arguments.size, metavar="SIZE", help="with --store pack: size of one tar file (default: 1G)"
    )
    arguments.add_placeholder_terms(how, "--placeholder-records")


def plan_of(args: argparse.Namespace, limits: Limits, deadline: float | None, grace_s: float) -> Plan:
    if args.refetch is not None and args.refetch < LEAST_REFETCH_S:
        raise UsageError("--refetch needs a SPAN of at least 1d")
    return Plan(
        hosts=presets.host_table(args.hosts_file),
        max_attempts=args.max_attempts,
        retry_base_s=args.retry_wait,
        max_connections=args.max_connections,
        max_stored=args.limit,
        max_tries=args.limit_tries,
        only_hosts=frozenset(host.lower() for host in args.host),
        refetch=args.refetch is not None,
        deadline=deadline,
        grace_s=grace_s,
        hang_s=limits.attempt_s + DECODING_S,
        max_idle_s=args.max_idle,
        placeholders=presets.placeholder_list(args.placeholders_file),
        placeholder_records=args.placeholder_records,
        breaker=pace.BlockPolicy(
            give_up_s=args.give_up_after, give_up_alone_s=7 * args.give_up_after, give_up_shut_s=7 * args.give_up_after
        ),
    )


def fetch_options(args: argparse.Namespace, settings: Settings) -> FetchOptions:
    limits = Limits(connect_s=args.connect_timeout, total_s=args.timeout, stall_s=args.stall_timeout, max_bytes=args.max_size)
    who = None if settings.contact is None else contact.read(settings.contact)
    return FetchOptions(
        limits=limits,
        user_agent=contact.user_agent(who),
        connect_to=tuple(args.connect_to),
        cacert=args.cacert and args.cacert.absolute(),
        insecure_hosts=frozenset(host.lower() for host in args.insecure_host),
        from_address=None if who is None else who.mail,
        allow_private_hosts=args.allow_private_hosts,
    )
