"""Private data in texts: addresses, numbers and secrets that have a form, found by it.

Own code after a look at what is kept: presidio and scrubadub find names too, with a language model, in
milliseconds per line; phonenumbers takes 2 ms per KB; detect-secrets reads files, line by line, and was
last released in 2024. A name in plain words is not found here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import NamedTuple, get_args

from gateway.core import PrivateKind
from gateway.wire.check_digits import passes_as_issued, passes_iban, passes_luhn

KINDS: tuple[PrivateKind, ...] = get_args(PrivateKind)


class _Detector(NamedTuple):
    """What `pattern` finds, where `may_match`, which is cheaper, allows; `is_valid` checks its digits."""

    kind: PrivateKind
    may_match: Callable[[str], object]
    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool] | None = None
    is_number: bool = False
    """Whether what it finds holds a long number, as _NUMBER finds it."""


def find_kind(text: str, kinds: Collection[PrivateKind]) -> PrivateKind | None:
    """Return a kind of private data that is in `text`, of `kinds`; None if there is none."""
    text = _fold(text)
    has_number = _NUMBER(text)
    for detector in _DETECTORS:
        if detector.kind in kinds and (has_number or not detector.is_number) and detector.may_match(text):
            for match in detector.pattern.finditer(text):
                if _find_valid(match[0], detector.is_valid):
                    return detector.kind
    return None


def redact(text: str, kinds: Collection[PrivateKind]) -> str:
    """Return `text` with each piece of private data of `kinds` replaced by its kind, as `[email]`."""
    plain = _fold(text)
    has_number = _NUMBER(plain)
    for detector in _DETECTORS:
        if detector.kind in kinds and (has_number or not detector.is_number) and detector.may_match(plain):
            if plain is text:
                replacement = _Replacement(detector.kind, detector.is_valid)
                text = plain = detector.pattern.sub(replacement.replace, text)
            else:
                text, plain = _replace_in_both(text, plain, detector)
    return text


def _fold(text: str) -> str:
    """Return `text` with each sign of typesetting as a keyboard has it; itself if there is none."""
    return text.translate(_TYPED) if not text.isascii() and _TYPESET(text) else text


def _replace_in_both(text: str, plain: str, detector: _Detector) -> tuple[str, str]:
    """Return `text` and its folded form `plain` without what the detector finds in the latter."""
    kept: list[tuple[int, int]] = []
    end = 0
    for match in detector.pattern.finditer(plain):
        if place := _find_valid(match[0], detector.is_valid):
            kept.append((end, match.start() + place[0]))
            end = match.start() + place[1]
    told, folded = (
        "".join(f"{one[start:stop]}[{detector.kind}]" for start, stop in kept) + one[end:]
        for one in (text, plain)
    )
    return told, folded


class _Replacement(NamedTuple):
    kind: PrivateKind
    is_valid: Callable[[str], bool] | None

    def replace(self, match: re.Match[str]) -> str:
        found = match[0]
        place = _find_valid(found, self.is_valid)
        return f"{found[: place[0]]}[{self.kind}]{found[place[1] :]}" if place else found


def _find_valid(found: str, is_valid: Callable[[str], bool] | None) -> tuple[int, int] | None:
    """Return the longest part of `found` between its groups that is valid: a date may stand beside a card."""
    if is_valid is None or is_valid(found):
        return 0, len(found)
    groups = [match.span() for match in _GROUP.finditer(found)]
    if len(groups) > _MOST_GROUPS:
        return None
    parts = [(start, end) for start, _ in groups for _, end in groups if end - start >= _SHORTEST]
    parts.sort(key=lambda part: part[0] - part[1])
    return next((part for part in parts if is_valid(found[slice(*part)])), None)


def _secret(literal: str, rest: str) -> _Detector:
    """Return the detector of tokens that begin with `literal`, where a word begins.

    The literal comes first in the pattern: `re` then looks for it as quickly as `in` does.
    """
    start = re.escape(literal)
    pattern = re.compile(f"{start}(?<![A-Za-z0-9]{start}){rest}")
    return _Detector("secret", lambda text: literal in text, pattern)


def _search_digits(source: str) -> Callable[[str], object]:
    """Return the search of a pattern in which 0-9 stands for the digits of any script.

    `re` looks for [0-9] in 6 us per KB, for digits of any script in 80: ASCII is searched for the former.
    """
    plain, wide = re.compile(source).search, re.compile(source.replace("0-9", r"\d")).search
    return lambda text: plain(text) if text.isascii() else wide(text)


def _may_assign_secret(text: str) -> bool:
    lower = text.lower()
    return any(word in lower for word in _SECRET_WORDS)


_SHORTEST = 13
"""Characters of the shortest card or IBAN."""
_MOST_GROUPS = 11
"""An IBAN has nine at most. Without a limit, a page of single digits would take seconds."""
_TYPED = str.maketrans(
    {sign: typed for typed, signs in {
        " ": "\u00a0\u00ad\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
             "\u200b\u200c\u200d\u202f\u2060\u3000\ufeff",
        "-": "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d",
        "@": "\ufe6b\uff20", "+": "\uff0b", ".": "\uff0e", ":": "\uff1a", "(": "\uff08", ")": "\uff09",
    }.items() for sign in signs}
)  # fmt: skip
"""Spaces that do not break or show, hyphens, dashes and wide signs, as copied from pages and documents."""
_TYPESET = re.compile(f"[{''.join(map(chr, _TYPED))}]").search
_GROUP = re.compile(r"[A-Za-z0-9]+")
_SECRET_WORDS = ("api", "secret", "passw", "pwd", "access", "accountkey", "token", "bearer", "authorization")
_NUMBER = _search_digits("[0-9][0-9 .()/-]{5}")
"""The beginning of any card, address, phone or identity number: a text without needs no closer look."""
_BREAK = r"[ -]{0,2}\r?\n[ \t>|]{0,8}"
"""A line end, and what mails and tables begin the next line with."""
_NUMBER_AT_START = _search_digits(r"\n[ \t>|]{0,8}[0-9]")
_AT = r"\s{0,2}[(\[{<]\s?(?:[aA\u00e4\u00c4][tT]|@)\s?[)\]}>]\s{0,2}"
_DOT = r"\s{0,2}[(\[{<]\s?(?:[dD][oO][tT]|\.)\s?[)\]}>]\s{0,2}"
_ANY_DOT = rf"(?:{_DOT}| [dD][oO][tT] |\.)"
# One search per bracket: `re` looks for a literal quickly, for a class of them not.
_BRACKETS = [
    re.compile(rf"{sign}\s?(?:[aA\u00e4\u00c4][tT]|@|[dD][oO][tT]|\.)\s?[)\]}}>]").search
    for sign in (r"\(", r"\[", "{", "<")
]
_PLUS = _search_digits(r"\+[0-9]")
_ABROAD = _search_digits("00(?<![0-9]00)[1-9][0-9]")
_LOCAL_PHONE = _search_digits(r"[0-9]{3}\)?[ .-]{1,2}[0-9]{3}[ .-][0-9]{4}")
_WORD = r"[A-Za-z0-9_-]"
# In this order: what one has replaced, the next does not see. Each `may_match` begins with a digit or a
# literal, which `re` finds quickly; the patterns begin by looking back, which takes it ten times as long.
_DETECTORS = (
    _secret(
        "-----BEGIN ",
        r"[A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----[\s\S]{1,16384}?"
        r"-----END [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----",
    ),
    *(_secret(prefix, _WORD + "{16,200}") for prefix in ("sk-", "sk_", "rk_", "pk_")),  # OpenAI, Stripe
    *(_secret(prefix, r"[A-Z0-9]{16}\b") for prefix in ("AKIA", "ASIA", "AGPA", "AIDA", "AROA")),  # AWS
    *(_secret(f"gh{letter}_", r"[A-Za-z0-9]{36,255}") for letter in "pousr"),  # GitHub
    _secret("github_pat_", r"\w{22,255}"),
    _secret("glpat-", _WORD + "{20,64}"),
    *(_secret(f"xox{letter}-", r"[A-Za-z0-9-]{10,250}") for letter in "abeprs"),  # Slack
    _secret("AIza", _WORD + "{35}"),  # Google
    _secret("ya29.", _WORD + "{20,500}"),
    _secret("hf_", r"[A-Za-z0-9]{30,64}\b"),
    _secret("npm_", r"[A-Za-z0-9]{36}\b"),
    _secret("pypi-", _WORD + "{50,400}"),
    *(_secret(prefix, _WORD + "{20,200}") for prefix in ("gsk_", "xai-", "nvapi-", "pplx-")),  # models
    *(_secret(prefix, r"[A-Za-z0-9-]{20,250}") for prefix in ("xapp-", "dop_v1_", "shpat_")),  # others
    _secret("SG.", rf"{_WORD}{{16,64}}\.{_WORD}{{16,64}}"),
    _secret("eyJ", rf"{_WORD}{{8,4000}}\.eyJ{_WORD}{{8,8000}}\.{_WORD}{{8,1000}}"),  # a JWT
    # The password of a URL.
    _Detector(
        "secret", lambda text: "://" in text, re.compile(r"(?<=://)[^\s:/@]{1,64}:[^\s/@]{1,128}(?=@)")
    ),
    _Detector(
        "secret",
        _may_assign_secret,
        re.compile(
            # By first letters alone `re` rejects most places: 13 us per KB of tickets, where it took 57.
            r"(?=[APSTBapstb])(?:"
            r"(?i:(?:api[ _-]?key|secret(?:[_-]?key)?|passwd|password|pwd|access[_-]?key|accountkey|token)"
            r"['\"]?\s{0,3}[:=]\s{0,3}['\"]?)(?=\S*\d)[^\s'\",;<>]{6,200}"
            r"|(?i:\bbearer\s{1,3})[A-Za-z0-9._~+/-]{16,2000}=*"
            r"|(?i:\bauthorization['\"]?\s{0,3}[:=]\s{0,3}['\"]?(?:basic|token)\s{1,3})[A-Za-z0-9+/=_-]{8,2000})"
        ),
    ),
    _Detector(
        "email",
        # In URLs the sign is encoded.
        lambda text: "@" in text or "%40" in text,
        re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}(?:@|%40)(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![^\W_])"),
    ),
    _Detector(
        "email",
        lambda text: any(search(text) for search in _BRACKETS),
        # Spelled for people. At least one sign in brackets: "shop at example dot com" is no address.
        re.compile(
            rf"(?<![\w.%+-])[\w.%+-]{{1,64}}(?:{_AT}[\w-]{{1,63}}{_ANY_DOT}|@[\w-]{{1,63}}{_DOT})"
            rf"(?:[\w-]{{1,63}}{_ANY_DOT}){{0,7}}[^\W\d_]{{2,24}}(?![^\W_])"
        ),
    ),
    _Detector(
        "iban",
        _search_digits("[0-9][0-9][ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{4}"),
        re.compile(
            r"\b(?:[A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}|(?:[ -][A-Z0-9]{4}){2,7}(?:[ -][A-Z0-9]{1,3})?)"
            r"|[a-z]{2}\d{2}(?:[a-z0-9]{11,30}|(?:[ -][a-z0-9]{4}){2,7}(?:[ -][a-z0-9]{1,3})?))"
            r"(?![A-Za-z0-9])"
        ),
        passes_iban,
    ),
    _Detector(
        "card",
        _search_digits("[0-9][0-9 ./-]{12}"),
        re.compile(
            r"(?<!\d)(?<!\d\.)(?:\d(?:[ -]?\d){12,18}"
            r"|\d{4}(?P<between>[./]| {2,3})(?:\d{4}(?P=between)){2}\d{4})(?![\d.]?\d)"
        ),
        passes_luhn,
        is_number=True,
    ),
    _Detector(
        "card",
        _NUMBER_AT_START,
        # One line end, in groups of four (Amex: 4, 6, 5), or behind a word: columns of numbers stay.
        re.compile(
            rf"\d(?<!\d.)(?<!\d[ -].)(?:\d{{3}}(?:{_BREAK}\d{{4}}(?P<a>[ -])\d{{4}}(?P=a)\d{{4}}"
            rf"|(?P<b>[ -])\d{{4}}(?:{_BREAK}\d{{4}}(?P=b)\d{{4}}|(?P=b)\d{{4}}{_BREAK}\d{{4}}))"
            rf"|(?<=3)[47]\d\d(?:{_BREAK}\d{{6}}[ -]\d{{5}}|[ -]\d{{6}}{_BREAK}\d{{5}})"
            rf"|(?<=[2-6])(?:(?<=[^\d\s].)|(?<=[^\d\s] .))\d{{0,17}}{_BREAK}\d{{1,18}})"
            r"(?!\d|[ -]\d{4}(?!\d))"
        ),
        passes_as_issued,
        is_number=True,
    ),
    _Detector(
        "national_id",
        _search_digits("[0-9][ -][0-9]{2}[ -][0-9]{4}"),
        # With spaces three numbers of a table look like it: none may stand beside it, and all rules hold.
        re.compile(
            r"\d\d\d(?<![\d-]...)(?<!000)(?<!9..)(?:-\d{2}-\d{4}(?![\d-])"
            r"|(?<![.,]...)(?<!\d ...)(?<!666) (?!00)\d{2} (?!0000)\d{4}(?![\d-]| ?\d|[.,]\d))"
        ),
        is_number=True,
    ),
    _Detector(
        "ip",
        _search_digits(r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"),
        re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]?\d)"),
        lambda text: all(int(part) <= 255 for part in text.split(".")),
        is_number=True,
    ),
    _Detector(
        "ip",
        lambda text: "::" in text or text.count(":") >= 7,
        re.compile(
            r"(?<![\w:])(?:(?:[0-9a-fA-F]{1,4}:){7}|(?:[0-9a-fA-F]{1,4}:){1,6}:(?:[0-9a-fA-F]{1,4}:){0,5})"
            r"[0-9a-fA-F]{1,4}(?![\w:])"
        ),
    ),
    _Detector(
        "phone",
        lambda text: _PLUS(text) or _ABROAD(text) or _LOCAL_PHONE(text),
        re.compile(
            r"(?<![\w.])(?<!\d )(?:\+|00(?=[1-9]))\d{1,3}[ .()/-]{0,3}\d(?:[ .()/-]{0,2}\d){6,12}(?!\d)"
            r"|(?<![\w.])\(?\d{3}\)?[ .-]{1,2}\d{3}[ .-]\d{4}(?![\w-])"
        ),
        is_number=True,
    ),
)
