"""Notifications: they carry what happens to approvals to where people are, and buttons back. They never decide.

It owns the tables deliveries, channels, cards, callbacks, links and link_codes, and reads the outbox. What leaves is
types and counts. Invariant: a channel that is down, slow or hostile delays itself alone, and a button is worth exactly
the vote of the person whose account was linked to it.
"""
