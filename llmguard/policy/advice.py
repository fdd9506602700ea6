"""Advice: what the compiler says of a condition, in words that say what to write instead.

It knows the compiler's phrases, and decides nothing: whatever it does not know is told as the compiler told it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

_AT = re.compile(r"<input>:(\d+):(\d+): ")
_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_OVERLOAD = re.compile(r"no matching overload for '(\S+)' applied to '\(([^,)]+), ([^)]+)\)'")
_TOKEN = re.compile(r"token recognition error at: '(.)")
_NOT_CEL = {
    "and": "&&",
    "or": "||",
    "not": "!",
    "True": "true",
    "False": "false",
    "None": 'an empty text: ""',
    "len": "size(…)",
    "count": "size(findings.filter(f, …))",
    "any": "exists(f, …)",
    "some": "exists(f, …)",
    "every": "all(f, …)",
    "exists": "exists(f, f.type == …): a name for each finding first",
    "lower": "text compares as it is: there is no lower case here",
    "upper": "text compares as it is: there is no upper case here",
}
_SIGNS = {"=": "==", "&": "&&", "|": "||", "'": "a closing quote", '"': "a closing quote"}
_COMPARED = {"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"}
_KINDS = {"int": "a whole number", "double": "a number with decimals", "string": "text", "bool": "true or false"}
_TYPES = {
    ("int", "string"): "write the number without quotes",
    ("string", "int"): "write the text in quotes",
    ("string", "double"): "write the text in quotes",
    ("string", "bool"): "write the text in quotes",
    ("bool", "string"): "write true or false without quotes",
    ("bool", "int"): "write true or false",
    ("double", "int"): "write 1.0 for 1",
    ("double", "string"): "write 0.9 without quotes",
    ("int", "double"): "write 70 for 70.0",
}


def told(error: str, source: str, known: Sequence[str], fields: Sequence[str]) -> str:
    """The compiler's first complaint on one line, where it is, and what to write instead if that is plain.

    ``known``: variables; ``fields``: those of a finding.
    """
    lines = [line.strip() for line in error.splitlines() if not line.lstrip().startswith("|")]
    whole = " ".join(" ".join(lines).replace("[INVALID_ARGUMENT]", "").replace("INVALID_ARGUMENT: ERROR:", "").split())
    complaints = [c.strip() for c in whole.split("ERROR: ") if c.strip()]
    better = [(c, _instead(c, source, known, fields)) for c in complaints]
    plain = [(c, i) for c, i in better if i.startswith(("write", "did you mean"))]
    complaint, instead = next(iter((*plain, *((c, i) for c, i in better if i), *better)), (whole, ""))
    where = _AT.search(complaint)
    said = _AT.sub("", complaint).replace(" (in container '')", "").replace("Syntax error: ", "")
    said = said.partition(" expecting {")[0]
    if name := _UNDECLARED.search(said):
        said = f"there is no {name[1]}"
    if (m := _OVERLOAD.search(said)) and m[1] in _COMPARED:
        said = f"{m[1].strip('_')} does not compare {_KINDS.get(m[2], m[2])} with {_KINDS.get(m[3], m[3])}"
    place = f"line {where[1]}, column {where[2]}: " if where else ""
    return f"{place}{said}" + (f"; {instead}" if instead else "")


def near(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or "". Case does not count."""
    folded = {k.casefold(): k for k in known}
    found = difflib.get_close_matches(word.casefold(), folded, 1, 0.6)
    return folded[found[0]] if found else ""


def _instead(complaint: str, source: str, known: Sequence[str], fields: Sequence[str]) -> str:
    if m := _UNDECLARED.search(complaint):
        return _named(m[1], source, known, fields)
    if (m := _OVERLOAD.search(complaint)) and m[1] in _COMPARED:
        return _TYPES.get((m[2], m[3]), "")
    if (m := _OVERLOAD.search(complaint)) and m[1] == "@in":
        return 'write TEXT.contains("…") for a piece of a text, x in [a, b] for one of several'
    if m := _TOKEN.search(complaint):
        return f"write {_SIGNS[m[1]]}" if m[1] in _SIGNS else ""
    if word := next((w for w in ("and", "or", "not") if f"'{w}'" in complaint), ""):
        return f"write {_NOT_CEL[word]}"
    if "mismatched" in complaint and re.search(r"\bnot\s", source):
        return "write !"
    if "exists" not in complaint and re.search(r"mismatched input '\w+' expecting '\)'", complaint) and "(" in source:
        return "a comma is missing: findings.exists(f, f.type == …)" if "findings." in source else ""
    if "'<EOF>'" in complaint:
        return "the condition ends too early"
    return ""


def _named(name: str, source: str, known: Sequence[str], fields: Sequence[str]) -> str:
    head, _, last = name.rpartition(".")
    if name in _NOT_CEL:
        return f"write {_NOT_CEL[name]}"
    roots = sorted({k.partition(".")[0] for k in known})
    if not head and any(k.startswith(f"{name}.") for k in known):
        return f"{name} has {', '.join(k.partition('.')[2] for k in known if k.startswith(f'{name}.'))}"
    if head in roots:
        own = [k for k in known if k.startswith(f"{head}.")]
        meant = near(last, [k.partition(".")[2] for k in own])
        return f"did you mean {head}.{meant}?" if meant else f"{head} has {', '.join(k.partition('.')[2] for k in own)}"
    if head and re.search(rf"findings\s*\.\s*\w+\s*\(\s*{re.escape(head)}\s*,", source):
        meant = near(last, fields) if last not in fields else ""
        return f"did you mean {head}.{meant}?" if meant else f"a finding has {', '.join(fields)}"
    if head and last in fields:
        return f"findings are asked one by one: findings.exists({head}, {name} == …)"
    meant = near(name, [*known, *roots])
    return f"did you mean {meant}?" if meant else f"a condition can read {', '.join(known)}"
