"""Inclusion proofs for the eye: the way of hashes from an entry to the root that a checkpoint signs.

It computes each hash anew (RFC 9162 §2.1.3.2), so that what is drawn is what was verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from llmguard.audit import merkle
from llmguard.inbox.charts import svg

WIDTH, ROW = 340, 56
_BOX = 128


@dataclass(frozen=True, slots=True)
class Step:
    """One level: the hash so far, its sibling from the proof, and what both make. ``left``: the sibling stands left."""

    found: bytes
    sibling: bytes
    left: bool
    makes: bytes


def steps(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> list[Step]:
    """From the leaf's bytes up to the root. A proof that is too long or too short ends elsewhere than at the root."""
    walked: list[Step] = []
    fn, sn, found = index, size - 1, merkle.leaf_hash(leaf)
    for sibling in proof[:64]:
        left = bool(fn & 1) or fn == sn
        makes = merkle.node_hash(sibling, found) if left else merkle.node_hash(found, sibling)
        walked.append(Step(found, sibling, left, makes))
        if left:
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        fn, sn, found = fn >> 1, sn >> 1, makes
    return walked


def drawn(walked: Sequence[Step], leaf: bytes, index: int) -> Markup:
    """The root above, the entry below, and beside each hash its sibling."""
    root = walked[-1].makes if walked else merkle.leaf_hash(leaf)
    pieces = [_box(WIDTH / 2, 2, "root", root, "root")]
    for level, step in enumerate(reversed(walked)):
        y = (level + 1) * ROW + 2
        last = level == len(walked) - 1
        mine, other = (WIDTH * 0.75, WIDTH * 0.25) if step.left else (WIDTH * 0.25, WIDTH * 0.75)
        above = WIDTH / 2 if level == 0 else _middle(walked[len(walked) - level])
        for x in (mine, other):
            pieces.append(
                Markup('<path class="link" fill="none" d="M{} {}V{}H{}V{}"/>').format(
                    f"{x:g}", y, y - 9, f"{above:g}", y - 18
                )
            )
        pieces.append(_box(other, y, "from the proof", step.sibling, "other"))
        pieces.append(_box(mine, y, f"entry {index:,}" if last else "computed", step.found, "mine"))
    return svg((len(walked) + 1) * ROW - 14, Markup("").join(pieces), WIDTH)


def _middle(above: Step) -> float:
    return WIDTH * 0.75 if above.left else WIDTH * 0.25


def _box(x: float, y: float, word: str, hash_: bytes, kind: str) -> Markup:
    left = min(max(x - _BOX / 2, 1), WIDTH - _BOX - 1)
    return Markup(
        '<rect class="node {}" x="{}" y="{}" width="{}" height="38" rx="5"/>'
        '<text class="faint" x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text class="hash" x="{}" y="{}" text-anchor="middle">{}</text>'
    ).format(kind, f"{left:g}", y, _BOX, f"{x:g}", y + 15, word, f"{x:g}", y + 30, f"{hash_.hex()[:12]}…")
