"""The end of each command's `--help`: examples, and how to write durations and sizes. Parses nothing."""

from __future__ import annotations

PROGRAM = "d4c-images"
SPAN_NOTE = "SPAN is a duration: 90s, 15m, 11h30m, 2d or 11:30:00."
SIZE_NOTE = "SIZE is in bytes: 500k, 20M and 2G are decimal (2,000,000,000), 2GiB is 2,147,483,648."

HELP_EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "init": (
        ("0012345-250101000000000.zip --labels", "Import images and labels of a GBIF download"),
        ("dwca-museum.zip --ledger museum.sqlite", "Import a publisher's archive into a ledger of its own"),
        ("--finalize-only", "Recompute the status of all records"),
    ),
    "download": (
        ("", "Fetch everything that is left"),
        ("--limit 1000", "Stop when a thousand images are stored"),
        ("--for 11h30m --max-edge 1024", "Stop before a job of 12 hours ends; store images of at most 1024 pixels"),
        ("--retry-failed transient --host api.example.org", "Try one host again"),
    ),
    "work": (
        ("--cluster cluster", "Join 'download --cluster cluster'"),
        ("--cluster cluster --processes 8 --max-wait 4h", "Start 8 workers, and wait up to 4 hours for the coordinator"),
    ),
    "preflight": (
        ("", "Check this node, with a few connections to hosts of the ledger"),
        ("--offline --json > preflight.json", "Check it without the network, and write JSON"),
    ),
    "status": (
        ("", "Show the report"),
        ("--watch", "Refresh it every 5 s"),
        ("--json > status.json", "Write it as JSON"),
        ("--tables tables", "Write tables for a spreadsheet or pandas"),
    ),
    "runs": (
        ("", "List the last ten runs"),
        ("--limit 100 --json > runs.json", "Write the last hundred as JSON"),
    ),
    "hosts": (
        ("", "List hosts with images left"),
        ("--watch 10s", "Refresh the list every 10 s"),
        ("pause api.example.org --for 2h", "Send no requests to a host for 2 hours"),
        ("set '*.example.edu' connections=1 bytes_per_day=24G", "Limit all hosts of a domain"),
        ("unset '*.example.edu'", "Remove these limits"),
    ),
    "check": (
        ("> findings.tsv", "Compare names and sizes of all files; write a line for each finding"),
        ("--sha256", "Read every file and verify its hash"),
        ("--sample 1% --decode", "Decode one image in a hundred, others each time"),
        ("--part 3/30 --sha256", "Check the third of 30 parts, as in the third of 30 nights"),
        ("--summary", "Join the results of these parts"),
        ("--ledger-only --json > check.jsonl", "Check only the database, and write JSON Lines"),
        ("--ignore '*.xmp' --ignore notes/", "Ignore files and folders of others"),
    ),
    "placeholders": (
        ("", "Find bytes that 100 records share"),
        ("--records 20 --placeholders-file known.toml", "Find bytes that 20 records share, or that a file lists"),
    ),
    "unpack": (
        ("--to copies", "Copy the whole collection"),
        ("--to copies --gbif-id 2417886142", "Copy the images of one record"),
        ("--to copies --ids gbifids.txt", "Copy the images of the records in a file"),
    ),
    "export": (
        ("collection.parquet", "List all stored images"),
        ("failed.csv --failed", "List failed images, with the reasons"),
        ("images.parquet --all-images", "List every image with its status"),
    ),
    "migrate": (
        ("", "Back up next to the ledger, then upgrade"),
        ("--ledger old.sqlite --backup /backup/old.sqlite", "Back up to another disk"),
    ),
    "identify": (
        ("https://static.inaturalist.org/photos/1/medium.jpg", "Explain one URL"),
        ("--file 0012345-250101000000000.zip --limit 10000", "Summarise a GBIF download"),
    ),
    "job": (
        ("slurm download --time 2d --cores 8 > download.sh", "Write a job script; submit it with: sbatch download.sh"),
        ("sge check --options=--sha256 > check.sh", "The same for Grid Engine; submit it with: qsub check.sh"),
        ("slurm check --tasks 30 --options=--sha256 > check.sh", "Check in 30 parts, a job array"),
    ),
    "notify-test": (("", "Post to the webhook in SLACK_WEBHOOK_URL (.env or environment)"),),
}
"""What follows the command's name, and what it does."""

UNIT_NOTES = {
    "download": (SPAN_NOTE, SIZE_NOTE),
    "work": (SPAN_NOTE,),
    "status": (SPAN_NOTE,),
    "hosts": (SPAN_NOTE,),
    "job": (SPAN_NOTE,),
    "preflight": (SPAN_NOTE,),
}


def epilog(name: str) -> str:
    """The last lines of a command's help."""
    lines = [
        line for rest, comment in HELP_EXAMPLES.get(name, ()) for line in (f"  # {comment}", f"  {PROGRAM} {name} {rest}".rstrip())
    ]
    return "\n\n".join(filter(None, ["\n".join(["examples:", *lines] if lines else []), "\n".join(UNIT_NOTES.get(name, ()))]))
