"""Nothing planted survives: secrets of every shape and place, names of people and machines, addresses (TRI-13)."""

from __future__ import annotations

import base64
import json
import random
import string
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from midwatch.inspect.report import known
from midwatch.inspect.report.known import Known
from midwatch.inspect.report.scrub import Scrub

ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
MACHINE = Known(
    homes=("/home/marlowe",), users=("marlowe", "bo"), people=("Philip Marlowe-Quist",), hosts=("wyvern-9", "vx"),
    secrets=tuple(form for value in ("s3cr3t-Of-Env", "zz top") for form in known.forms(value)),
)  # fmt: skip


def scrub(text: str, machine: Known = MACHINE) -> str:
    return Scrub(machine).text(text)


def _token(seed: int, kind: str) -> str:
    """A secret as services hand them out."""
    dice = random.Random(seed)

    def some(alphabet: str, count: int) -> str:
        return "".join(dice.choice(alphabet) for _ in range(count))

    raw = bytes(dice.randrange(256) for _ in range(dice.randint(30, 60)))
    return {
        "openai": f"sk-proj-{some(ALNUM, 32)}",
        "anthropic": f"sk-ant-api03-{some(ALNUM + '-_', 40)}7",
        "github": f"ghp_{some(ALNUM, 36)}",
        "slack": f"xoxb-{some(string.digits, 11)}-{some(ALNUM, 24)}",
        "aws": f"AKIA{some(string.ascii_uppercase + string.digits, 16)}",
        "google": f"AIza{some(ALNUM, 35)}",
        "jwt": f"eyJ{some(ALNUM, 20)}.eyJ{some(ALNUM, 30)}.{some(ALNUM, 43)}",
        "hex": some(HEX, dice.choice([32, 40, 64])),
        "uuid": f"{some(HEX, 8)}-{some(HEX, 4)}-4{some(HEX, 3)}-a{some(HEX, 3)}-{some(HEX, 12)}",
        "base64": base64.b64encode(raw).decode(),
        "base64url": base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "nameless": some(ALNUM, dice.randint(32, 48)),
    }[kind]


KINDS = [
    "openai",
    "anthropic",
    "github",
    "slack",
    "aws",
    "google",
    "jwt",
    "hex",
    "uuid",
    "base64",
    "base64url",
    "nameless",
]
WAYS = [
    "{}", "start --flag {} --port 80", "token is {}, says it", "/srv/data/{}/file.txt", "https://h/x?q={}&y=1", "'{}'",
    '{{"a": "{}"}}', "line\n{}\nline", "x={}", "[{}]", "a,{},b", "https://bob:{}@db.corp/x", "curl -H 'X-Api-Key: {}'",
    "env MY_THING={} prog", "\x1b[31m{}\x1b[0m", "err: bad key <{}>.", "pre{}", "{}post", "error{}error",
]  # fmt: skip


@given(st.integers(0, 1 << 32), st.sampled_from(KINDS), st.sampled_from(WAYS), st.text(max_size=20))
def test_tokens_of_every_shape_in_every_place(seed: int, kind: str, way: str, beside: str) -> None:
    """In arguments, environments, logs, paths, URLs, JSON, colours; by form alone, nobody has told us of them."""
    token = _token(seed, kind)
    text = f"{beside}\n{way.format(token)}"
    assert token not in scrub(text)
    assert token not in json.dumps(Scrub(MACHINE).value({"argv": ["x", text], "n": {"deep": [text]}}))


WORDS = st.text(ALNUM + " .,:;-_/=\n", max_size=20)


NAMES = st.sampled_from(["marlowe", "wyvern-9", "Philip Marlowe-Quist"])
BETWEEN = st.sampled_from(["", "\n", "\r\n   ", "\\n", "\x1b[1m", "\u200b"])


@given(NAMES, WORDS, WORDS, st.integers(0, 30), BETWEEN, st.booleans())
def test_names_in_the_middle_of_words_and_over_lines(
    name: str, before: str, after: str, at: int, between: str, shout: bool
) -> None:
    """Glued to other words, in any case, broken by a line's end, a colour, an invisible character."""
    spoken = name.upper() if shout else name
    cut = at % len(name)
    found = scrub(before + spoken[:cut] + between + spoken[cut:] + after)
    squeezed = found.replace("\\n", "").replace("\n", "").replace("\r", "").lower()
    assert name.lower() not in squeezed.replace("   ", "")
    assert name.lower() not in found.lower()


@given(st.text(ALNUM + "!#%&*+-._~", min_size=6, max_size=150), WORDS, WORDS, st.integers(0, 9))
def test_values_of_the_environment_in_any_dress(value: str, before: str, after: str, way: int) -> None:
    """Known values go wherever they stand: inside words, over lines, in base64 at any offset, in hex, in a URL."""
    assume(value.strip("-._~ ") and value not in "[redacted]" and value not in before + after)
    machine = Known(secrets=tuple(known.forms(value)))
    raw = value.encode()
    planted = [
        value, f"x{value}x", value[:3] + "\n" + value[3:], base64.b64encode(raw).decode(), raw.hex(),
        base64.b64encode(b"user:" + raw + b"!").decode(), base64.b64encode(b"ab" + raw).decode(),
        "".join(f"%{ord(char):02X}" if not char.isalnum() and char not in "-._~" else char for char in value),
        json.dumps({"a": value}), f"https://u:{value}@h/",
    ][way]  # fmt: skip
    found = scrub(before + planted + after, machine)
    assert value not in found
    assert value not in found.replace("\n", "")
    if way in (3, 4):
        assert planted.rstrip("=") not in found


@given(st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str), WORDS)
def test_addresses_of_machines(address: str, beside: str) -> None:
    """IPv4 and IPv6, alone, with a port, in a URL; loopback stays, for it is nobody."""
    import ipaddress

    told = ipaddress.ip_address(address)
    assume(not told.is_loopback and not told.is_unspecified)
    host = f"[{address}]" if told.version == 6 else address
    for text in (f"to {address} failed", f"http://{host}:80/x", f"({address})"):
        assert address not in scrub(f"{beside}\n{text}\n{beside}")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/home/marlowe/work/x.py", "~/work/x.py"),
        ("/home/other/work", "/home/USER-1/work"),
        ("/Users/anna/x and /Users/anna/y", "/Users/USER-1/x and /Users/USER-1/y"),
        ("mail jo@firm.example.org now", "mail EMAIL-1 now"),
        ("http://db7.corp.internal:5432/app", "http://HOST-1:5432/app"),
        ("ssh deploy@build7: ok", "ssh deploy@HOST-1: ok"),
        ("host db7.firm.lan is down", "host HOST-1 is down"),
        ("00:1a:2b:3c:4d:5e", "MAC-1"),
        ("bo said bold", "USER-1 said bold"),
        ("on vx, not vxlan", "on HOST-1, not vxlan"),
    ],
)
def test_what_stands_in_their_place(text: str, wanted: str) -> None:
    """The same name, the same word: who talks to whom can still be told. Short names only as whole words."""
    assert scrub(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "run shop.web.4 ended 2026-11-21 18:00:39 after 2 h 3 m, signal 9, code 137",
        "http://127.0.0.1:8787/health and http://localhost:80/ and [::1]:80",
        "midwatch 0.2.0, Python 3.11.7, Linux 6.18.44-fc-v657, msgspec 0.22.0",
        "JetsamEvent-2026-03-02-084410.ips and python3.13-2026-02-27-100000.ips",
        "/usr/lib/python3.11/site-packages/pydantic_core/_pydantic_core.cpython-311-x86_64-linux-gnu.so",
        "com.docker.virtualization, org.python.python, vm-compressor-space-shortage",
        "src/midwatch/inspect/containers/together.py:41 test_what_hangs_is_left_behind",
        "memory 1.5 GiB of 2 GiB (75%), 4710 pid, 1772439245.123456",
        "_PyObject_MakeTpCall OutOfMemoryError PyObject_CallFunctionObjArgs CFRunLoopRunSpecific",
        "PYTHONFAULTHANDLER=1 OPENBLAS_NUM_THREADS=4 LANG=C.UTF-8",
        "docker update --memory 9280m --memory-swap 9280m chap-core-worker-1",
    ],
)
def test_what_a_reader_needs_stays(text: str) -> None:
    """Times, versions, paths of programs, numbers, names of events: a report of marks helps nobody."""
    assert scrub(text) == text


MIXED = [*(way.format("marlowe") for way in WAYS), "10.1.2.3", "wyvern-9", "x@y.org", "s3cr3t-Of-Env"]


@given(st.lists(st.sampled_from(MIXED),
                max_size=5).map(" ".join) | st.text(max_size=80))  # fmt: skip
def test_again_gives_the_same_and_nothing_raises(text: str) -> None:
    """A scrubbed text may be scrubbed again (the zip is, as a whole)."""
    once = scrub(text)
    assert scrub(once) == once


def test_values_go_by_their_names_and_keys_are_scrubbed_too() -> None:
    """Environment values, secret keys, names in keys; numbers stay."""
    value: Any = {"env": {"A": "plain"}, "/home/marlowe/x": 1, "password": ["hunter2"], "n": [1, None, True]}
    assert Scrub(MACHINE).value(value) == {
        "env": {"A": "[redacted]"}, "~/x": 1, "password": ["[redacted]"], "n": [1, None, True],
    }  # fmt: skip


def test_what_was_removed_is_counted() -> None:
    """So that a person sees what kind of things were in it."""
    one = Scrub(MACHINE)
    one.text("marlowe at 10.0.0.7 and 10.0.0.8, password=hunter2, x@y.org, /home/marlowe/a")
    assert {kind: n for kind, n in one.removed.items() if n} == {
        "user": 1, "addresses": 2, "secrets": 1, "emails": 1, "homes": 1,
    }  # fmt: skip


def test_no_text_makes_it_slow() -> None:
    """64 KiB of the worst characters stay far from minutes."""
    began = time.process_time()
    for piece in (
        "a",
        "a.",
        "1.",
        "a:",
        "@",
        "a@",
        "://",
        "/home/",
        "a-",
        "A1",
        "\n",
        "\\n",
        "m",
        "%",
        "aB3",
    ):
        scrub(piece * (65536 // len(piece)))
    assert time.process_time() - began < 60
