"""Networks of other frameworks as float graphs: one adapter for each format, `from_*`, and its parts."""
