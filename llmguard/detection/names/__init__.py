"""Names of people and addresses, by a token classifier and the grammar of addresses. ``Names`` is the entry.

A text is planned (which windows can hold a name at all), each window is read by the model, and what was read is
concluded into findings. The three steps are apart, so that windows of many callers can take turns.
"""

from llmguard.detection.names.model import INSTALL, available
from llmguard.detection.names.recognizer import DETECTORS, Names, Reading

__all__ = ["DETECTORS", "INSTALL", "Names", "Reading", "available"]
