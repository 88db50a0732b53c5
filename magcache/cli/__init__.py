"""The command line: `magcache`."""
