"""Bodies: JSON values that fit a schema, made at random and fast, and the places in them where text may stand.

Owns what an unsuspicious value of each kind looks like: prose, code, JSON as text, ids, links, pictures. Nothing in it
is anybody's. ``Slot`` names a place that takes other text without breaking the schema.
"""

from __future__ import annotations

import base64
import json
import re
import string
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from benchmarks.egress.description import Description, Schema

DEPTH = 7
"""Levels below which a value gets as small as it can."""
SLOTS = 60
"""Places after which a value gets as small as it can."""

SlotKind = Literal["text", "number", "map", "open", "tokens", "file", "upload"]

WORDS: tuple[str, ...] = tuple(
    re.findall(
        r"\w+",
        """
    the team plans more work for next year because customers ask about delivery and support while our partners wait
    please read this report then write a short summary of what changed in each region with reasons and open questions
    weather garden kitchen river mountain bicycle train ticket recipe onion pepper bread music guitar drum concert
    compare two offers explain how sorting works translate into plain language list pros cons suggest better titles
    """,
    )
)
_CODE = (
    "def total(rows):\n    return sum(r.price * r.count for r in rows)\n",
    "SELECT region, sum(amount) FROM orders GROUP BY region ORDER BY 2 DESC;",
    "for (let i = 0; i < items.length; i++) { console.log(items[i].title); }",
    "```python\nimport math\nprint(math.sqrt(2))\n```",
    "<ul class=\"menu\"><li><a href='/about'>About</a></li></ul>",
    "| region | count |\n|---|---:|\n| north | 12 |\n| south | 7 |",
)
_PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1x1 PNG
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-5.2", "o4-mini", "gpt-4.1-2025-04-14", "text-embedding-3-small", "gpt-image-1")
_IDS = {
    "response": "resp_",
    "previous_response": "resp_",
    "conversation": "conv_",
    "thread": "thread_",
    "run": "run_",
    "step": "step_",
    "message": "msg_",
    "assistant": "asst_",
    "file": "file-",
    "input_file": "file-",
    "training_file": "file-",
    "validation_file": "file-",
    "batch": "batch_",
    "vector_store": "vs_",
    "fine_tuning_job": "ftjob-",
    "completion": "chatcmpl-",
    "eval": "eval_",
    "upload": "upload_",
    "part": "part_",
    "container": "cntr_",
    "skill": "skill_",
    "video": "video_",
    "project": "proj_",
    "call": "call_",
    "tool_call": "call_",
    "item": "item_",
    "user": "user-",
    "api_key": "key_",
    "group": "group_",
    "role": "role_",
    "certificate": "cert_",
    "invite": "invite-",
    "session": "sess_",
    "consent": "cons_",
    "workflow": "wf_",
}
_TEXTS_OF_JSON = frozenset(("arguments", "output"))
_SCHEMAS = frozenset(("parameters", "schema", "input_schema", "item_schema", "output_schema"))
SECRET = re.compile(r"(?i)authorization|password|secret|(?:^|_)token$|api_key$|^headers$")
"""Names of properties whose honest value is a secret: left out of what is meant to be clean, where that is allowed."""


@dataclass(frozen=True, slots=True)
class Slot:
    """``holder[at]`` takes other text (``text``), digits (``number``) or tokens of a text (``tokens``).

    ``file``: a file in base64; ``upload``: a file of a form. ``map``: ``holder`` takes any keys; ``open``: more keys
    than its own. ``name`` is the nearest key above, ``longest`` the characters that fit, ``pattern`` what they have to
    match.
    """

    kind: SlotKind
    holder: Any
    at: Any
    name: str
    address: str
    longest: int = 1 << 20
    pattern: str = ""

    @property
    def is_id(self) -> bool:
        return self.name == "id" or self.name.endswith(("_id", "_ids"))


class Bodies:
    """Values of one call. ``slots`` grows as they are made. ``clean``: nothing that is a secret by its name."""

    def __init__(self, description: Description, random: Random, *, clean: bool = False) -> None:
        self.slots: list[Slot] = []
        self._description = description
        self._random = random
        self._clean = clean
        self.form = False
        """Whether it is a form that is made, which has files, and no JSON."""
        self._share = random.choice((0.2, 0.4, 0.6, 0.9))
        """Of the optional properties, how many are there."""

    def value(self, schema: Any) -> Any:
        """A value that fits."""
        root: list[Any] = [None]
        self._put(root, 0, schema, 0, "", "")
        return root[0]

    def _put(self, holder: Any, at: Any, schema: Any, depth: int, name: str, address: str) -> None:
        merged = self._branch(self._description.merged(schema), depth)
        if "const" in merged or "enum" in merged:
            holder[at] = merged["const"] if "const" in merged else self._one(merged["enum"])
            return
        kind = self._kind(merged)
        if kind == "object":
            value: dict[str, Any] = {}
            holder[at] = value
            self._object(value, merged, depth, name, address)
        elif kind == "array":
            items: list[Any] = []
            holder[at] = items
            self._array(items, merged, depth, name, address)
        elif self.form and kind == "string" and merged.get("format") == "binary":
            self.slots.append(Slot("upload", holder, at, name, address))
        elif kind == "string":
            self._string(holder, at, merged, name, address)
        elif kind in ("integer", "number"):
            self._number(holder, at, merged, kind, name, address)
        elif kind == "any":
            self.anything(holder, at, depth, name, address)
        else:
            holder[at] = self._random.random() < 0.5 if kind == "boolean" else None

    def _branch(self, merged: Schema, depth: int) -> Schema:
        while merged["choices"]:
            branches = merged["choices"][0]
            picks = [i for i, b in enumerate(branches) if b.get("type") != "null"] or [0]
            nothing = len(picks) < len(branches) and "null" in merged.get("type", "null")
            if nothing and self._random.random() < 0.1:
                pick = next(i for i in range(len(branches)) if i not in picks)
            elif self._small(depth):
                pick = min(picks, key=lambda i: self._description.depth(branches[i]))
            else:
                pick = self._one(picks)
            merged = self._description.chosen(merged, 0, pick)
        return merged

    def _small(self, depth: int) -> bool:
        return depth > DEPTH or len(self.slots) > SLOTS

    def _kind(self, merged: Schema) -> str:
        kind = merged.get("type")
        if isinstance(kind, list):
            kind = self._one([k for k in kind if k != "null"] or ["null"])
        if kind is None:
            kind = (
                "object" if "properties" in merged or "required" in merged else "array" if "items" in merged else "any"
            )
        return str(kind)

    # ----------------------------------------------------------------- objects and arrays

    def _object(self, value: dict[str, Any], merged: Schema, depth: int, name: str, address: str) -> None:
        properties, required = merged.get("properties", {}), merged.get("required", ())
        more = merged.get("additionalProperties", not properties)
        share = 0.0 if self._small(depth) else self._share * (1.0, 0.9, 0.7)[min(depth, 2)]
        for key, child in properties.items():
            if key in required or (self._random.random() < share and not (self._clean and SECRET.search(key))):
                self._put(value, key, child, depth + 1, key, f"{address}/{key}")
        if more is not False and name in _SCHEMAS and not properties:
            value.update(self.json_schema(address))
        elif more is not False and (more or not properties):
            self._map(value, more, merged, depth, address)
        if more is not False:
            kind: SlotKind = "map" if more is True or not properties else "open"
            free = more is True or self._description.merged(more or {}).get("type") in (None, "string")
            if free and len(value) < merged.get("maxProperties", 99):
                self.slots.append(Slot(kind, value, None, name, address, longest=self._longest(more)))

    def _longest(self, schema: Any) -> int:
        longest = self._description.merged(schema).get("maxLength", 1 << 20) if isinstance(schema, dict) else 1 << 20
        return int(longest)

    def _map(self, value: dict[str, Any], more: Any, merged: Schema, depth: int, address: str) -> None:
        most = min(3, merged.get("maxProperties", 3))
        for _ in range(0 if self._small(depth) else self._random.randint(0, most)):
            key = "_".join(self._words(2))
            if more is True:
                self.anything(value, key, depth + 2, key, f"{address}/*")
            else:
                self._put(value, key, more, depth + 1, key, f"{address}/*")

    def _array(self, items: list[Any], merged: Schema, depth: int, name: str, address: str) -> None:
        least, most = merged.get("minItems", 0), merged.get("maxItems", 99)
        count = least if self._small(depth) else self._random.randint(least, max(least, min(most, least + 2)))
        if count == 0 and least == 0 and name in ("input", "messages", "prompt", "content"):
            count = 1
        child = merged.get("items", {})
        if name in ("input", "prompt") and self._description.merged(child).get("type") == "integer":
            items.extend(self._random.randint(0, 50_000) for _ in range(max(count, 5)))
            self.slots.append(Slot("tokens", items, None, name, address))
            return
        for i in range(count):
            items.append(None)
            self._put(items, i, child, depth + 1, name, f"{address}/*")

    def anything(self, holder: Any, at: Any, depth: int, name: str, address: str) -> None:
        """Any JSON."""
        pick = self._random.random()
        if depth > DEPTH or pick < 0.5:
            self._string(holder, at, {}, name, address)
        elif pick < 0.65:
            self._number(holder, at, {}, "number", name, address)
        elif pick < 0.75:
            holder[at] = self._one([True, False, None])
        elif pick < 0.9:
            value: dict[str, Any] = {}
            holder[at] = value
            for _ in range(self._random.randint(1, 2)):
                key = "_".join(self._words(2))
                self.anything(value, key, depth + 1, key, f"{address}/*")
            self.slots.append(Slot("map", value, None, name, address))
        else:
            holder[at] = items = [None, None]
            for i in range(2):
                self.anything(items, i, depth + 1, name, f"{address}/*")

    def json_schema(self, address: str) -> dict[str, Any]:
        """A schema as tools and formats carry it, with text in all the places that it has."""
        properties: dict[str, Any] = {}
        for _ in range(self._random.randint(1, 3)):
            key = "_".join(self._words(self._random.randint(1, 2)))
            below = f"{address}/properties/*"
            child: dict[str, Any] = {"type": "string", "enum": ["", ""], "examples": [""]}
            properties[key] = child
            for name in ("description", "default", "pattern"):
                self._text_slot(child, name, name, f"{below}/{name}")
            for i in range(2):
                self._text_slot(child["enum"], i, "enum", f"{below}/enum")
            self._text_slot(child["examples"], 0, "examples", f"{below}/examples")
            child["pattern"] = "^[a-z]{1,20}$"
        self.slots.append(Slot("map", properties, None, "properties", f"{address}/properties"))
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(properties),
            "additionalProperties": False,
        }

    # ----------------------------------------------------------------- leaves

    def _string(self, holder: Any, at: Any, merged: Schema, name: str, address: str) -> None:
        longest, pattern = merged.get("maxLength", 1 << 20), merged.get("pattern", "")
        binary = self._binary(name, address)
        holder[at] = binary or self._fitting(merged, name, longest, pattern)
        kind: SlotKind = "file" if binary else "text"
        if not binary.startswith("data:image/"):
            self.slots.append(Slot(kind, holder, at, name, address, longest, pattern))

    def _text_slot(self, holder: Any, at: Any, name: str, address: str) -> None:
        holder[at] = self.prose()
        self.slots.append(Slot("text", holder, at, name, address))

    def _binary(self, name: str, address: str) -> str:
        """What eyes and ears take, or the provider's own ciphertext: no place for text."""
        raw = base64.b64encode(self._random.randbytes(60)).decode()
        if name == "encrypted_content" or address.endswith("input_audio/data"):
            return raw
        if name == "file_data":
            return f"data:application/pdf;base64,{raw}"
        if name == "image_url" and self._random.random() < 0.3:
            return f"data:image/png;base64,{_PICTURE}"
        return ""

    def _fitting(self, merged: Schema, name: str, longest: int, pattern: str) -> str:
        if pattern.startswith("^tunnel_"):
            return "tunnel_" + self._some(string.ascii_lowercase, 32)
        if pattern:
            return "_".join(self._words(2))[:longest]
        if merged.get("format") == "date":
            return "2025-03-14"
        text: str = self._link() if merged.get("format") == "uri" else self._plain(name)
        text = text[:longest]
        return text.ljust(merged.get("minLength", 0), "x")

    def _plain(self, name: str) -> str:
        if name == "model" or name.endswith("_model"):
            return str(self._one(MODELS))
        if name == "id" or name.endswith(("_id", "_ids", "_file")):
            return self.id(name)
        if name.endswith(("url", "urls", "uri")):
            return self._link()
        if name in ("name", "key", "server_label", "function"):
            return "_".join(self._words(2))
        if name in _TEXTS_OF_JSON and self._random.random() < 0.7:
            return self.json_text(1)
        return self.prose()

    def id(self, name: str) -> str:
        """An id as the API gives them out: a prefix and 24 or 48 characters."""
        noun = name.removesuffix("_ids").removesuffix("_id")
        prefix = _IDS.get(noun, "")
        if self._random.random() < 0.3:
            return prefix + self._some("0123456789abcdef", 48)
        return prefix + self._some(string.ascii_letters + string.digits, 24)

    def prose(self) -> str:
        """What people write: sentences, code, JSON, a link, letters of other alphabets."""
        pick = self._random.random()
        if pick < 0.08:
            return str(self._one(_CODE))
        if pick < 0.12:
            return self.json_text(1)
        if pick < 0.16:
            return f"see {self._link()} for more"
        if pick < 0.2:
            return "naïve café – „größer“ 数据 🎉\t" + " ".join(self._words(4))
        return " ".join(self._words(self._random.randint(2, 14)))

    def json_text(self, levels: int) -> str:
        """A JSON object as text, with others inside it."""
        value: dict[str, Any] = {key: self._random.randint(0, 999) for key in self._words(2)}
        value["note"] = " ".join(self._words(4)) if levels < 2 else self.json_text(levels - 1)
        return json.dumps(value, indent=self._one([None, None, 2]))

    def _link(self) -> str:
        return f"https://www.example.com/{'/'.join(self._words(2))}?page={self._random.randint(1, 20)}"

    def _number(self, holder: Any, at: Any, merged: Schema, kind: str, name: str, address: str) -> None:
        low = merged.get("minimum", merged.get("exclusiveMinimum", -1) + 1)
        high = merged.get("maximum", merged.get("exclusiveMaximum", 1 << 62) - (kind == "integer"))
        free = high > 10**15
        low = max(low, min(0, high))
        if merged.get("format") == "unixtime":
            holder[at] = 1_700_000_000 + self._random.randint(0, 90_000_000)
        elif kind == "integer":
            holder[at] = self._random.randint(low, min(high, low + 1_000))
        else:
            holder[at] = round(low + self._random.random() * (min(high, low + 10) - low), 3)
        if free:
            self.slots.append(Slot("number", holder, at, name, address))

    # ----------------------------------------------------------------- chance

    def _one(self, choices: Any) -> Any:
        return choices[int(self._random.random() * len(choices))]

    def _words(self, count: int) -> list[str]:
        return [self._one(WORDS) for _ in range(count)]

    def _some(self, alphabet: str, length: int) -> str:
        return "".join(self._random.choices(alphabet, k=length))
