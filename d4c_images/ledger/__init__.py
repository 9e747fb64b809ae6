"""The only SQL in the program: tables, lending and settling, roll-up, and read-only questions. Fetches nothing.

`file`       the database as a file: schema, versions, connections, who may write, copies
`admission`  rows of sources become images, records and links
`queue`      images on their way: lent, settled, asked for again, given up; and what hosts bear
`rows`       what admission and queue share: counts, roll-up, names, variants
`questions`  what is only read
"""
