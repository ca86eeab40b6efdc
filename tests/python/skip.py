"""Exit status 77 tells ctest that a test could not run here."""

import importlib
import sys

SKIPPED = 77


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def require(*modules):
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            skip(f"Python package {module} is missing ({error})")
