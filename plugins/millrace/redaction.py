"""Takes secrets out of whatever is saved, logged or shown.

Two ways beside each other: the values this stack knows (in every spelling a URL, a header or
a repr gives them), and the shapes secrets have. Every pattern is bounded and stands behind a
plain search for a word it needs, so that 10 MB of output cost seconds.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

REDACTED = "[redacted]"
SHORTEST_SECRET = 6
"""Shorter values are too likely to be ordinary words: they are not replaced everywhere."""

_GAP = r"(?:\s|\x1b\[[0-9;]{0,16}m){0,8}"  # an IPython traceback colours names and signs apart
_NAME = (
    r"(?:password|passwd|passphrase|pwd|secret|api[_-]?key|secret[_-]?key|access[_-]?key"
    r"|private[_-]?key|client[_-]?secret|credentials?|token)"
)
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|pwd|secret|api_?key|secret_?key|access_?key"
    r"|private_?key|client_secret|(?:auth|access|bearer|api|refresh|session|secret|id)_?token"
    r"|credentials?)$|^token$"
)
_ASSIGNMENT = re.compile(
    rf"(?i:(?P<name>{_NAME}))(?P<sign>\\?[\"']?{_GAP}(?::{_GAP}[A-Za-z_][\w.\[\]| ]{{0,40}}?{_GAP}(?==))?"
    rf"(?:=>|:=|=|:)(?!=){_GAP})"
    r"(?:(?P<quote>\\?[\"'])(?P<quoted>[^\"'\n\\]{4,500})(?P=quote)"
    r"|(?P<bare>(?=[A-Za-z._%-]{0,100}[0-9!#$^*+/=~@])[^\s\"',;&<>()\[\]{}\\\x1b]{6,500}))"
)
_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:(?!-----)[\s\S]){0,20000}"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----)?"
)
_URL_PASSWORD = re.compile(
    r"(?P<front>[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/:@\"'<>]{0,256}:)(?P<value>[^\s/\"'<>]{1,256})@"
)

_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (("://",), _URL_PASSWORD, rf"\g<front>{REDACTED}@"),
    (
        ("eyJ",),
        re.compile(r"\beyJ[\w-]{5,4000}\.[\w-]{5,8000}(?:\.[\w-]{0,4000})?"),
        REDACTED,
    ),
    (
        ("earer", "EARER", "asic ", "BASIC"),
        re.compile(
            r"\b(?P<front>[Bb]earer|BEARER|[Bb]asic|BASIC)(?P<gap>\s{1,4})"
            r"(?=[A-Za-z._~+/=-]{0,200}\d)[\w.~+/=-]{12,4000}"
        ),
        rf"\g<front>\g<gap>{REDACTED}",
    ),
    (("sk-",), re.compile(r"\bsk-(?=[A-Za-z_-]{0,200}\d)[\w-]{16,250}"), REDACTED),
    (("gh",), re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,255}"), REDACTED),
    (("github_pat_",), re.compile(r"\bgithub_pat_\w{20,255}"), REDACTED),
    (("glpat-",), re.compile(r"\bglpat-[\w-]{16,255}"), REDACTED),
    (("hf_",), re.compile(r"\bhf_[A-Za-z0-9]{24,255}"), REDACTED),
    (("xox",), re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,255}"), REDACTED),
    (("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),
    (("AIza",), re.compile(r"\bAIza[\w-]{30,60}"), REDACTED),
)
_ASSIGNMENT_WORDS = re.compile(rf"(?i){_NAME}")


class Redactor:
    """Replaces known secrets, and whatever has the shape of one, by `[redacted]`."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._spellings: list[str] = []
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know these values from now on, in all their spellings."""
        found = {s for secret in secrets for s in _spellings(secret)} | set(self._spellings)
        # Longest first: a URL goes as a whole before the password in it does.
        self._spellings = sorted(found, key=lambda s: (-len(s), s))

    def learn_from(self, source: str) -> None:
        """Know the secrets written down in a program, which may print them bare later."""
        self.learn(written_down(source))

    def text(self, text: str) -> str:
        """The text without its secrets; every other character stays."""
        for spelling in self._spellings:
            if spelling in text:
                text = text.replace(spelling, REDACTED)
        if "-----BEGIN" in text:
            text = _PEM.sub(REDACTED, text)
        for needles, pattern, replacement in _SHAPES:
            if any(needle in text for needle in needles):
                text = pattern.sub(replacement, text)
        return _ASSIGNMENT.sub(_without_value, text) if _ASSIGNMENT_WORDS.search(text) else text

    def document(self, value: Any) -> Any:
        """A copy of JSON (a whole notebook, say) with every string and key redacted.

        Image bytes are left alone: they are long, and are not text.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(k)): self._member(str(k), v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        return value

    def _member(self, key: str, value: Any) -> Any:
        if isinstance(value, str) and key.startswith("image/") and key != "image/svg+xml":
            return value
        if isinstance(value, str) and value and is_secret_name(key):
            return REDACTED
        return self.document(value)

    def lines(self) -> LineRedactor:
        """A redactor for one stream of output that arrives in pieces."""
        return LineRedactor(self)


class LineRedactor:
    """Turns pieces of output into whole, redacted lines, as soon as each line is complete.

    A secret split over two writes is put together first; a private key over many lines is
    withheld from its first line to its last.
    """

    LONGEST_LINE = 100_000
    LONGEST_KEY = 400

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._rest = ""
        self._key_lines_left = 0

    def feed(self, piece: str) -> Iterator[str]:
        """The lines that this piece completes."""
        *lines, self._rest = re.split(r"\r\n|\n|\r(?!\Z)", self._rest + piece)
        if len(self._rest) > self.LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], ""
        for line in lines:
            yield from self._redacted(line)

    def flush(self) -> Iterator[str]:
        """What is left when the output has ended."""
        rest, self._rest = self._rest.rstrip("\r"), ""
        if rest:
            yield from self._redacted(rest)

    def _redacted(self, line: str) -> Iterator[str]:
        if self._key_lines_left:
            ended = "-----END" in line
            self._key_lines_left = 0 if ended else self._key_lines_left - 1
            return
        begins = re.search(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----", line)
        if begins and "-----END" not in line:
            self._key_lines_left = self.LONGEST_KEY
        yield self._redactor.text(line)


def is_secret_name(name: str) -> bool:
    """Whether a parameter or key of that name is made to hold a secret (`api_key`, `db_password`)."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_")
    return bool(_SECRET_NAME.search(words.lower()))


def looks_secret(name: str, value: Any) -> bool:
    """Whether a parameter holds a secret, by its name or by the shape of a value in it."""
    if isinstance(value, str):
        return bool(value and is_secret_name(name)) or Redactor().text(value) != value
    if isinstance(value, Mapping):
        return any(looks_secret(str(k), v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return any(looks_secret(name, item) for item in value)
    return False


def written_down(source: str) -> Iterator[str]:
    """Secrets a program spells out: by their names, by their shapes, lines of private keys."""
    for match in _ASSIGNMENT.finditer(source):
        value = match["quoted"] or ""
        if len(value) >= 8 and re.search(r"[^A-Za-z \[\]]", value) and value != REDACTED:
            yield value
    for match in _URL_PASSWORD.finditer(source):
        yield match["value"]
    for _, pattern, replacement in _SHAPES:
        if replacement == REDACTED:
            yield from (match[0] for match in pattern.finditer(source))
    for match in _PEM.finditer(source):
        body = re.split(r"\\n|\s", match[0].replace("\\\n", ""))
        yield from (line for line in body if len(line) >= 24 and "-----" not in line)


def _without_value(match: re.Match[str]) -> str:
    mark = match["quote"] or ""
    value = match["quoted"] or match["bare"] or ""
    return (
        match[0] if value == REDACTED else f"{match['name']}{match['sign']}{mark}{REDACTED}{mark}"
    )


def _spellings(secret: str) -> Iterator[str]:
    """The value as it stands in text, JSON, a repr, a URL, a header; and the password of a URL."""
    if len(secret) < SHORTEST_SECRET:
        return
    yield secret
    yield from (json.dumps(secret)[1:-1], repr(secret)[1:-1])
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield from _inside_base64(secret.encode())
    if "://" in secret and (password := _password_of(secret)):
        yield from _spellings(password)


def _password_of(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:  # not a URL after all: it is replaced as it stands
        return ""


def _inside_base64(secret: bytes) -> Iterator[str]:
    """What base64 of any text with the secret in it must contain, at each of three offsets."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret).rstrip(b"=").decode()
        first = (offset * 8 + 5) // 6  # characters that also hold bits of what stands before
        last = (offset + len(secret)) * 8 // 6
        if last - first >= 8:
            yield encoded[first:last]
            yield encoded[first:last].replace("+", "-").replace("/", "_")
