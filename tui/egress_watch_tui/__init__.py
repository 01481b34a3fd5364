"""The terminal UI: three screens over one database, drawn from frozen snapshots.

In: a database that another process may be writing. Out: a picture in the terminal. Never: a change to the database.

`screens.SCREENS` lists what there is to see; `feed.Feed` is the only door to the database.
"""
