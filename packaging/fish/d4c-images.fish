# fish completion for d4c-images. Made by `make docs` from the argument parser; a test compares the two.

# The words that are no options: the command, and what stands by its place. The value of an option counts as one, too.
function __d4c_images_words
    set -l words (commandline -opc)
    string match --invert -- '-*' $words[2..-1]
end

function __d4c_images_no_command
    test (count (__d4c_images_words)) -eq 0
end

function __d4c_images_runs
    set -l words (__d4c_images_words)
    test "$words[1]" = "$argv[1]"
end

function __d4c_images_at
    test (count (__d4c_images_words)) -eq (math $argv[1] + 1)
end

complete -c d4c-images -f
complete -c d4c-images -n __d4c_images_no_command -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n __d4c_images_no_command -l version -d 'show program\'s version number and exit'
complete -c d4c-images -n __d4c_images_no_command -l debug -d 'show a traceback on errors'

complete -c d4c-images -n __d4c_images_no_command -a init -d 'Import a GBIF download or Darwin Core Archive into the ledger'
complete -c d4c-images -n '__d4c_images_runs init' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs init' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs init' -l ledger -r -F -d 'ledger, an SQLite file'
complete -c d4c-images -n '__d4c_images_runs init; and __d4c_images_at 0' -F
complete -c d4c-images -n '__d4c_images_runs init' -l limit -x -d 'read at most N rows of each table'
complete -c d4c-images -n '__d4c_images_runs init' -l verbatim -d 'also import the publishers\' verbatim media rows from a GBIF download'
complete -c d4c-images -n '__d4c_images_runs init' -l dataset -x -d 'dataset that scopes the record ids if they are not globally unique (default: from the archive\'s EML, else the file name)'
complete -c d4c-images -n '__d4c_images_runs init' -l labels -d 'also import the occurrence table: name, taxon keys, place, date, collector, licence, ... of each record'
complete -c d4c-images -n '__d4c_images_runs init' -l checklist-key -x -d 'with --labels: GBIF dataset key of the checklist that the taxon keys belong to, for tables that do not name it'
complete -c d4c-images -n '__d4c_images_runs init' -l reset -d 'start a new ledger; asks before deleting the old one (image files are kept)'
complete -c d4c-images -n '__d4c_images_runs init' -l yes -d 'with --reset: do not ask for confirmation'
complete -c d4c-images -n '__d4c_images_runs init' -l finalize-only -d 'recompute the status of every record from its images; run it again to resume after an interruption'
complete -c d4c-images -n '__d4c_images_runs init' -l requeue -d 'in a Grid Engine or Slurm job: requeue the job as long as work is left and rounds make progress'
complete -c d4c-images -n '__d4c_images_runs init' -l progress -l no-progress -d 'show a live view instead of periodic log lines (default: only on a terminal)'

complete -c d4c-images -n __d4c_images_no_command -a download -d 'Fetch, verify and store images'
complete -c d4c-images -n '__d4c_images_runs download' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs download' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs download' -l ledger -r -F -d 'ledger, an SQLite file'
complete -c d4c-images -n '__d4c_images_runs download' -l root -x -a '(__fish_complete_directories)' -d 'image root, the folder that holds the images'
complete -c d4c-images -n '__d4c_images_runs download' -l limit -x -d 'stop when N images are stored; the job is not requeued'
complete -c d4c-images -n '__d4c_images_runs download' -l limit-tries -x -d 'stop after trying N images, stored or not; likewise'
complete -c d4c-images -n '__d4c_images_runs download' -l host -x -d 'only fetch from this host; repeatable'
complete -c d4c-images -n '__d4c_images_runs download' -l retry-failed -x -a 'all transient' -d 'retry failed images (with --host, only of these hosts): `all`, or `transient`, those whose transient failures exhausted their attempts (default: all)'
complete -c d4c-images -n '__d4c_images_runs download' -l refetch -x -d 'revalidate stored images last requested more than SPAN ago (e.g. 90d; minimum 1d)'
complete -c d4c-images -n '__d4c_images_runs download' -l respect-robots-tag -d 'skip images served with X-Robots-Tag noai or noimageai (error type robots_tag)'
complete -c d4c-images -n '__d4c_images_runs download' -l max-edge -x -d 'scale images down to PX pixels on the longest edge and store JPEGs instead of the originals'
complete -c d4c-images -n '__d4c_images_runs download' -l until -x -d 'start no new requests after TIME, e.g. 18:30 or 2027-01-31T18:30'
complete -c d4c-images -n '__d4c_images_runs download' -l for -x -d 'start no new requests after SPAN from now'
complete -c d4c-images -n '__d4c_images_runs download' -l grace -x -d 'when stopping early, wait up to SPAN for requests in flight'
complete -c d4c-images -n '__d4c_images_runs download' -l max-idle -x -d 'stop if every image left has to wait longer than SPAN'
complete -c d4c-images -n '__d4c_images_runs download' -l give-up-after -x -d 'give up on a host unreachable for SPAN while other hosts respond; 7 x SPAN if none does, or if the host answers every request with the same page'
complete -c d4c-images -n '__d4c_images_runs download' -l requeue -d 'in a Grid Engine or Slurm job: requeue the job as long as work is left and rounds make progress'
complete -c d4c-images -n '__d4c_images_runs download' -l processes -x -d 'number of worker processes (default: one per core granted by the scheduler)'
complete -c d4c-images -n '__d4c_images_runs download' -l new-root -x -d 'use another image root than the previous run; CODE is printed when that is refused and is valid once'
complete -c d4c-images -n '__d4c_images_runs download' -l cluster -x -a '(__fish_complete_directories)' -d 'coordinate only; workers started by \'d4c-images work\' on any node join through DIR, a folder on a shared disk'
complete -c d4c-images -n '__d4c_images_runs download' -l interface -x -d 'with --cluster: network interface that the other nodes can reach'
complete -c d4c-images -n '__d4c_images_runs download' -l max-connections -x -d 'maximum number of connections per worker process'
complete -c d4c-images -n '__d4c_images_runs download' -l hosts-file -r -F -d 'TOML file with limits per host'
complete -c d4c-images -n '__d4c_images_runs download' -l max-attempts -x -d 'attempts per image before transient failures become final'
complete -c d4c-images -n '__d4c_images_runs download' -l retry-wait -x -d 'delay before the second attempt; doubles each time'
complete -c d4c-images -n '__d4c_images_runs download' -l connect-timeout -x -d 'connection timeout'
complete -c d4c-images -n '__d4c_images_runs download' -l timeout -x -d 'maximum time for one request'
complete -c d4c-images -n '__d4c_images_runs download' -l stall-timeout -x -d 'abort a request after SPAN of near-zero throughput'
complete -c d4c-images -n '__d4c_images_runs download' -l store -x -a 'files pack' -d 'store each image as a file, or pack images into tar files (default: as in the previous run; files for a new ledger)'
complete -c d4c-images -n '__d4c_images_runs download' -l shard-size -x -d 'with --store pack: size of one tar file (default: 1G)'
complete -c d4c-images -n '__d4c_images_runs download' -l max-size -x -d 'maximum size of one image'
complete -c d4c-images -n '__d4c_images_runs download' -l connect-to -x -d 'connect to HOST2:PORT2 instead of HOST1:PORT1, as curl\'s option does; repeatable'
complete -c d4c-images -n '__d4c_images_runs download' -l allow-private-hosts -l no-allow-private-hosts -d 'allow URLs that lead to loopback, private or other non-public addresses (error type private_address)'
complete -c d4c-images -n '__d4c_images_runs download' -l insecure-host -x -d 'do not verify the TLS certificate of this host (NAME:PORT if the port is not 443); repeatable'
complete -c d4c-images -n '__d4c_images_runs download' -l cacert -r -F -d 'CA certificates to trust instead of the system\'s'
complete -c d4c-images -n '__d4c_images_runs download' -l placeholder-records -x -d 'treat identical bytes that one host served for at least N records as a placeholder'
complete -c d4c-images -n '__d4c_images_runs download' -l placeholders-file -r -F -d 'TOML file that lists known placeholders'
complete -c d4c-images -n '__d4c_images_runs download' -l notify-every -x -d 'send a message every N images'
complete -c d4c-images -n '__d4c_images_runs download' -l progress -l no-progress -d 'show a live view instead of periodic log lines (default: only on a terminal)'

complete -c d4c-images -n __d4c_images_no_command -a work -d 'Fetch images for a \'download --cluster\' on another node'
complete -c d4c-images -n '__d4c_images_runs work' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs work' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs work' -l cluster -x -a '(__fish_complete_directories)' -d 'folder on a shared disk, the same as for \'download --cluster\''
complete -c d4c-images -n '__d4c_images_runs work' -l processes -x -d 'number of worker processes (default: one per core granted by the scheduler)'
complete -c d4c-images -n '__d4c_images_runs work' -l until -x -d 'start no new requests after TIME, e.g. 18:30 or 2027-01-31T18:30'
complete -c d4c-images -n '__d4c_images_runs work' -l for -x -d 'start no new requests after SPAN from now'
complete -c d4c-images -n '__d4c_images_runs work' -l grace -x -d 'when stopping early, wait up to SPAN for requests in flight'
complete -c d4c-images -n '__d4c_images_runs work' -l max-wait -x -d 'exit if no coordinator appears within SPAN'
complete -c d4c-images -n '__d4c_images_runs work' -l requeue -d 'in a Grid Engine or Slurm job: requeue the job as long as work is left and rounds make progress'

complete -c d4c-images -n __d4c_images_no_command -a status -d 'Show the state of the collection'
complete -c d4c-images -n '__d4c_images_runs status' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs status' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs status' -l ledger -r -F -d 'ledger, an SQLite file'
complete -c d4c-images -n '__d4c_images_runs status' -l json -d 'print JSON'
complete -c d4c-images -n '__d4c_images_runs status' -l tables -x -a '(__fish_complete_directories)' -d 'also write the tables as CSV and Parquet files into DIR (per host, not per image: for images see export)'

complete -c d4c-images -n __d4c_images_no_command -a hosts -d 'List, pause, resume or limit hosts'
complete -c d4c-images -n '__d4c_images_runs hosts' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs hosts' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs hosts' -l ledger -r -F -d 'ledger, an SQLite file'
complete -c d4c-images -n '__d4c_images_runs hosts; and __d4c_images_at 0' -f -a 'list pause resume set unset'
complete -c d4c-images -n '__d4c_images_runs hosts; and __d4c_images_at 1' -x
complete -c d4c-images -n '__d4c_images_runs hosts' -l for -x -d 'duration of the pause (default: until resumed)'
complete -c d4c-images -n '__d4c_images_runs hosts' -l all -d 'list all hosts, including those with nothing left'
complete -c d4c-images -n '__d4c_images_runs hosts' -l limit -x -d 'list at most N hosts (default: 100; all with --all or --json)'
complete -c d4c-images -n '__d4c_images_runs hosts' -l json -d 'print JSON'
complete -c d4c-images -n '__d4c_images_runs hosts' -l hosts-file -r -F -d 'TOML file with limits per host'

complete -c d4c-images -n __d4c_images_no_command -a check -d 'Verify that ledger and files agree, in both directions'
complete -c d4c-images -n '__d4c_images_runs check' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs check' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs check' -l ledger -r -F -d 'ledger, an SQLite file'
complete -c d4c-images -n '__d4c_images_runs check' -l root -x -a '(__fish_complete_directories)' -d 'image root, the folder that holds the images'
complete -c d4c-images -n '__d4c_images_runs check' -l sha256 -d 'read every file and verify its SHA-256'
complete -c d4c-images -n '__d4c_images_runs check' -l full -d 'run SQLite\'s full integrity check instead of the quick one'
complete -c d4c-images -n '__d4c_images_runs check' -l ledger-only -d 'check only the database, its counters and records, no files; also reports row counts'
complete -c d4c-images -n '__d4c_images_runs check' -l restart -d 'start over instead of resuming an interrupted check'
complete -c d4c-images -n '__d4c_images_runs check' -l json -d 'print JSON'
complete -c d4c-images -n '__d4c_images_runs check' -l progress -l no-progress -d 'show a live view instead of periodic log lines (default: only on a terminal)'

complete -c d4c-images -n __d4c_images_no_command -a placeholders -d 'Detect "no image available" placeholder pictures'
complete -c d4c-images -n '__d4c_images_runs placeholders' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l ledger -r -F -d 'ledger, an SQLite file'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l root -x -a '(__fish_complete_directories)' -d 'image root, the folder that holds the images'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l allow -x -d 'treat these bytes as a real image; repeatable'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l records -x -d 'treat identical bytes that one host served for at least N records as a placeholder'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l placeholders-file -r -F -d 'TOML file that lists known placeholders'

complete -c d4c-images -n __d4c_images_no_command -a unpack -d 'Copy images out as plain files'
complete -c d4c-images -n '__d4c_images_runs unpack' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs unpack' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs unpack' -l ledger -r -F -d 'ledger, an SQLite file'
complete -c d4c-images -n '__d4c_images_runs unpack' -l root -x -a '(__fish_complete_directories)' -d 'image root, the folder that holds the images'
complete -c d4c-images -n '__d4c_images_runs unpack' -l to -x -a '(__fish_complete_directories)' -d 'target folder; created if missing'
complete -c d4c-images -n '__d4c_images_runs unpack' -l gbif-id -x -d 'copy only the images of this record; repeatable'
complete -c d4c-images -n '__d4c_images_runs unpack' -l ids -r -F -d 'copy only the images of the records whose gbifIDs are in FILE, one per line'
complete -c d4c-images -n '__d4c_images_runs unpack' -l json -d 'print a JSON summary'
complete -c d4c-images -n '__d4c_images_runs unpack' -l progress -l no-progress -d 'show a live view instead of periodic log lines (default: only on a terminal)'

complete -c d4c-images -n __d4c_images_no_command -a export -d 'Write the list of stored images as Parquet or CSV'
complete -c d4c-images -n '__d4c_images_runs export' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs export' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs export' -l ledger -r -F -d 'ledger, an SQLite file'
complete -c d4c-images -n '__d4c_images_runs export; and __d4c_images_at 0' -F
complete -c d4c-images -n '__d4c_images_runs export' -l all-images -d 'write one row per image instead, stored or not, with status and errors: the columns of the view `images`'
complete -c d4c-images -n '__d4c_images_runs export' -l failed -d 'write one row per failed image instead, with the same columns'
complete -c d4c-images -n '__d4c_images_runs export' -l json -d 'print a JSON summary'
complete -c d4c-images -n '__d4c_images_runs export' -l progress -l no-progress -d 'show a live view instead of periodic log lines (default: only on a terminal)'

complete -c d4c-images -n __d4c_images_no_command -a migrate -d 'Upgrade a ledger written by an older version'
complete -c d4c-images -n '__d4c_images_runs migrate' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs migrate' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs migrate' -l ledger -r -F -d 'ledger, an SQLite file'
complete -c d4c-images -n '__d4c_images_runs migrate' -l backup -r -F -d 'file to write the backup to (default: next to the ledger)'
complete -c d4c-images -n '__d4c_images_runs migrate' -l no-backup -d 'make no backup'
complete -c d4c-images -n '__d4c_images_runs migrate' -l progress -l no-progress -d 'show a live view instead of periodic log lines (default: only on a terminal)'

complete -c d4c-images -n __d4c_images_no_command -a identify -d 'Show how a URL is identified'
complete -c d4c-images -n '__d4c_images_runs identify' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs identify' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs identify; and __d4c_images_at 0' -x
complete -c d4c-images -n '__d4c_images_runs identify' -l file -r -F -d 'summarize a file instead: a GBIF download, an archive, a table with a column of URLs, or a list of URLs'
complete -c d4c-images -n '__d4c_images_runs identify' -l limit -x -d 'read at most N rows of the file'
complete -c d4c-images -n '__d4c_images_runs identify' -l verbose -d 'also print each row of the file'
complete -c d4c-images -n '__d4c_images_runs identify' -l json -d 'print JSON'

complete -c d4c-images -n __d4c_images_no_command -a job -d 'Print a job script for Grid Engine or Slurm'
complete -c d4c-images -n '__d4c_images_runs job' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs job' -l debug -d 'show a traceback on errors'
complete -c d4c-images -n '__d4c_images_runs job; and __d4c_images_at 0' -f -a 'sge slurm'
complete -c d4c-images -n '__d4c_images_runs job; and __d4c_images_at 1' -f -a 'init download coordinator work status check export'
complete -c d4c-images -n '__d4c_images_runs job' -l time -x -d 'time limit of the job (default: depends on the command)'
complete -c d4c-images -n '__d4c_images_runs job' -l cores -x -d 'cores on one node; download starts one process per core'
complete -c d4c-images -n '__d4c_images_runs job' -l tasks -x -d 'size of the job array of \'work\''
complete -c d4c-images -n '__d4c_images_runs job' -l name -x -d 'name of the job'
complete -c d4c-images -n '__d4c_images_runs job' -l project -x -d 'project (Grid Engine) or account (Slurm) to charge'
complete -c d4c-images -n '__d4c_images_runs job' -l queue -x -d 'queue (Grid Engine) or partition (Slurm)'
complete -c d4c-images -n '__d4c_images_runs job' -l mail -x -d 'send mail to ADDRESS when the job ends or fails'
complete -c d4c-images -n '__d4c_images_runs job' -l options -x -d 'options passed to the command: --options="--host a.org --limit 9"'

complete -c d4c-images -n __d4c_images_no_command -a notify-test -d 'Send a test message to Slack'
complete -c d4c-images -n '__d4c_images_runs notify-test' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs notify-test' -l debug -d 'show a traceback on errors'
