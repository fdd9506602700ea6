"""Data sets: whole files cleaned, with all cores, so that they can be killed at any moment and go on.

``sanitize`` is the way in. It drives ``llmguard.sifting`` and has no way of cleaning of its own.
"""
