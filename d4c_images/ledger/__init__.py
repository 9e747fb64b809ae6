"""The only SQL in the program: tables, lending and settling, roll-up, and read-only questions. Fetches nothing.

`file`       the database as a file: schema, versions, connections, who may write, copies
`admission`  rows of sources become images, records and links
`queue`      images on their way: lent, settled, refetched, given up; and the state of the hosts
`rows`       shared by admission and queue: counts, roll-up, names, variants
`questions`  read-only queries
"""
