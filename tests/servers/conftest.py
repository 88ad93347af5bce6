"""These tests start real servers: they are collected where `--servers` is given, as `make test-servers` does."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if collection_path.name.startswith("test_") and not config.getoption("--servers"):
        return True
    return None
