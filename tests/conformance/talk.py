# SPDX-License-Identifier: PostgreSQL
"""Scripts, how they are spoken, and what of the answers is compared.

A Script is a list of turns; a turn is bytes to send and what to read before the next turn: a string
of message types, each of which must have come ("ZZ": two ReadyForQuery; "": read nothing; "$": to the
end of the stream). The answer to a script is the list of all messages that came.
"""
import random
import socket
import struct

from wire import Wire, error_fields, query, startup, sync

USER, DATABASE = "app", "app"
LAST_WORDS = "the end of the script"
SILENCE = 30  # seconds after which a peer that owes an answer is taken to hang

MODES = ("session", "transaction")
SCRIPTS = {}  # name -> Script, in the order of definition


class Turn:
    def __init__(self, *parts, until="Z"):
        self.bytes = b"".join(parts)
        self.until = until


class Script:
    """parameters: of the start-up packet; raw: the first turn is the first packet; ends: the last
    turn ends the connection; cuts: False where it is too long to be cut; alone: no other client may
    come in between; modes: in which it must be the same."""

    def __init__(self, name, items, turns, parameters=None, raw=False, ends=False, cuts=True,
                 alone=False, modes=MODES):
        self.name, self.items, self.turns = name, items, turns
        self.parameters, self.raw, self.ends = parameters or {}, raw, ends
        self.cuts, self.alone = cuts, alone or raw or modes != MODES
        self.modes = modes


def script(name, items, *turns, **options):
    """Registers a script. Parts that are bytes are a turn that reads up to one ReadyForQuery."""
    assert name not in SCRIPTS, name
    turns = [t if isinstance(t, Turn) else Turn(t) for t in turns]
    SCRIPTS[name] = Script(name, items, turns, **options)


# ---- ways to send ----

def whole(rng, data):
    del rng
    return [data]


def byte_by_byte(rng, data):
    del rng
    return [data[i:i + 1] for i in range(len(data))]


def at_random(rng, data):
    pieces = []
    while data:
        size = rng.choice((1, 2, 4, 5, 6, 9, 17, 40, 200, 1000))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


class Talker(Wire):
    """A client that cuts what it sends."""

    def __init__(self, address, cut=whole, seed=1):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(SILENCE)
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.key = None
        self.cut, self.random = cut, random.Random(seed)

    def say(self, data):
        try:
            for piece in self.cut(self.random, data):
                self.socket.sendall(piece)
        except ConnectionError:
            pass  # what it said before it went is still to be read

    def listen(self, until):
        """Messages up to and with the last type of `until`; a hang is a message of its own."""
        result = []
        left = list(until)
        while left:
            try:
                m = self.recv()
            except socket.timeout:
                return result + [("hang", f"waiting for {''.join(left)}".encode())]
            if m is None:
                return result + [("end", b"")]
            result.append(m)
            if m[0] == left[0]:
                left.pop(0)
        return result


def speak(address, s, cut=whole, seed=1, between=None):
    """All answers to a script. `between` is called after every turn."""
    with Talker(address, cut, seed) as t:
        answers = []
        if not s.raw:
            t.cut = whole
            t.say(startup(USER, DATABASE, **s.parameters))
            answers += t.listen("Z")
            t.cut = cut
        for turn in s.turns:
            t.say(turn.bytes)
            answers += t.listen(turn.until)
            if answers and answers[-1][0] in ("hang", "end"):
                return answers
            if between is not None:
                between()
        if not s.ends:
            t.cut = whole
            answers += last_words(t)
        return answers


def last_words(t):
    """A statement whose answer shows that nothing else was still to come."""
    t.say(sync() + query(f"select '{LAST_WORDS}'"))
    answers = []
    while not any(kind == "D" and LAST_WORDS.encode() in body for kind, body in answers):
        answers += t.listen("Z")
        if answers[-1][0] in ("hang", "end"):
            break
    return answers


# ---- what is compared ----
#
# Everything must be equal but for this list; docs/reference/protocol.md has it too.
#  1. BackendKeyData: process id and key are the proxy's own. Their sizes are compared, but for rule 7.
#  2. NotificationResponse: a session knows its own notifications by the process id of its key;
#     others have the notifying server process's.
#  3. ParameterStatus messages of the welcome: PostgreSQL's order is not defined; they are sorted.
#  4. File, line and routine of errors: the proxy's own errors have none, and a statement that the
#     proxy parses again in front of a Bind may fail in another routine.
#  5. A frame of an impossible length: PostgreSQL ends the connection without a word, the proxy says
#     FATAL 08P01 (0A000 to protocol 2) first; not in place of a start-up packet.
#  6. A log-in that fails after the password: PostgreSQL has sent AuthenticationOk, the proxy not.
#  7. The proxy speaks protocol 3.2; servers before PostgreSQL 18 speak 3.0, and say so to a client
#     that asks for more. What NegotiateProtocolVersion says of options is compared.

SOURCE_FIELDS = "FLR"
WORDLESS = ("08P01", "0A000")


def readable(kind, body, own=b""):
    if kind == "K":
        return f"K of {len(body)} bytes"
    if kind == "A":
        return f"A {'own' if body[:4] == own else 'of another'} {body[4:]!r}"
    if kind in ("E", "N"):
        fields = error_fields(body)
        return {"type": kind, **{k: v for k, v in fields.items() if k not in SOURCE_FIELDS}}
    if kind == "Z":
        return f"Z {body.decode()}"
    return f"{kind} {body!r}"


def without_version(m):
    """Rule 7: the newest version, and the size of the key that follows from it."""
    kind, body = m
    if kind == "v":
        return (kind, body[4:]) if body[4:] != b"\0\0\0\0" else None
    if kind == "K" and len(body) == 36:
        return kind, body[:8]
    return m


def normal(answers):
    """Readable, and without what must differ: a list of strings and dicts."""
    answers = [m for m in map(without_version, answers) if m is not None]
    kinds = [kind for kind, _ in answers]
    if "E" in kinds and "K" not in kinds:  # refused: rule 6
        answers = [m for m in answers if m != ("R", b"\0\0\0\0")]
    welcome_size = kinds.index("K") if "K" in kinds else 0
    welcome, rest = answers[:welcome_size], answers[welcome_size:]
    statuses = sorted(m for m in welcome if m[0] == "S")
    others = [m for m in welcome if m[0] != "S"]
    own = next((body[:4] for kind, body in answers if kind == "K"), b"")
    return [readable(kind, body, own) for kind, body in others + statuses + rest]


def is_wordy(message):
    return isinstance(message, dict) and message["S"] == "FATAL" and message["C"] in WORDLESS


def difference(direct, proxied):
    """None, or where the two lists part."""
    a, b = normal(direct), normal(proxied)
    end = readable("end", b"")
    if len(b) == len(a) + 1 and a[-1] == b[-1] == end and is_wordy(b[-2]):  # rule 5
        del b[-2]
    for i in range(max(len(a), len(b))):
        if i < len(a) and i < len(b) and a[i] == b[i]:
            continue
        before = "\n".join(f"      both: {x}" for x in a[max(0, i - 4):i])
        return (f"message {i + 1} of {len(a)}\n{before}\n"
                f"    direct: {a[i:i + 4]}\n   proxied: {b[i:i + 4]}")
    return None


def raw_startup(code, body=b""):
    return struct.pack("!II", len(body) + 8, code) + body
