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
complete -c d4c-images -n __d4c_images_no_command -l debug -d 'show where an error comes from'

complete -c d4c-images -n __d4c_images_no_command -a init -d 'Read a GBIF download or a publisher\'s archive into the ledger'
complete -c d4c-images -n '__d4c_images_runs init' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs init' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs init' -l ledger -r -F -d 'the SQLite ledger'
complete -c d4c-images -n '__d4c_images_runs init; and __d4c_images_at 0' -F
complete -c d4c-images -n '__d4c_images_runs init' -l limit -x -d 'read no more than N rows of each table'
complete -c d4c-images -n '__d4c_images_runs init' -l verbatim -d 'also read the publishers\' own media rows that a GBIF download carries'
complete -c d4c-images -n '__d4c_images_runs init' -l dataset -x -d 'whose records a publisher\'s table tells of, where their ids are mere numbers; by default as the archive\'s metadata say, else the file\'s name'
complete -c d4c-images -n '__d4c_images_runs init' -l labels -d 'also read the table of occurrences: name, taxon keys, place, date, collector, licence, ... of each record'
complete -c d4c-images -n '__d4c_images_runs init' -l checklist-key -x -d 'with --labels: the checklist of the taxon keys, by its dataset key at GBIF, for tables that do not name it'
complete -c d4c-images -n '__d4c_images_runs init' -l reset -d 'begin a new ledger; asks before it deletes the old one (images stay)'
complete -c d4c-images -n '__d4c_images_runs init' -l yes -d 'do not ask'
complete -c d4c-images -n '__d4c_images_runs init' -l finalize-only -d 'recount the status of every record from its images; run it again to go on after an interruption'
complete -c d4c-images -n '__d4c_images_runs init' -l requeue -d 'in a job of SGE or Slurm: while work is left and gets done, have the job queued again'
complete -c d4c-images -n '__d4c_images_runs init' -l progress -l no-progress -d 'a live view; by default on a terminal only, in a job log a line now and then'

complete -c d4c-images -n __d4c_images_no_command -a download -d 'Fetch, verify and store the images that the ledger still lacks'
complete -c d4c-images -n '__d4c_images_runs download' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs download' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs download' -l ledger -r -F -d 'the SQLite ledger'
complete -c d4c-images -n '__d4c_images_runs download' -l root -x -a '(__fish_complete_directories)' -d 'the folder that holds the images'
complete -c d4c-images -n '__d4c_images_runs download' -l limit -x -d 'try no more than N images, then end for good'
complete -c d4c-images -n '__d4c_images_runs download' -l host -x -d 'only this host; may be repeated'
complete -c d4c-images -n '__d4c_images_runs download' -l retry-failed -x -a 'all transient' -d 'first give failed images new attempts, with --host those of these hosts: all, or only those that failed transiently too often'
complete -c d4c-images -n '__d4c_images_runs download' -l refetch -x -d 'ask again, with conditional requests, for stored images that nobody has asked for in so long (90d; at least 1d)'
complete -c d4c-images -n '__d4c_images_runs download' -l respect-robots-tag -d 'keep no image whose answer says noai or noimageai in X-Robots-Tag: it fails as robots_tag'
complete -c d4c-images -n '__d4c_images_runs download' -l max-edge -x -d 'keep a JPEG of at most this edge instead of the original'
complete -c d4c-images -n '__d4c_images_runs download' -l until -x -d 'start nothing after 18:30 or 2027-01-31T18:30'
complete -c d4c-images -n '__d4c_images_runs download' -l for -x -d 'start nothing after 11h30m from now (or 11:30:00)'
complete -c d4c-images -n '__d4c_images_runs download' -l grace -x -d 'for what is in flight when the run ends early'
complete -c d4c-images -n '__d4c_images_runs download' -l max-idle -x -d 'end when everything left has to wait longer than this'
complete -c d4c-images -n '__d4c_images_runs download' -l give-up-after -x -d 'give a host up that could not be reached for so long while others answered; seven times as long if none did, or if the host answers everything with the same page'
complete -c d4c-images -n '__d4c_images_runs download' -l requeue -d 'in a job of SGE or Slurm: while work is left and gets done, have the job queued again'
complete -c d4c-images -n '__d4c_images_runs download' -l processes -x -d 'worker processes; by default one per core that the scheduler granted'
complete -c d4c-images -n '__d4c_images_runs download' -l new-root -x -d 'go on in another image root than that of the last run; the refusal to do so says the code, which is good once'
complete -c d4c-images -n '__d4c_images_runs download' -l cluster -x -a '(__fish_complete_directories)' -d 'start no workers here; those of \'d4c-images work\' on any node join through this folder on the shared disk'
complete -c d4c-images -n '__d4c_images_runs download' -l interface -x -d 'with --cluster: the network interface that the other nodes reach'
complete -c d4c-images -n '__d4c_images_runs download' -l max-connections -x -d 'of one worker process, over all hosts'
complete -c d4c-images -n '__d4c_images_runs download' -l hosts-file -r -F -d 'limits per host, in TOML'
complete -c d4c-images -n '__d4c_images_runs download' -l max-attempts -x -d 'per image, for failures that may pass'
complete -c d4c-images -n '__d4c_images_runs download' -l retry-wait -x -d 'before the second attempt; doubles each time'
complete -c d4c-images -n '__d4c_images_runs download' -l connect-timeout -x -d 'for a connection to stand'
complete -c d4c-images -n '__d4c_images_runs download' -l timeout -x -d 'for one request in all'
complete -c d4c-images -n '__d4c_images_runs download' -l stall-timeout -x -d 'with next to no bytes coming in'
complete -c d4c-images -n '__d4c_images_runs download' -l store -x -a 'files pack' -d 'keep each image as a file, or many of them in tar files of about a gigabyte; by default as the last time, at first as files'
complete -c d4c-images -n '__d4c_images_runs download' -l shard-size -x -d 'of one tar file of --store pack; else 1G, 1,000,000,000 bytes'
complete -c d4c-images -n '__d4c_images_runs download' -l max-size -x -d 'of one body; 2G is 2,000,000,000 bytes, 2GiB is 2,147,483,648'
complete -c d4c-images -n '__d4c_images_runs download' -l connect-to -x -d 'as curl\'s option: connect elsewhere, keep the URL; may be repeated'
complete -c d4c-images -n '__d4c_images_runs download' -l allow-private-hosts -l no-allow-private-hosts -d 'ask URLs that lead to loopback, private or other addresses that are not public; else they fail as private_address'
complete -c d4c-images -n '__d4c_images_runs download' -l insecure-host -x -d 'do not verify the TLS certificate of this one host (with its port, where that is not 443); may be repeated'
complete -c d4c-images -n '__d4c_images_runs download' -l cacert -r -F -d 'as curl\'s option: certificates to trust instead of the system\'s'
complete -c d4c-images -n '__d4c_images_runs download' -l placeholder-records -x -d 'records that get the same bytes from one host before these are taken for a placeholder'
complete -c d4c-images -n '__d4c_images_runs download' -l placeholders-file -r -F -d 'placeholders that you know, in TOML'
complete -c d4c-images -n '__d4c_images_runs download' -l notify-every -x -d 'images between two milestone messages'
complete -c d4c-images -n '__d4c_images_runs download' -l progress -l no-progress -d 'a live view; by default on a terminal only, in a job log a line now and then'

complete -c d4c-images -n __d4c_images_no_command -a work -d 'Fetch images for a \'download --cluster\' that runs on another node'
complete -c d4c-images -n '__d4c_images_runs work' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs work' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs work' -l cluster -x -a '(__fish_complete_directories)' -d 'the folder on the shared disk that \'download --cluster\' was told'
complete -c d4c-images -n '__d4c_images_runs work' -l processes -x -d 'worker processes; by default one per core that the scheduler granted'
complete -c d4c-images -n '__d4c_images_runs work' -l until -x -d 'start nothing after 18:30 or 2027-01-31T18:30'
complete -c d4c-images -n '__d4c_images_runs work' -l for -x -d 'start nothing after 11h30m from now (or 11:30:00)'
complete -c d4c-images -n '__d4c_images_runs work' -l grace -x -d 'for what is in flight when the run ends early'
complete -c d4c-images -n '__d4c_images_runs work' -l max-wait -x -d 'end when no download has been there for so long'
complete -c d4c-images -n '__d4c_images_runs work' -l requeue -d 'in a job of SGE or Slurm: while work is left and gets done, have the job queued again'

complete -c d4c-images -n __d4c_images_no_command -a status -d 'Show how far the collection is'
complete -c d4c-images -n '__d4c_images_runs status' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs status' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs status' -l ledger -r -F -d 'the SQLite ledger'
complete -c d4c-images -n '__d4c_images_runs status' -l json -d 'the same for scripts'
complete -c d4c-images -n '__d4c_images_runs status' -l tables -x -a '(__fish_complete_directories)' -d 'write the tables as CSV and Parquet into this folder: what grows with hosts, not with images (for those see export)'

complete -c d4c-images -n __d4c_images_no_command -a hosts -d 'Show hosts with their limits, pace, state and end; pause and resume them, set limits'
complete -c d4c-images -n '__d4c_images_runs hosts' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs hosts' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs hosts' -l ledger -r -F -d 'the SQLite ledger'
complete -c d4c-images -n '__d4c_images_runs hosts; and __d4c_images_at 0' -f -a 'list pause resume set unset'
complete -c d4c-images -n '__d4c_images_runs hosts; and __d4c_images_at 1' -x
complete -c d4c-images -n '__d4c_images_runs hosts' -l for -x -d 'of a pause; else until resume'
complete -c d4c-images -n '__d4c_images_runs hosts' -l all -d 'list all hosts, also those with nothing left'
complete -c d4c-images -n '__d4c_images_runs hosts' -l limit -x -d 'list up to N hosts; else 100, with --json all'
complete -c d4c-images -n '__d4c_images_runs hosts' -l json -d 'the list for scripts'
complete -c d4c-images -n '__d4c_images_runs hosts' -l hosts-file -r -F -d 'limits per host, in TOML'

complete -c d4c-images -n __d4c_images_no_command -a check -d 'Hold ledger and files against each other, both ways'
complete -c d4c-images -n '__d4c_images_runs check' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs check' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs check' -l ledger -r -F -d 'the SQLite ledger'
complete -c d4c-images -n '__d4c_images_runs check' -l root -x -a '(__fish_complete_directories)' -d 'the folder that holds the images'
complete -c d4c-images -n '__d4c_images_runs check' -l sha256 -d 'read every file and compare its hash'
complete -c d4c-images -n '__d4c_images_runs check' -l full -d 'SQLite\'s full integrity check instead of the quick one'
complete -c d4c-images -n '__d4c_images_runs check' -l ledger-only -d 'look at no file: the database, its counters, its records; ends with row counts'
complete -c d4c-images -n '__d4c_images_runs check' -l restart -d 'begin anew, not where an earlier check was stopped'
complete -c d4c-images -n '__d4c_images_runs check' -l json -d 'the findings for scripts'
complete -c d4c-images -n '__d4c_images_runs check' -l progress -l no-progress -d 'a live view; by default on a terminal only, in a job log a line now and then'

complete -c d4c-images -n __d4c_images_no_command -a placeholders -d 'Find pictures that stand for images which are not there: the same bytes for many records of one host'
complete -c d4c-images -n '__d4c_images_runs placeholders' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l ledger -r -F -d 'the SQLite ledger'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l root -x -a '(__fish_complete_directories)' -d 'the folder that holds the images'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l allow -x -d 'these bytes are no placeholder; may be repeated'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l records -x -d 'records that get the same bytes from one host before these are taken for a placeholder'
complete -c d4c-images -n '__d4c_images_runs placeholders' -l placeholders-file -r -F -d 'placeholders that you know, in TOML'

complete -c d4c-images -n __d4c_images_no_command -a unpack -d 'Copy images out as plain files, from the tar files of --store pack too, and compare their hashes on the way'
complete -c d4c-images -n '__d4c_images_runs unpack' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs unpack' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs unpack' -l ledger -r -F -d 'the SQLite ledger'
complete -c d4c-images -n '__d4c_images_runs unpack' -l root -x -a '(__fish_complete_directories)' -d 'the folder that holds the images'
complete -c d4c-images -n '__d4c_images_runs unpack' -l to -x -a '(__fish_complete_directories)' -d 'the folder for the files; made where it is missing'
complete -c d4c-images -n '__d4c_images_runs unpack' -l gbif-id -x -d 'only this record\'s; may be repeated'
complete -c d4c-images -n '__d4c_images_runs unpack' -l ids -r -F -d 'only the records whose gbifIDs stand in this file, one a line'
complete -c d4c-images -n '__d4c_images_runs unpack' -l json -d 'the summary for scripts'
complete -c d4c-images -n '__d4c_images_runs unpack' -l progress -l no-progress -d 'a live view; by default on a terminal only, in a job log a line now and then'

complete -c d4c-images -n __d4c_images_no_command -a export -d 'Write the list of what is stored: a row for each image of each record, with its file, hash, size, source, licence, creator and the labels that init has taken in'
complete -c d4c-images -n '__d4c_images_runs export' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs export' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs export' -l ledger -r -F -d 'the SQLite ledger'
complete -c d4c-images -n '__d4c_images_runs export; and __d4c_images_at 0' -F
complete -c d4c-images -n '__d4c_images_runs export' -l all-images -d 'instead a row for each image, stored or not, with its status and errors: the columns of the view images'
complete -c d4c-images -n '__d4c_images_runs export' -l failed -d 'instead a row for each image that has failed, likewise'
complete -c d4c-images -n '__d4c_images_runs export' -l json -d 'the summary for scripts'
complete -c d4c-images -n '__d4c_images_runs export' -l progress -l no-progress -d 'a live view; by default on a terminal only, in a job log a line now and then'

complete -c d4c-images -n __d4c_images_no_command -a migrate -d 'Bring a ledger of an older version up to date'
complete -c d4c-images -n '__d4c_images_runs migrate' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs migrate' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs migrate' -l ledger -r -F -d 'the SQLite ledger'
complete -c d4c-images -n '__d4c_images_runs migrate' -l backup -r -F -d 'where to copy the ledger to; by default beside it'
complete -c d4c-images -n '__d4c_images_runs migrate' -l no-backup -d 'make no copy: you have one, or can do without'
complete -c d4c-images -n '__d4c_images_runs migrate' -l progress -l no-progress -d 'a live view; by default on a terminal only, in a job log a line now and then'

complete -c d4c-images -n __d4c_images_no_command -a identify -d 'Say which image a URL is about: the rule that decides, the key, the URLs to try and why'
complete -c d4c-images -n '__d4c_images_runs identify' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs identify' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs identify; and __d4c_images_at 0' -x
complete -c d4c-images -n '__d4c_images_runs identify' -l file -r -F -d 'count what the rules make of a file instead: a download, an archive, any table with a column of URLs, a list of URLs'
complete -c d4c-images -n '__d4c_images_runs identify' -l limit -x -d 'read no more than N rows of the file'
complete -c d4c-images -n '__d4c_images_runs identify' -l verbose -d 'also print each row of the file'
complete -c d4c-images -n '__d4c_images_runs identify' -l json -d 'the same for scripts'

complete -c d4c-images -n __d4c_images_no_command -a job -d 'Print a job script for Grid Engine or Slurm, ready to look at, edit and submit'
complete -c d4c-images -n '__d4c_images_runs job' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs job' -l debug -d 'show where an error comes from'
complete -c d4c-images -n '__d4c_images_runs job; and __d4c_images_at 0' -f -a 'sge slurm'
complete -c d4c-images -n '__d4c_images_runs job; and __d4c_images_at 1' -f -a 'init download coordinator work status check export'
complete -c d4c-images -n '__d4c_images_runs job' -l time -x -d 'the job\'s limit: 12:00:00 or 2d; else what suits the command'
complete -c d4c-images -n '__d4c_images_runs job' -l cores -x -d 'cores on one node; download uses a process for each'
complete -c d4c-images -n '__d4c_images_runs job' -l tasks -x -d 'jobs of the array that \'work\' is'
complete -c d4c-images -n '__d4c_images_runs job' -l name -x -d 'of the job'
complete -c d4c-images -n '__d4c_images_runs job' -l project -x -d 'the project (SGE) or account (Slurm) that pays'
complete -c d4c-images -n '__d4c_images_runs job' -l queue -x -d 'the queue (SGE) or partition (Slurm)'
complete -c d4c-images -n '__d4c_images_runs job' -l mail -x -d 'who is told when the job ends or fails'
complete -c d4c-images -n '__d4c_images_runs job' -l options -x -d 'of the command: --options="--host a.org --limit 9"'

complete -c d4c-images -n __d4c_images_no_command -a notify-test -d 'Send one message to Slack and say whether it arrived'
complete -c d4c-images -n '__d4c_images_runs notify-test' -s h -l help -d 'show this help message and exit'
complete -c d4c-images -n '__d4c_images_runs notify-test' -l debug -d 'show where an error comes from'
