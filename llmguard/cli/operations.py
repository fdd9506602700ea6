"""``llmguard operations``: the table of what each API operation does with data, as a table or as a page of the docs."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from llmguard.model import Operation

HEAD = ("operation", "method", "path", "kind", "body", "streams", "restores from", "grants to", "never rewritten")


@click.command()
@click.argument("name", default="")
@click.option("--markdown", is_flag=True, help="As the page of the documentation.")
def operations(name: str, markdown: bool) -> None:
    """Print the operations that the guard knows, and what becomes of their data.

    NAME shows operations whose name begins so (chat, responses.create), with the slots of their bodies that are never
    rewritten.
    """
    from llmguard.payload.operations import TABLE

    if markdown:
        click.echo(page(), nl=False)
        return
    chosen = [row for row in TABLE if row.name.startswith(name)]
    if not chosen:
        raise click.UsageError(f"no operation begins with {name!r}")
    _show(chosen, HEAD if name else HEAD[:-1])


def _show(rows: list[Operation], head: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=None)
    for row in rows:
        table.add_row(*cells(row)[: len(head)])
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def cells(row: Operation) -> tuple[str, ...]:
    """What there is to say of an operation, in the order of ``HEAD``."""
    from llmguard.payload import limits

    described = limits.described(row.path)
    key = f"{row.method} {described}"
    kind = f"{row.kind}, drawn or spoken" if row.rendered else row.kind
    return (
        row.name,
        row.method,
        row.path,
        kind,
        row.body,
        "yes" if key in limits.data()["streams"] else "",
        ", ".join(f"{scope} ({source})" for scope, source in row.grant_reads),
        ", ".join([*(f"{scope} ({source})" for scope, source in row.grant_writes), *_links(row)]),
        limits.data()["slots"].get(key, ""),
    )


def _links(row: Operation) -> Iterator[str]:
    for pair in row.grant_links:
        (scope, _, source), (of, _, where) = (end.partition(":") for end in pair)
        yield f"{scope} ({source}) of {of}" + (f" ({where})" if where else "")


def page() -> str:
    """The page of the documentation."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    from llmguard.payload import limits, operations, slots

    yield "# Operations\n"
    yield f"What becomes of the data of every operation ({limits.data()['source']}). `llmguard operations` prints it.\n"
    yield from _RULES
    yield f"\nNever rewritten, because another value would break the call: `{'`, `'.join(sorted(slots.FRAGILE))}`,"
    yield "and ids (`id`, `…_id`, `…_ids`). What is found there makes the call wait or be refused.\n"
    for kind in ("inference", "stored", "training", "administration"):
        yield f"## {kind.capitalize()}\n"
        yield f"{_KINDS[kind]}\n"
        yield "| " + " | ".join(HEAD[:3] + HEAD[4:8]) + " |"
        yield "|---" * 7 + "|"
        for row in operations.TABLE:
            if row.kind == kind:
                found = cells(row)
                path = found[2] + (" (drawn or spoken)" if row.rendered else "")
                shown = (f"`{found[0]}`", found[1], path.replace("**", "…"), *found[4:8])
                yield "| " + " | ".join(shown) + " |"
        yield ""


_KINDS = {
    "inference": "Read to answer, and not kept but where the caller asks for it.",
    "stored": "Kept at the provider until it is deleted.",
    "training": "Ends in a model, which may repeat it to anybody.",
    "administration": "Changes accounts and rights, or hands out credentials that lead around the guard (realtime, "
    "ChatKit). Blocked, unless a rule of your policy allows it: `examples/conformance.toml` allows everything.",
}
_RULES = (
    "Every string, key and number of nine digits or more is looked at, but for words of the API and values of the",
    "expected shape in structural slots. JSON in strings, data URLs and base64 files of text, and lists of token ids",
    "are decoded, redacted and encoded again. Pictures, sound, other files, what the provider encrypted, tokens of an",
    "unknown model and JSON nested deeper than six strings are `unscanned.KIND`, on which the policy decides. A",
    "credential for a tool's server (MCP `authorization` and `headers`) is never rewritten; it is found as",
    "`MCP_CREDENTIAL` and counted.",
    "",
    "An edited body fits its schema as it did before: where a slot has a longest length or a pattern, a placeholder",
    "goes without its brackets if that fits and comes back, and otherwise the call waits. Keys and values of",
    "`metadata` keep to 64 and 512 characters. File names keep their extension. Numbers are never rewritten. Types",
    "never change.",
    "",
    "*Restores from* is what a request refers to, whose placeholders its answer may restore; *grants to* is what the",
    "answer names, under which they can be restored later; *of* the call itself, or of what was stored before it: a",
    "batch's output file has the placeholders of the batch, which has those of its input file.",
)
