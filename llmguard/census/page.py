"""The report of a data set as one HTML file: pictures, tables and the sample; light and dark, on paper, no script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from llmguard.census import alike, pictures
from llmguard.census.bounds import Bound
from llmguard.census.census import Sampled
from llmguard.census.lowest import Estimate
from llmguard.census.report import Group, Report
from llmguard.census.strings import LEAST
from llmguard.census.told import between, brief, percent, rough, size, told, typed
from llmguard.facts import MAX_KEPT
from llmguard.paper import head, text
from llmguard.risk.words import named

_DRAWN = 18
"""Types that are drawn; the table has all."""
_STYLE = (
    pictures.STYLE
    + """
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.6rem;margin:1.2rem 0;padding:0}
@media(min-width:600px){.facts{grid-template-columns:repeat(4,1fr)}}
.facts div{border:1px solid var(--line);border-radius:6px;padding:.5rem .7rem}
.facts dt{color:var(--soft);font-size:.85rem}.facts dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}
.facts dd small{display:block;font-size:.8rem;color:var(--soft)}
.pairs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 2.5rem}
.scroll{overflow-x:auto}.scroll td,.scroll th{overflow-wrap:normal}details{margin:.5rem 0}summary{cursor:pointer}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border-left:3px solid var(--line);padding:.3rem .8rem;margin:.4rem 0}
pre{font-size:.82rem}
@media(max-width:599px){.scroll table{font-size:.82rem}.scroll td,.scroll th{padding:.3rem .3rem}
.scroll th.n{white-space:normal}}
@media print{body{margin:0;max-width:none;font-size:10.5pt}h2{break-after:avoid}section,tr,.facts{break-inside:avoid}
details{display:none}:root{--ink:#000;--soft:#444;--paper:#fff;--line:#bbb;--bar:#0b6bcb;--warn:#b3261e}}
"""
)
_STRATA = {"clean": "nothing found", "bad": "could not be read"}
_HOW = (
    "Figures with “about” or ≈ are estimates; ± is two standard errors. The same data set gives the same report, on any"
    " number of machines."
)
_LOGARITHMIC = "heights are logarithmic"


def page(report: Report, *, sample: bool) -> str:
    """The whole document; ``sample``: with the records that were drawn for a reviewer."""
    sizes = f"{report.layout}, {report.records:,} {report.unit}s, {size(report.received)}"
    pieces = [
        *head(f"Risk of the data set {report.name}", _STYLE),
        pictures.PATTERNS,
        f"<main><h1>Risk of a data set</h1><p class='soft'>{text(report.name)} · {text(sizes)}</p>",
        f'<p class="lead">{text(told(report))}</p>',
        _facts(report),
    ]
    if report.records:
        pairs = (_people(report), _values(report), _copies(report), _near(report), _tokens(report))
        pieces += [_types(report), _strata(report), f'<div class="pairs">{"".join(pairs)}</div>', _strings(report)]
        pieces += [_residual(report), _risk(report), _problems(report)]
        pieces += [_sample(report)] if sample and report.sample else []
    pieces.append(f"<p class='soft'>{text(_HOW)} llmguard {text(report.version)}</p></main></html>")
    return "\n".join(p for p in pieces if p) + "\n"


def _facts(report: Report) -> str:
    people, copies, strings = report.people, report.copies, report.strings
    rows = [
        (f"{report.unit}s", f"{report.records:,}", f"{report.gone:,} do not leave" if report.gone else "all leave"),
        ("size", size(report.received), f"{size(report.leaving)} leave"),
        ("tokens", brief(report.tokens.total), "estimated" if report.tokens.total.error else "counted"),
        ("findings", f"{report.findings:,}", f"of {len(report.types)} types"),
        ("people, at least", brief(people.distinct), f"at most {people.most:,} in one {report.unit}"),
        ("copies", brief(copies.surplus), f"{brief(copies.distinct)} distinct {report.unit}s"),
        ("canary-like strings", brief(strings.repeated), f"repeat; {brief(strings.alone)} more stand alone"),
    ]
    if report.risk:
        rows.append(("risk", f"{report.risk.inherent} → {report.risk.residual}", "as written → as it leaves"))
    cells = "".join(f"<div><dt>{text(n)}</dt><dd>{text(v)}<small>{text(s)}</small></dd></div>" for n, v, s in rows)
    return f'<dl class="facts">{cells}</dl>'


# --------------------------------------------------------------------------- pictures


def _types(report: Report) -> str:
    if not report.types:
        return ""
    rows = [
        (typed(t.type), float(t.findings), f"{t.findings:,} · {brief(t.values)} distinct · {t.severity}")
        for t in report.types[:_DRAWN]
    ]
    caption = "How often something of a type was found, the worst first."
    cells = [
        (typed(t.type), t.category, t.severity, f"{t.findings:,}", str(t.values), between(t.most)) for t in report.types
    ]
    columns = ("Type", "Category", "Severity", "n:Findings", "n:Distinct values", "n:The most frequent")
    table = _more("All types", _table(columns, cells))
    return _figure("Findings by type", pictures.bars("findings by type", rows), caption) + table


def _strata(report: Report) -> str:
    unit, present = report.unit, [s for s in report.strata if s.records]
    rows = [
        (_STRATA.get(s.name, s.name), float(s.records), f"{s.records:,} ({percent(s.records / report.records)})")
        for s in present
    ]
    caption = f"{unit.capitalize()}s by the worst that was found in them."
    figures = _figure(f"{unit.capitalize()}s", pictures.bars(f"{unit}s by what was found", rows), caption)
    stacked = []
    for s in present:
        values = [g.count.value for g in s.findings]
        if sum(values):
            stacked.append((s.name, values, f"{sum(values):,} in {s.records:,} {unit}s"))
    if not stacked:
        return figures
    picture = pictures.stacks("severity of findings by stratum", stacked, ("low", "medium", "high", "critical"))
    caption = f"Findings by severity, in {unit}s whose worst finding is of the severity named at the left."
    return figures + _figure("Severity", picture, caption)


def _people(report: Report) -> str:
    people, unit = report.people, report.unit
    if not people.distinct.value:
        return ""
    caption = (
        f"{unit.capitalize()}s by how many people can be told apart in them; {_LOGARITHMIC}. In all at least "
        f"{people.distinct} people, by distinct {named(people.type, 2)}."
    )
    picture = pictures.columns("people per record", _trimmed(people.records), logarithmic=True)
    return _figure(f"People in a {unit}", picture, caption)


def _values(report: Report) -> str:
    if not report.types:
        return ""
    totals: Counter[str] = Counter()
    for t in report.types:
        totals.update({g.name: g.count.value for g in t.repeats})
    groups = [
        Group(g.name, Estimate(totals[g.name], max(t.values.error for t in report.types)))
        for g in report.types[0].repeats
    ]
    top = max(report.types, key=lambda t: (t.most[1], t.type))
    caption = (
        f"Distinct values by how often they come; {_LOGARITHMIC}. The most frequent one is among the "
        f"{named(top.type, 2)}: {between(top.most)} times. Fine-tuning on repeated sensitive data raised what models "
        "leak of it from 0-5 % to 60-75 % (arXiv 2508.14062)."
    )
    return _figure("Repeated values", pictures.columns("values by times", _trimmed(groups), logarithmic=True), caption)


def _copies(report: Report) -> str:
    unit, copies = report.unit, report.copies
    caption = (
        f"Distinct {unit}s by how often they come, text by text equal; {_LOGARITHMIC}. The most frequent one comes "
        f"{between(copies.most)} times."
    )
    picture = pictures.columns(f"distinct {unit}s by times", _trimmed(copies.groups), logarithmic=True)
    return _figure("Copies", picture, caption)


def _near(report: Report) -> str:
    unit, near = report.unit, report.alike
    if not near.installed:
        words = f"Nearly equal {unit}s were not looked for: {alike.INSTALL}"
        return f"<section><h2>Nearly equal</h2><p>{text(words)}</p></section>"
    if near.looked >= report.copies.distinct.value:
        how = f"All {near.looked:,} distinct {unit}s were compared, without system prompts."
    else:
        how = (
            f"{near.looked:,} of {rough(report.copies.distinct)} distinct {unit}s, drawn at random, were compared, "
            "without system prompts."
        )
    if not near.records:
        return f"<section><h2>Nearly equal</h2><p>{text(how)} None of them nearly equals another.</p></section>"
    caption = (
        f"Clusters of {unit}s that share at least {near.threshold:.0%} of their words, by size; {_LOGARITHMIC}. {how} "
        f"{near.records:,} have such a neighbour; the largest cluster has {near.largest:,}. In the whole data set that "
        f"makes {near.pairs} pairs."
    )
    picture = pictures.columns("clusters by size", _trimmed(near.clusters), logarithmic=True)
    return _figure("Nearly equal", picture, caption)


def _tokens(report: Report) -> str:
    tokens, unit = report.tokens, report.unit
    if not tokens.counted:
        return ""
    how = f"from a sample of {tokens.counted:,}" if tokens.total.error else "all counted"
    caption = (
        f"{unit.capitalize()}s by tokens ({tokens.encoding}, {how}), without what a chat format adds. Half have at "
        f"most {tokens.median:,}, the longest of them {tokens.largest:,}; {tokens.total} in all."
    )
    return _figure(f"Tokens in a {unit}", pictures.columns("records by tokens", _trimmed(tokens.groups)), caption)


# --------------------------------------------------------------------------- words and tables


def _strings(report: Report) -> str:
    found = report.strings
    if not found.distinct.value:
        return ""
    kinds = ", ".join(f"{brief(k.count)} {k.name}" for k in found.kinds)
    words = (
        f"Strings of at least {LEAST} characters that look drawn by a machine and belong to no finding: "
        f"{found.distinct} ({kinds}). Of these {found.repeated} come back and {found.alone} stand alone as a whole "
        "text. Models learn such by heart (Carlini et al., The Secret Sharer, 2019). They are not replaced: look at "
        "where they stand."
    )
    cells = [
        (d.kind, f"{d.length}", f"{d.times:,}", "yes" if d.alone else "no", f"{d.source} {d.record + 1:,}".strip())
        for d in found.told
    ]
    columns = ("Kind", "n:Characters", "n:Times", "A whole text", f"n:First {report.unit}")
    return f"<h2>Canary-like strings</h2><p>{text(words)}</p>{_table(columns, cells) if cells else ''}"


def _residual(report: Report) -> str:
    title, unit = "<h2>What may have been missed</h2>", report.unit
    if not report.residual:
        kept = sum(s.sampled for s in report.strata if s.leaving)
        words = (
            f"Nobody has looked at the sample yet ({kept:,} {unit}s as they leave). If a reviewer finds nothing in n "
            "of a kind, at most 3/n of that kind still have something in them, at 95 % confidence."
        )
        return f"{title}<p>{text(words)}</p>"
    *each, whole = report.residual
    cells = [_bounded(b, _STRATA.get(b.stratum, b.stratum)) for b in each] + [_bounded(whole, "all")]
    columns = (f"{unit.capitalize()}s", "n:That leave", "n:Looked at", "n:With a miss", "n:At most", "n:Share", "n:3/n")
    words = (
        f"At {whole.confidence:.0%} confidence at most {whole.most:,} of {whole.records:,} {unit}s that leave "
        f"({percent(whole.share)}) still hold something that the reviewer would have marked."
    )
    how = (
        "Upper ends of one-sided Clopper-Pearson intervals. The last line holds for all kinds together, so each is "
        "bounded more carefully for it (Bonferroni)."
    )
    return f"{title}<p>{text(words)}</p>{_table(columns, cells)}<p class='soft'>{text(how)}</p>"


def _bounded(b: Bound, name: str) -> tuple[str, ...]:
    rule = percent(b.rule) if b.rule is not None else ""
    return name, f"{b.records:,}", f"{b.looked:,}", f"{b.missed:,}", f"{b.most:,}", percent(b.share), rule


def _risk(report: Report) -> str:
    if not report.risk:
        return ""
    cells = [(r.term, r.text, f"{r.points:.1f}", f"{r.left:.1f}") for r in report.risk.reasons if r.points or r.left]
    table = _table(("Term", "Why", "n:As written", "n:As it leaves"), cells)
    part = f"Assessed from at most {MAX_KEPT:,} of the findings: long before that the scale comes to its end."
    more = f"<p class='soft'>{text(part)}</p>" if report.findings > MAX_KEPT else ""
    return f"<h2>Risk</h2><p>{text(report.risk.summary)}</p>{table}{more}"


def _problems(report: Report) -> str:
    if not report.problems:
        return ""
    cells = [(reason, f"{n:,}") for reason, n in report.problems]
    return f"<h2>Left out</h2>{_table(('Why', f'n:{report.unit.capitalize()}s'), cells)}"


def _sample(report: Report) -> str:
    words = "Drawn at random from each kind, as they leave. What was missed stands in them as it was written."
    pieces = ["<h2>Sample</h2>", f"<p>{text(words)}</p>"]
    for stratum in report.strata:
        shown = sorted((s for s in report.sample if s.stratum == stratum.name), key=lambda s: (s.source, s.record))
        body = "".join(
            f"<p class='soft'>{text(_placed(s, report.unit))}</p><pre>{text(s.text, lines=True)}</pre>" for s in shown
        )
        name = _STRATA.get(stratum.name, stratum.name)
        pieces += [_more(f"{name}: {len(shown):,} of {stratum.records:,}", body)] if shown else []
    return "".join(pieces)


def _placed(s: Sampled, unit: str) -> str:
    """Which one it is, and how much of it is shown."""
    cut = s.text and s.size > 4 * len(s.text)
    more = f", the first {len(s.text):,} characters of {s.size:,} bytes" if cut else ""
    return f"{s.source} {unit} {s.record + 1:,}{more}".strip()


def _trimmed(groups: Sequence[Group]) -> Sequence[Group]:
    """Without the empty groups at both ends."""
    full = [i for i, g in enumerate(groups) if g.count.value]
    return groups[full[0] : full[-1] + 1] if full else groups[:1]


def _figure(title: str, picture: str, caption: str) -> str:
    figure = f"<figure>{picture}<figcaption>{text(caption)}</figcaption></figure>"
    return f"<section><h2>{text(title)}</h2>{figure}</section>"


def _more(title: str, body: str) -> str:
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """``n:`` before a column's name: numbers, at the right."""
    kinds = [" class=n" if c.startswith("n:") else "" for c in columns]
    first = "".join(f"<th{k}>{text(c.removeprefix('n:'))}" for c, k in zip(columns, kinds, strict=True))
    lines = ("".join(f"<td{k}>{text(v)}" for v, k in zip(row, kinds, strict=True)) for row in rows)
    return (
        f'<div class="scroll" tabindex="0"><table><tr>{first}{"".join(f"<tr>{line}" for line in lines)}</table></div>'
    )
