"""What tests and demonstrations are made of: an echoing upstream, generated identities, a guard on loopback."""

from llmguard.testing.fakes import Fakes
from llmguard.testing.local import LocalGuard
from llmguard.testing.upstream import EchoUpstream, Received

__all__ = ["EchoUpstream", "Fakes", "LocalGuard", "Received"]
