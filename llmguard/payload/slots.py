"""Slots: places of a call whose value is structure, not text, as long as it looks the part.

Owns the shapes. A slot is skipped only when its *value* has the expected shape; a value of any other shape is text
like all text, whatever the name of its slot. Words of the API's own vocabulary say nothing of anybody.
"""

from __future__ import annotations

import re

from llmguard.payload import limits


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OWN_WORDS = _words(
    """
    additional_instructions additional_messages additionalProperties annotations anyOf allOf oneOf arguments
    array assistant assistant_id attachments audio auto background boolean call_id chunking_strategy code
    code_interpreter completed computer_call computer_call_output container content conversation custom
    custom_tool_call custom_tool_call_output dall-e-3 data default defer_loading description detail developer
    dimensions disabled echo effort enabled encoding_format enum ephemeral expires_after extra_body false file
    file_data file_id file_ids file_search filename filters float format frequency_penalty function
    function_call function_call_output functions grammar high id image image_url in_progress include
    include_usage incomplete input input_audio input_file input_file_id input_image input_text instructions
    integer item_reference items json json_object json_schema key language logit_bias logprobs low
    max_completion_tokens max_output_tokens max_prompt_tokens max_results max_tokens max_tool_calls maxLength
    maximum mcp medium message messages metadata minLength minimal minimum modalities model moderation modify n
    name never none null number object output output_text parallel_tool_calls parameters parallelToolCalls
    pattern phrase prediction presence_penalty previous_response_id priority prompt prompt_cache_key
    prompt_cache_retention properties purpose quality query reasoning reasoning_effort refusal rendered required
    response_format role safety_identifier schema search_context_size seed server_label server_url service_tier
    size standard status stop store stream stream_options strict string style suffix summary system temperature
    text text_format thread tool tool_call_id tool_calls tool_choice tool_outputs tool_resources tools top_k
    top_logprobs top_p true truncation type uniqueItems url user value variables vector_store_ids verbosity
    voice web_search web_search_options authorization encrypted_content
    asc desc limit order after before base64 wav mp3 flac opus pcm16 png
    jpeg webp
    """
)
WORDS = _OWN_WORDS | _words(limits.data()["words"])
"""Exact words of the API. A string that is one of them is structure wherever it stands."""
KEYS = WORDS | _words(limits.data()["keys"])
"""Words and names of properties. A key that is one of them is structure."""
KINDS = _words("function json_schema input_audio input_image input_file mcp image_generation_call")
"""Types of objects that say what stands in their slots."""
MAPS = limits.MAPS
SPECIAL = frozenset((*limits.MAPS, "mcp headers"))
"""Keys of objects whose strings are limited, or credentials."""
BINARY = _words("filename file_data data url image_url result encrypted_content authorization")
"""Keys of strings that may be encoded, pictures or sound, or credentials."""

MUTE_LABELS = _words(
    """
    content text input prompt arguments output name description instructions role value data item items message
    messages parts title query
    """
)
"""Keys that say nothing of what their value is about."""

_ID = re.compile(
    r"(?:call|resp|msg|rs|fc|fco|ctc|ctco|ci|ws|fs|mcp|mcpl|mcpr|cu|lsh|ig|item|conv|run|thread|asst|step|batch|ftjob|vs|vsfb"
    r"|cntr|cfile|file|chatcmpl|cmpl|proj|org|upload|part|eval|evalrun|skill|pmpt|req)[-_](?![A-Za-z0-9]*\d{9}|A[KSGR][IO]A|AIza|A3T|gh[a-z]|glpat|sk|xox|eyJ)[A-Za-z0-9]{1,64}"
)
_PREFIX = re.compile(r"[a-z]{1,16}[-_]")
_MARK = re.compile(
    r"(?:AKIA|ASIA|AIza|gh[opsur]_|github_pat_|glpat-|sk-|[srp]k_(?:live|test)_|xox[a-z]-|hf_|npm_|eyJ)[A-Za-z0-9_.-]{12,}"
)
"""How secrets of well-known makers begin: no id of the API goes on so."""
_MODEL = re.compile(
    r"(?:gpt|chatgpt|o[1-9]|text|omni|tts|whisper|dall|davinci|babbage|computer|codex|sora)"
    r"(?:-(?:[a-z]{1,12}|\d{1,2}(?:\.\d{1,2})?[a-z]{0,2}|00\d|\d{1,3}b|\d{4}(?:-\d\d-\d\d)?)){0,8}"
)
_WORD = re.compile(r"[a-z]{1,24}\d{0,3}(?:[_.-](?:[a-z]{1,24}\d{0,3}|\d{1,8})){0,7}")
_VALUE = {
    "role": re.compile(r"user|assistant|system|developer|tool|function|critic|discriminator|unknown"),
    "type": _WORD,
    "object": _WORD,
    "finish_reason": re.compile(r"stop|length|tool_calls|content_filter|function_call"),
    "status": re.compile(r"in_progress|completed|incomplete|failed|cancelled|queued|searching|calling|interpreting"),
    "model": _MODEL,
}
FRAGILE = _words(
    """
    model role type object status finish_reason service_tier tool_choice encoding_format response_format format
    pattern $ref $schema $id server_url previous_response_id conversation voice size quality style purpose
    truncation reasoning_effort effort verbosity detail authorization encrypted_content
    """
)
"""Slots in which another value would break the call."""
_TIMES = _words(
    """
    created created_at expires_at completed_at failed_at cancelled_at started_at
    """
)
_TIME = re.compile(r"[12]\d{9}")

_API_VERSION = re.compile(r"20\d\d-[01]\d-[0-3]\d(?:-preview)?|v\d|latest|preview")
_HEADER_WORD = r"(?:[A-Za-z]{1,20}\d{0,2}|\d{1,6}(?:\.\d{1,6}){0,3})"
_MEDIA = re.compile(
    r"(?!(?:\D*\d){9})[a-z*]{1,12}/[a-z*0-9.+-]{1,40}(?:;\s?(?:q=[01](?:\.\d)?|charset=[a-z0-9-]{2,10}))?"
)
_AGENT = re.compile(
    r"[A-Za-z][A-Za-z_-]{0,30}/(?:[A-Z][A-Za-z]{1,12}|v?\d{1,5}(?:\.\d{1,5}){0,3}(?:[a-z]{1,4}\d{0,3})?)"
)
_VERSION = re.compile(r"v?\d{1,5}(?:\.\d{1,5}){0,3}")
_STAINLESS = re.compile(rf"(?!(?:\D*\d){{9}}){_HEADER_WORD}(?:[:._ -]{_HEADER_WORD}){{0,5}}")
_STAINLESS_NAME = re.compile(r"x-stainless-[a-z]{1,16}(?:-[a-z]{1,16}){0,3}")
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_HEADERS = {
    "openai-beta": re.compile(r"[a-z_-]{1,40}=v\d"),
    "idempotency-key": re.compile(rf"(?:stainless-(?:python|node)-retry-)?{_UUID}"),
    "x-client-request-id": re.compile(_UUID),
    "openai-organization": _ID,
    "openai-project": _ID,
    "traceparent": re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]"),
    "accept-encoding": re.compile(r"[a-z*]{1,8}(?:;q=[01](?:\.\d)?)?(?:, ?[a-z*]{1,8}(?:;q=[01](?:\.\d)?)?){0,6}"),
    "accept-language": re.compile(r"\*|[a-z]{2}(?:-[A-Z]{2})?(?:, ?[a-z]{2}(?:-[A-Z]{2})?(?:;q=0\.\d)?){0,4}"),
}
_LABELS = re.compile(r"[A-Za-z][A-Za-z_ -]{0,63}")


def structural(key: str, text: str) -> bool:
    """Whether the string under ``key`` has the shape of structure, so that it need not be looked at."""
    shape = _VALUE.get(key)
    if shape is not None and shape.fullmatch(text):
        return True
    return is_id_slot(key) and _ID.fullmatch(text) is not None and _MARK.search(text) is None


def behind_prefix(key: str, text: str) -> str:
    """What hides behind the beginning of something in an id's slot that is no id: to a rule, that would hide it."""
    if not is_id_slot(key):
        return ""
    if mark := _MARK.search(text):
        return mark[0]
    match = _PREFIX.match(text)
    return text[match.end() :] if match else ""


def is_id_slot(key: str) -> bool:
    return key == "id" or key.endswith(("_id", "_ids")) or key == "conversation"


def fragile(key: str) -> bool:
    """Whether another value in this slot would break the call: what is found there blocks instead."""
    return key in FRAGILE or is_id_slot(key)


def credential(key: str, parent: str) -> bool:
    """Whether the caller hands a tool's server its credential here (MCP)."""
    return parent == "mcp headers" or (key == "authorization" and parent in ("mcp", "tools"))


def is_time(key: str, lexeme: str) -> bool:
    """Whether a number is the Unix time that its slot promises."""
    return key in _TIMES and _TIME.fullmatch(lexeme) is not None


def plain_parameter(text: str) -> bool:
    """Whether a path or query value is an id, a word of the API, a model or a small number."""
    return (
        text in WORDS
        or (text.isdecimal() and len(text) < 9)
        or _ID.fullmatch(text) is not None
        or _MODEL.fullmatch(text) is not None
    )


def plain_query(name: str, text: str) -> bool:
    """Whether a query parameter's value says only what its name promises."""
    return plain_parameter(text) or (name == "api-version" and _API_VERSION.fullmatch(text) is not None)


def plain_header(name: str, value: str) -> bool:
    """Whether a standard header says only what it always says."""
    if name in ("accept", "content-type"):
        return all(_MEDIA.fullmatch(item.strip()) for item in value.split(","))
    if name == "user-agent":
        first, *rest = value.split(" ")
        return bool(_AGENT.fullmatch(first)) and all(_AGENT.fullmatch(x) or _VERSION.fullmatch(x) for x in rest[:8])
    if name.startswith("x-stainless-"):
        return _STAINLESS.fullmatch(value) is not None
    shape = _HEADERS.get(name)
    return shape is not None and shape.fullmatch(value) is not None


def plain_header_name(name: str) -> bool:
    standard = name in ("accept", "content-type", "user-agent") or name in _HEADERS
    return standard or _STAINLESS_NAME.fullmatch(name) is not None
