"""The end of each command's `--help`: examples, and how to write durations and sizes. Parses nothing."""

from __future__ import annotations

PROGRAM = "d4c-images"
SPAN_NOTE = "SPAN is a duration: 90s, 15m, 11h30m, 2d or 11:30:00."
SIZE_NOTE = "SIZE is in bytes: 500k, 20M and 2G are decimal (2,000,000,000), 2GiB is 2,147,483,648."

HELP_EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "init": (
        ("0012345-250101000000000.zip --labels", "images and labels of a GBIF download"),
        ("dwca-museum.zip --ledger museum.sqlite", "a publisher's archive"),
        ("--finalize-only", "recompute record status"),
    ),
    "download": (
        ("", "fetch everything that is left"),
        ("--limit 1000", "a trial run"),
        ("--for 11h30m --max-edge 1024", "for a job of 12 hours"),
        ("--retry-failed transient --host api.example.org", "one host again"),
    ),
    "work": (
        ("--cluster cluster", "join 'download --cluster cluster'"),
        ("--cluster cluster --processes 8 --max-wait 4h", "8 workers, more patience"),
    ),
    "preflight": (
        ("", "Check this node, with a few connections to hosts of the ledger"),
        ("--offline --json > preflight.json", "Check it without the network, and write JSON"),
    ),
    "status": (
        ("", "the report"),
        ("--watch", "refreshed every 5 s"),
        ("--json > status.json", "for scripts"),
        ("--tables tables", "CSV and Parquet files, per host"),
    ),
    "hosts": (
        ("", "hosts with images left"),
        ("--watch 10s", "the same, refreshed every 10 s"),
        ("pause api.example.org --for 2h", "send no requests for 2 hours"),
        ("set '*.example.edu' connections=1 bytes_per_day=24G", "limits"),
        ("unset '*.example.edu'", "remove these overrides"),
    ),
    "check": (
        ("", "compare names and sizes"),
        ("--sha256", "read every file and verify its hash"),
        ("--ledger-only --json > check.json", "the database only, for scripts"),
    ),
    "placeholders": (
        ("", "bytes that 100 records share"),
        ("--records 20 --placeholders-file known.toml", "bytes that 20 records share, or that are listed"),
    ),
    "unpack": (
        ("--to copies", "the whole collection"),
        ("--to copies --gbif-id 2417886142", "one record"),
        ("--to copies --ids gbifids.txt", "a list of records"),
    ),
    "export": (
        ("collection.parquet", "what is stored"),
        ("failed.csv --failed", "what failed, and why"),
        ("images.parquet --all-images", "every image with its status"),
    ),
    "migrate": (
        ("", "back up next to the ledger, then upgrade"),
        ("--ledger old.sqlite --backup /backup/old.sqlite", "back up to another disk"),
    ),
    "identify": (
        ("https://static.inaturalist.org/photos/1/medium.jpg", "one URL"),
        ("--file 0012345-250101000000000.zip --limit 10000", "summarise a download"),
    ),
    "job": (
        ("slurm download --time 2d --cores 8 > download.sh", "then: sbatch download.sh"),
        ("sge check --options=--sha256 > check.sh", "then: qsub check.sh"),
    ),
    "notify-test": (("", "with SLACK_WEBHOOK_URL from .env or the environment"),),
}
"""What follows the command's name, and what it does."""

UNIT_NOTES = {
    "download": (SPAN_NOTE, SIZE_NOTE),
    "work": (SPAN_NOTE,),
    "hosts": (SPAN_NOTE,),
    "job": (SPAN_NOTE,),
    "preflight": (SPAN_NOTE,),
    "status": (SPAN_NOTE,),
}


def epilog(name: str) -> str:
    """The last lines of a command's help."""
    lines = [
        line for rest, comment in HELP_EXAMPLES.get(name, ()) for line in (f"  # {comment}", f"  {PROGRAM} {name} {rest}".rstrip())
    ]
    return "\n\n".join(filter(None, ["\n".join(["examples:", *lines] if lines else []), "\n".join(UNIT_NOTES.get(name, ()))]))
