"""Exchanges on loopback, in their own protocols: played back from captures, or simulated without end, with faults."""

from aggregator.sandbox.server import Sandbox
from aggregator.sandbox.settings import SandboxSettings, read_faults, read_hostile

__all__ = ["Sandbox", "SandboxSettings", "read_faults", "read_hostile"]
