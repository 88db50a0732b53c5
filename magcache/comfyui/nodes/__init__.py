"""The nodes. Each only gathers its inputs and hands them on."""
