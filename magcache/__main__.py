"""The command `magcache`, also as `python -m magcache`."""

from __future__ import annotations

import sys

from .cli.extras import missing

_CALLED_WRONGLY, _INTERRUPTED = 2, 130
"""Exit statuses: the command cannot be run like this, and Ctrl-C."""


def main() -> None:
    """Run the command line; without the packages that it needs, say how to install them."""
    try:
        from .cli.main import app
    except ModuleNotFoundError as error:
        if str(error.name).startswith("magcache"):
            raise
        sys.stderr.write(f"Error: {missing(error.name, 'cli')}\n")
        sys.exit(_CALLED_WRONGLY)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    app()


if __name__ == "__main__":
    main()
