"""Benchmarks: ``python -m benchmarks NAME``. Peers and ourselves in one run, on the same texts."""
