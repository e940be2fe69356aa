"""What the scripts share: a script is run with the server's address and tests that server.

    python psycopg3.py postgresql://phantom@127.0.0.1:7432/phantom

The address may be PostgreSQL's own: what the tests expect is what it answers too.
"""

import datetime
import decimal
import math
import sys
import unittest
import uuid

DSN = ""


def main():
    """Takes the address from the command line and runs the script's tests."""
    global DSN
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} DSN [test ...]")
    DSN = sys.argv.pop(1)
    unittest.main(module="__main__", verbosity=2)


def dsn():
    """The server's address."""
    return DSN


def same(left, right):
    """Equality under which NaN is itself, 0 is not -0, and digits behind the point count."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, decimal.Decimal) and isinstance(right, decimal.Decimal):
        return format(left, "f") == format(right, "f")
    if isinstance(left, datetime.time) and isinstance(right, datetime.time):
        # Of two clocks that show the same instant one may be farther east.
        return left == right and left.utcoffset() == right.utcoffset()
    if isinstance(left, uuid.UUID):
        # A driver has a class of its own.
        return left == right
    return type(left) is type(right) and left == right


D = decimal.Decimal
UTC = datetime.timezone.utc

# The type of a column, and values that every driver reads back as it gave them.
VALUES = [
    ("boolean", [True, False]),
    ("smallint", [0, 1, -1, 32767, -32768]),
    ("integer", [0, 1, -1, 2**31 - 1, -(2**31)]),
    ("bigint", [0, 1, -1, 2**63 - 1, -(2**63)]),
    # What a float4 holds exactly, its largest and its smallest among it.
    ("real", [0.0, -0.0, 1.5, -2.25, math.inf, -math.inf, math.nan]),
    (
        "double precision",
        [0.0, -0.0, 0.1, 1 / 3, 1.7976931348623157e308, 5e-324, math.inf, -math.inf, math.nan],
    ),
    (
        "numeric",
        [
            D("0"),
            D("0.000"),
            D("1"),
            D("-1.50"),
            D("10000"),
            D("99999999"),
            D("0.0001"),
            D("1E-30").quantize(D("1E-30")),
            D("12345678901234567890123456789012345678901234567890"),
            D("-98765432109876543210.01234567890123456789"),
            D("NaN"),
        ],
    ),
    ("numeric(10,3)", [D("0.000"), D("1234567.891"), D("-1234567.891"), D("NaN")]),
    ("text", ["", " ", "plain", "quote ' \\ \" %s $1", "žluťoučký 🐘 中文", "a\nb\tc\r", "x" * 100_000]),
    ("varchar(5)", ["", "abc", "🐘🐘🐘🐘🐘"]),
    ("char(5)", ["abc  ", "🐘    ", "12345"]),
    ("bytea", [b"", b"\x00", bytes(range(256)), b"\\x41", b"\\000", b"z" * 100_000]),
    (
        "date",
        [
            datetime.date(1, 1, 1),
            datetime.date(1999, 12, 31),
            datetime.date(2000, 1, 1),
            datetime.date(2024, 2, 29),
            datetime.date(9999, 12, 31),
        ],
    ),
    (
        "time",
        [
            datetime.time(0, 0),
            datetime.time(12, 34, 56, 789012),
            datetime.time(23, 59, 59, 999999),
        ],
    ),
    (
        "timetz",
        [
            datetime.time(0, 0, tzinfo=UTC),
            datetime.time(12, 34, 56, 789012, tzinfo=datetime.timezone(datetime.timedelta(hours=5, minutes=30))),
            datetime.time(23, 59, 59, 999999, tzinfo=datetime.timezone(datetime.timedelta(hours=-8))),
        ],
    ),
    (
        "timestamp",
        [
            datetime.datetime(1, 1, 1),
            datetime.datetime(1969, 12, 31, 23, 59, 59, 999999),
            datetime.datetime(2000, 1, 1),
            datetime.datetime(2024, 2, 29, 12, 34, 56, 1),
            datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
        ],
    ),
    (
        "timestamptz",
        [
            datetime.datetime(1970, 1, 1, tzinfo=UTC),
            datetime.datetime(2024, 6, 30, 23, 59, 59, 999999, tzinfo=UTC),
        ],
    ),
    (
        "interval",
        [
            datetime.timedelta(0),
            datetime.timedelta(days=5, hours=3, microseconds=7),
            datetime.timedelta(days=-5, hours=23),
            datetime.timedelta(days=100_000, seconds=86_399, microseconds=999_999),
        ],
    ),
    (
        "uuid",
        [
            uuid.UUID(int=0),
            uuid.UUID(int=2**128 - 1),
            uuid.UUID("123e4567-e89b-12d3-a456-426614174000"),
        ],
    ),
    ("oid", [0, 1, 2**32 - 1]),
    ("name", ["", "identifier", "ž" * 31]),
]

# The element type of an array column, and arrays: with nulls, empty, of several dimensions.
ARRAYS = [
    ("boolean", [[True, None, False]]),
    ("smallint", [[1, -32768, None]]),
    ("integer", [[], [1], [None], [2**31 - 1, -(2**31)], [[1, 2], [3, None]], [[[1], [2]], [[3], [4]]]]),
    ("bigint", [[2**63 - 1, None, -(2**63)]]),
    ("double precision", [[0.5, None, -math.inf]]),
    ("numeric", [[D("1.50"), None, D("-123456789012345678901234567890.5"), D("NaN")]]),
    (
        "text",
        [[], ["", "NULL", "null", None, 'quote " and \\', "comma,{brace}", " spaces ", "🐘"], [["a", "b"], ["c", None]]],
    ),
    ("bytea", [[b"", b"\x00\xff", None]]),
    ("date", [[datetime.date(2024, 2, 29), None]]),
    ("timetz", [[datetime.time(1, 2, 3, 4, tzinfo=UTC), None]]),
    ("timestamp", [[datetime.datetime(2024, 2, 29, 12, 34, 56, 1), None]]),
    ("timestamptz", [[datetime.datetime(2024, 2, 29, 12, 34, 56, 1, tzinfo=UTC), None]]),
    ("interval", [[datetime.timedelta(days=5, microseconds=7), None]]),
    ("uuid", [[uuid.UUID(int=1), None]]),
]

# The type of a column, a value that is given, and what the column holds of it.
ROUNDED = [
    ("timestamp(3)", datetime.datetime(2024, 1, 1, 0, 0, 0, 123456), datetime.datetime(2024, 1, 1, 0, 0, 0, 123000)),
    ("timestamp(0)", datetime.datetime(2024, 12, 31, 23, 59, 59, 500000), datetime.datetime(2025, 1, 1)),
    (
        "timestamptz(1)",
        datetime.datetime(1999, 12, 31, 23, 59, 58, 449999, tzinfo=UTC),
        datetime.datetime(1999, 12, 31, 23, 59, 58, 400000, tzinfo=UTC),
    ),
    ("time(1)", datetime.time(12, 34, 56, 780000), datetime.time(12, 34, 56, 800000)),
    (
        "timetz(2)",
        datetime.time(1, 2, 3, 456789, tzinfo=datetime.timezone(datetime.timedelta(hours=-3))),
        datetime.time(1, 2, 3, 460000, tzinfo=datetime.timezone(datetime.timedelta(hours=-3))),
    ),
    ("interval(2)", datetime.timedelta(seconds=1, microseconds=236000), datetime.timedelta(seconds=1, microseconds=240000)),
    (
        "interval day to minute",
        datetime.timedelta(days=3, hours=1, minutes=2, seconds=59),
        datetime.timedelta(days=3, hours=1, minutes=2),
    ),
    ("numeric(5,1)", D("12.35"), D("12.4")),
]

# What Python has no value for: a type, how it is written, and how the server writes it.
LITERALS = [
    ("real", "3.4028235e+38", "3.4028235e+38"),
    ("real", "1e-45", "1e-45"),
    ("real", "0.1", "0.1"),
    ("numeric", "9" * 1000 + "." + "8" * 1000, "9" * 1000 + "." + "8" * 1000),
    ("numeric", "nan", "NaN"),
    ("numeric", "inf", "Infinity"),
    ("numeric", "-Infinity", "-Infinity"),
    ("numeric(4,2)", "NaN", "NaN"),
    ("numeric[]", "{NaN,infinity,1.0}", "{NaN,Infinity,1.0}"),
    ("date", "infinity", "infinity"),
    ("date", "-infinity", "-infinity"),
    ("date", "4713-01-01 BC", "4713-01-01 BC"),
    ("date", "5874897-12-31", "5874897-12-31"),
    ("time", "24:00:00", "24:00:00"),
    ("timetz", "24:00:00+15:59:59", "24:00:00+15:59:59"),
    ("timetz", "04:05:06.789 PM -08:00", "16:05:06.789-08"),
    ("timestamp(1)", "2024-01-01 00:00:00.16", "2024-01-01 00:00:00.2"),
    ("timestamptz(0)", "infinity", "infinity"),
    ("time(0)", "23:59:59.9", "24:00:00"),
    ("timetz(0)", "23:59:59.9+01", "24:00:00+01"),
    ("interval year to month", "1-6", "1 year 6 mons"),
    ("interval(0)", "-1.5 s", "-00:00:02"),
    ("timestamp(0)[]", "{2024-01-01 00:00:00.6,NULL}", '{"2024-01-01 00:00:01",NULL}'),
    ("timetz[]", "{12:00-03:30,NULL}", "{12:00:00-03:30,NULL}"),
    ("timestamp", "infinity", "infinity"),
    ("timestamp", "-infinity", "-infinity"),
    ("timestamp", "4713-01-01 00:00:00 BC", "4713-01-01 00:00:00 BC"),
    ("timestamp", "294276-12-31 23:59:59.999999", "294276-12-31 23:59:59.999999"),
    ("timestamptz", "infinity", "infinity"),
    ("timestamptz", "2024-02-29 12:00:00+05:30", "2024-02-29 06:30:00+00"),
    ("interval", "1 year 2 months -3 days 04:05:06.789", "1 year 2 mons -3 days +04:05:06.789"),
    ("interval", "-178000000 years", "-178000000 years"),
    ("json", '{"a": [1, 2.50, null, "\\u0041"], "a": 2}', '{"a": [1, 2.50, null, "\\u0041"], "a": 2}'),
    ("jsonb", '{"bb": 1.50, "a": [1], "a": "\\u0041"}', '{"a": "A", "bb": 1.50}'),
    ("jsonb", "[1e3, null]", "[1000, null]"),
    ("jsonb[]", '{"[1]",NULL}', '{[1],NULL}'),
    ("int2vector", "1 2 3", "1 2 3"),
    ("oidvector", "1 2 4294967295", "1 2 4294967295"),
    ('"char"', "x", "x"),
    ("regclass", "pg_class", "pg_class"),
    ("regtype", "integer", "integer"),
    ("integer[]", "[2:3]={7,8}", "[2:3]={7,8}"),
    ("text[]", '{{a,"b c"},{NULL,"NULL"}}', '{{a,"b c"},{NULL,"NULL"}}'),
]
