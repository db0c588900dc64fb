"""The thin package that all parts share: settings, partitions, ledger, clients, the command line."""
