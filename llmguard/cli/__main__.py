"""``python -m llmguard.cli``."""

from llmguard.cli import main

main()
