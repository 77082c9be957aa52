# SPDX-License-Identifier: PostgreSQL
"""The first packet and the frames: items 1, 2, 5, 6, 9 to 12, and how a connection ends."""
import struct

from talk import DATABASE, USER, raw_startup
from words import B, D, E, H, P, Q, S, Turn, cstring, framed, function_call, message, script
from wire import GSS_REQUEST, SSL_REQUEST, VERSION_3

WHO = ("user", USER, "database", DATABASE)


def pairs(*words, end=b"\0"):
    return b"".join(cstring(w) for w in words) + end


def packet(*words, version=VERSION_3, end=b"\0"):
    return raw_startup(version, pairs(*words, end=end))


def login(name, items, *words, version=VERSION_3, then=()):
    """A first packet of these parameters, and Queries behind it."""
    script(name, items, Turn(packet(*words, version=version)), *then, raw=True)


def refused(name, items, data):
    script(name, items, Turn(data, until="$"), raw=True, ends=True)


# ---- start-up packets that are good ----

login("a start-up packet", (1, 5, 9), *WHO)
login("the database defaults to the user", (5,), "user", USER, then=[Q("select current_database()")])
login("an empty database is the user's", (5,), "user", USER, "database", "",
      then=[Q("select current_database()")])
login("the last duplicate wins", (5,), "user", "nobody", "database", "nowhere", *WHO)
login("the order of parameters does not matter", (5,), "database", DATABASE, "client_encoding", "UTF8",
      "user", USER)
login("settings of the start-up packet", (5, 9), *WHO, "application_name", "an application",
      "DateStyle", "German", "timezone", "Asia/Tokyo",
      then=[Q("show application_name"), Q("select date '2026-11-20'"), Q("show timezone")])
login("settings of the start-up packet are what RESET goes back to", (5,), *WHO, "datestyle", "German",
      then=[Q("set datestyle = 'ISO'"), Q("reset datestyle"), Q("select date '2026-11-20'")])
login("options with -c", (5,), *WHO, "options", "-c datestyle=SQL,DMY -c work_mem=3MB",
      then=[Q("show datestyle"), Q("show work_mem")])
login("options with two dashes", (5,), *WHO, "options", "--datestyle=German --work-mem=5MB",
      then=[Q("show datestyle"), Q("show work_mem")])
login("options with -c and no blank", (5,), *WHO, "options", "-cdatestyle=German",
      then=[Q("show datestyle")])
login("options with escapes", (5,), *WHO, "options",
      r"-c application_name=two\ words\\and\ a\ \'quote\'", then=[Q("show application_name")])
login("options with many blanks", (5,), *WHO, "options", "   -c   datestyle=German   ",
      then=[Q("show datestyle")])
TODAY = "select date '2026-11-20'"
login("RESET among other statements", (16, 38), *WHO, "options", "-c datestyle=German -c work_mem=3MB",
      "application_name", "mine", then=[
          Q(f"set datestyle = 'ISO'; {TODAY}; reset all; {TODAY}; show work_mem"),
          Q("show datestyle; show application_name"),
          Q("set work_mem = '9MB'; reset work_mem; show work_mem; select 1/0"), Q("show work_mem"),
          Q("reset work_mem; reset datestyle; show work_mem; select nonsense"), Q("show datestyle"),
          Q("reset all; select 1 from nowhere; select 2"), Q("select nonsense; reset all; select 1"),
          Q("begin; set local work_mem = '1MB'; reset all; show work_mem; rollback; show work_mem"),
          Q("begin; set work_mem = '1MB'; reset all; show work_mem; commit; show work_mem"),
          Q(f"reset all -- ; here\n ; {TODAY}"),
          Q(f"reset all; set datestyle = 'SQL'; {TODAY}"), Q(TODAY),
          Q("reset all; syntax error"), Q("reset geqo; show work_mem"), Q(f";reset all;;{TODAY};"),
          Q("set role app; reset role; reset all; show application_name")])
login("empty options", (5,), *WHO, "options", "", then=[Q("show datestyle")])
login("options in which the last duplicate wins", (5,), *WHO, "options",
      "-c work_mem=3MB -c work_mem=4MB", then=[Q("show work_mem")])
login("a parameter wins over options", (5,), *WHO, "options", "-c work_mem=3MB", "work_mem", "4MB",
      then=[Q("show work_mem")])
login("a parameter wins over options behind it", (5,), *WHO, "work_mem", "4MB", "options",
      "-c work_mem=3MB", then=[Q("show work_mem")])
login("a setting with a name of its own", (5,), *WHO, "my.setting", "mine", "options",
      "-c other.setting=too", then=[Q("show my.setting"), Q("show other.setting")])
login("a setting whose value is empty", (5,), *WHO, "application_name", "",
      then=[Q("show application_name")])
login("a setting with quotes and backslashes", (5,), *WHO, "application_name", "it's \\ \"this\"; x",
      then=[Q("show application_name")])
login("a name of the application that is not ASCII", (5,), *WHO, "application_name", "Bär\n☃",
      then=[Q("show application_name")])
login("a search_path of the start-up packet", (5, 29), *WHO, "search_path", "s1",
      then=[Q("select place from where_am_i"),
            P("", "select place from where_am_i") + B("", "") + E() + S])
login("a read only default", (5,), *WHO, "default_transaction_read_only", "on",
      then=[Q("insert into w values (1, 1)"), Q("show transaction_read_only")])
login("an encoding of the start-up packet", (5, 9), *WHO, "client_encoding", "LATIN1",
      then=[Q("select 'x'"), Q("show client_encoding")])
login("replication=false is an ordinary session", (5,), *WHO, "replication", "false",
      then=[Q("select 1")])
login("replication=off is an ordinary session", (5,), *WHO, "replication", "off",
      then=[Q("select 1")])
login("replication=0 is an ordinary session", (5,), *WHO, "replication", "0", then=[Q("select 1")])
login("a newer minor version", (6,), *WHO, version=VERSION_3 + 5, then=[Q("select 1")])
login("the minor version of PostgreSQL 18", (6, 7), *WHO, version=VERSION_3 + 2, then=[Q("select 1")])
login("the largest minor version", (6,), *WHO, version=VERSION_3 + 0xffff)
login("unknown protocol options", (6,), *WHO, "_pq_.one", "1", "_pq_.two", "2", then=[Q("select 1")])
login("unknown protocol options and a newer minor version", (6,), "_pq_.first", "", *WHO, "_pq_.last",
      "x", version=VERSION_3 + 1)
login("many parameters", (5,), *WHO, *(w for i in range(120) for w in (f"my.setting_{i}", str(i))),
      then=[Q("show my.setting_119")])
script("a Query that comes along with the start-up packet", (1,),
       Turn(packet(*WHO), Q("select 1"), Q("select 2"), until="ZZZ"), raw=True)

# ---- start-up packets that are refused ----

refused("no user", (5, 10), packet("database", DATABASE))
refused("an empty user", (5, 10), packet("user", "", "database", DATABASE))
refused("nothing but the terminator", (5, 10), raw_startup(VERSION_3, b"\0"))
refused("no terminator", (5, 10), packet(*WHO, end=b""))
refused("something behind the terminator", (5, 10), packet(*WHO, end=b"\0x"))
refused("a key without a value", (5, 10), packet(*WHO, "lonely", end=b""))
refused("a setting that does not exist", (5, 10), packet(*WHO, "no_such_setting", "1"))
refused("a value that is not one", (5, 10), packet(*WHO, "datestyle", "nonsense"))
refused("a setting that needs a restart", (5, 10), packet(*WHO, "shared_buffers", "1GB"))
refused("a setting of superusers", (5, 10), packet(*WHO, "log_statement", "none"))
refused("options that are none", (5, 10), packet(*WHO, "options", "nonsense"))
refused("options without a value", (5, 10), packet(*WHO, "options", "-c datestyle"))
refused("an unknown database", (10,), packet("user", USER, "database", "no_such_database"))
refused("a value of replication that is none", (5, 10), packet(*WHO, "replication", "maybe"))
refused("a length of seven", (1,), struct.pack("!I", 7) + b"abc")
refused("a length of 10,004", (1,), struct.pack("!II", 10004, VERSION_3) + b"x" * 9996)
refused("a length of 10,005", (1,), struct.pack("!II", 10005, VERSION_3) + b"x" * 9997)
refused("a length beyond all bounds", (1,), struct.pack("!II", 0x7fffffff, VERSION_3))
refused("protocol 2", (1,), raw_startup(2 << 16, b"\0" * 288))
refused("protocol 4", (1,), raw_startup(4 << 16, pairs(*WHO)))
refused("a code that is none", (1,), raw_startup(80877105))
refused("a cancel request that is too short", (4,), raw_startup(80877102, b"abc"))
refused("a client of HTTP", (1,), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

# ---- frames ----

FATAL = "$"


def broken(name, items, *parts, first=()):
    """A frame that ends the connection."""
    script(name, items, *first, Turn(*parts, until=FATAL), ends=True)


broken("an unknown type", (12,), message("z", b"abc"))
broken("an unknown type behind a Query", (12,), Q("select 1"), message("y"))
broken("an unknown type in the middle of a batch", (12,), P("", "select 1"), message("w"), S)
broken("an unknown type in a transaction", (12,), message("!"), first=[Q("begin"), Q("select 1")])
broken("a type of zero", (12,), b"\0" * 5)
broken("a type of a server", (12,), message("T", b"\0\0"))
broken("an unknown type after an error", (12, 23), P("", "nonsense"), message("z"))
broken("a password message after the log-in", (12,), message("p", b"secret\0"))
broken("Terminate", (42,), message("X"))
broken("Terminate behind a Query", (42,), Q("select 1"), message("X"))
broken("Terminate in a transaction", (42,), message("X"), first=[Q("begin"), Q("select 1")])

# ---- bodies: errors, not disconnects ----

script("a Query without its terminator", (11,), Q("select 1"), message("Q", b"select 1"), Q("select 2"))
script("a Query with something behind its terminator", (11,), message("Q", b"select 1\0x"),
       Q("select 2"))
script("an empty body of Query", (11,), message("Q"), Q("select 2"))
script("a Query in a transaction without its terminator", (11, 20), Q("begin"),
       message("Q", b"select 1"), Q("select 2"), Q("rollback"))
BODIES = {
    "Parse without a text": message("P", b"name\0"),
    "Parse without a terminator": message("P", b"name\0select 1"),
    "Parse without a count": message("P", b"name\0select 1\0"),
    "Parse with too many types": message("P", b"\0select 1\0" + struct.pack("!H", 60000)),
    "Parse with something behind it": message("P", b"\0select 1\0\0\0x"),
    "Bind without names": message("B", b"ab"),
    "Bind of one name": message("B", b"portal\0state"),
    "Bind that ends early": message("B", b"\0\0" + struct.pack("!HH", 0, 5)),
    "Bind with a negative size": message("B", b"\0\0" + struct.pack("!HHi", 0, 1, -7)),
    "Bind with a size beyond its end": message("B", b"\0\0" + struct.pack("!HHi", 0, 1, 100)),
    "Bind with something behind it": message("B", b"\0\0" + struct.pack("!HHH", 0, 0, 0) + b"x"),
    "Bind with an unknown format": message("B", b"\0\0" + struct.pack("!HHHH", 1, 7, 0, 0)),
    "Describe of an unknown kind": message("D", b"x\0"),
    "Describe without a name": message("D", b"S"),
    "Describe of nothing": message("D"),
    "Describe with something behind it": message("D", b"S\0x"),
    "Execute without a count": message("E", b"\0"),
    "Execute without a terminator": message("E", b"abc"),
    "Execute with something behind it": message("E", b"\0\0\0\0\0x"),
    "Close of an unknown kind": message("C", b"q\0"),
    "Close of nothing": message("C"),
    "Sync with a body": message("S", b"x"),
    "Flush with a body": message("H", b"x"),
}
for what, data in BODIES.items():
    script(f"malformed: {what}", (11, 23), P("", "select 1") + S, Turn(data, S), Turn(data, S),
           Q("select 2"))
    script(f"malformed in the middle: {what}", (11, 23),
           Turn(P("", "select 1") + B("", "") + E(), data, P("lost", "select 2"), S),
           B("", "lost") + S, Q("select 3"))
script("malformed: FunctionCall without arguments", (11, 32), message("F", b"\0\0"), Q("select 1"))
script("malformed: FunctionCall with something behind it", (11, 32),
       message("F", function_call(1397, "-5")[5:] + b"x"), Q("select 1"))
script("malformed: in a transaction", (11, 20, 23), Q("begin"), Turn(message("D", b"x\0"), S),
       Q("select 1"), Q("rollback"))

# ---- lengths ----

script("bodies at the bound of 10,000", (11,), Turn(P("n" * 900, "select 1") + S),
       Turn(framed("S", 10000, b"\0" * 9996)), Q("select 1"))
script("a body between the bounds", (11, 13), Turn(P("", "select '" + "x" * 200000 + "'") + S),
       B("", "") + E() + S, cuts=False)
script("Sync in the middle of nowhere", (21, 22), Turn(S, H, S, H, S, until="ZZZ"), D("S", "x") + S)

# ---- encryption requests ----

NO_ENCRYPTION = "S"  # what is read is one byte, which looks like the begin of a message: see the test
REQUESTS = {"SSL": SSL_REQUEST, "GSS": GSS_REQUEST}
