"""Inbox: the pages where people look at what waits and decide, under ``/inbox`` on the control plane.

It is a client of the control plane's own API, in process: each look and each act is a request to ``/guard/v1`` with
the session of the cookie. So it owns no data, knows nothing that the API does not say, and can do nothing that the API
would refuse. A GET changes nothing; every form is a POST of the same origin with a token of its session.
"""

from __future__ import annotations

from llmguard.inbox.app import Inbox, inbox

__all__ = ["Inbox", "inbox"]
