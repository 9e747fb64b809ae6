"""A campaign of disk faults: every call of every command that writes fails once, with everything that it can fail with."""
