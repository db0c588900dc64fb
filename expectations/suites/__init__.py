"""One file a table. `meta.then` says what follows from a failure: `quarantine` the rows, `stop` the partition, or `count`."""
