"""psycopg 3."""

import asyncio
import datetime
import threading
import time
import unittest

import psycopg
from psycopg import errors, sql
from psycopg.rows import dict_row
from psycopg.types import TypeInfo
from psycopg.types.json import Json, Jsonb

import harness
from harness import ARRAYS, LITERALS, ROUNDED, VALUES, D, same


class Connected(unittest.TestCase):
    """Tests over one connection that commits each statement."""

    def setUp(self):
        self.connection = psycopg.connect(harness.dsn(), autocommit=True)
        self.addCleanup(self.connection.close)

    def rows(self, query, parameters=None, **options):
        return self.connection.execute(query, parameters, **options).fetchall()

    def fresh(self, name, columns):
        self.connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(name)))
        self.connection.execute(f"CREATE TABLE {name} ({columns})")

    def assertSame(self, got, wanted, what):
        if not same(got, wanted):
            self.fail(f"{what}: got {got!r:.200}, wanted {wanted!r:.200}")


class Types(Connected):
    """Every type, there and back in both formats."""

    def there_and_back(self, number, data_type, values):
        # A name of its own: the driver prepares what it has seen often.
        table = f"p3_types_{number}"
        self.fresh(table, f"id int PRIMARY KEY, v {data_type}")
        for number, value in enumerate([None, *values]):
            for shift, placeholder in ((0, "%t"), (1000, "%b")):
                if isinstance(value, str) and data_type not in ("text", "varchar(5)", "char(5)"):
                    # A text in binary is declared to be one, and no name.
                    placeholder = "%t"
                self.connection.execute(
                    f"INSERT INTO {table} VALUES (%s, {placeholder})", (number + shift, value)
                )
        for binary in (False, True):
            cursor = self.connection.cursor(binary=binary)
            for number, value in enumerate([None, *values]):
                for shift in (0, 1000):
                    cursor.execute(f"SELECT v FROM {table} WHERE id = %s", (number + shift,))
                    what = f"{data_type}, binary {binary}, sent in format {shift // 1000}"
                    self.assertSame(cursor.fetchone()[0], value, what)

    def test_values(self):
        for number, (data_type, values) in enumerate(VALUES):
            with self.subTest(data_type):
                self.there_and_back(number, data_type, values)

    def test_rounding(self):
        for number, (data_type, given, held) in enumerate(ROUNDED):
            with self.subTest(data_type):
                table = f"p3_rounded_{number}"
                self.fresh(table, f"id int PRIMARY KEY, v {data_type}")
                for key, placeholder in ((1, "%t"), (2, "%b")):
                    self.connection.execute(f"INSERT INTO {table} VALUES ({key}, {placeholder})", (given,))
                with self.connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                    copy.write_row((3, given))
                for binary in (False, True):
                    for row in self.rows(f"SELECT v FROM {table}", binary=binary):
                        self.assertSame(row[0], held, data_type)

    def test_copy_of_numbers_and_times(self):
        columns = "id int PRIMARY KEY, n numeric, p numeric(6,2), z timetz, t timestamp(1), i interval year to month"
        written = [
            "1\tNaN\tNaN\t12:00:00.5+02\t2024-01-01 00:00:00.2\t1 year 6 mons",
            "2\tInfinity\t1.50\t24:00:00-15:59\tinfinity\t-3 mons",
            "3\t-Infinity\t-1.50\t00:00:00+05:30:01\t-infinity\t00:00:00",
        ]
        for options in ("", "WITH (FORMAT csv, DELIMITER E'\\t')", "WITH (FORMAT binary)"):
            with self.subTest(options):
                self.fresh("p3_first", columns)
                self.fresh("p3_second", columns)
                with self.connection.cursor().copy("COPY p3_first FROM STDIN") as copy:
                    copy.write("\n".join(written) + "\n")
                with self.connection.cursor().copy(f"COPY p3_first TO STDOUT {options}") as copy:
                    data = b"".join(bytes(block) for block in copy)
                with self.connection.cursor().copy(f"COPY p3_second FROM STDIN {options}") as copy:
                    copy.write(data)
                with self.connection.cursor().copy("COPY p3_second TO STDOUT") as copy:
                    got = b"".join(bytes(block) for block in copy).decode().splitlines()
                self.assertEqual(sorted(got), written)
        for line, state in [("4\t1\tInfinity\t\\N\t\\N\t\\N", "22003"), ("4\t1\t1\t1:00+16\t\\N\t\\N", "22009")]:
            with self.assertRaises(psycopg.DataError) as caught:
                with self.connection.cursor().copy("COPY p3_first FROM STDIN") as copy:
                    copy.write(line + "\n")
            self.assertEqual(caught.exception.sqlstate, state)

    def test_too_many_digits(self):
        told = []
        self.connection.add_notice_handler(
            lambda diag: told.append((diag.severity, diag.sqlstate, diag.message_primary, diag.statement_position))
        )
        for prepare in (False, True):
            for data_type, shown in [
                ("timestamp(7)", "TIMESTAMP(7)"),
                ("timestamptz(8)", "TIMESTAMP(8) WITH TIME ZONE"),
                ("time(9) with time zone", "TIME(9) WITH TIME ZONE"),
                ("interval day to second(10)", "INTERVAL(10)"),
                ("interval(11)", "INTERVAL(11)"),
            ]:
                told.clear()
                cursor = self.connection.execute(f"SELECT NULL::{data_type}", prepare=prepare)
                text = f"{shown} precision reduced to maximum allowed, 6"
                self.assertEqual(told, [("WARNING", "22023", text, "14")])
                self.assertEqual(cursor.description[0].precision, 6)
                # Once, not whenever it is executed.
                self.connection.execute(f"SELECT NULL::{data_type}", prepare=prepare)
                self.assertEqual(len(told), 1 if prepare else 2)
        told.clear()
        self.fresh("p3_digits", "a timestamp(7), b time(3)")
        self.assertEqual({text for _, _, text, _ in told if "exist" not in text},
                         {"TIMESTAMP(7) precision reduced to maximum allowed, 6"})
        self.connection.execute("SET client_min_messages = error")
        told.clear()
        self.connection.execute("SELECT NULL::time(7)")
        self.assertEqual(told, [])

    def test_infinite_numbers(self):
        # Other drivers here do not send them.
        self.there_and_back("infinite", "numeric", [D("Infinity"), D("-Infinity")])

    def test_arrays(self):
        for number, (data_type, values) in enumerate(ARRAYS):
            with self.subTest(data_type):
                self.there_and_back(f"array_{number}", f"{data_type}[]", values)

    def test_literals(self):
        for data_type, written, printed in LITERALS:
            with self.subTest(data_type, written=written[:40]):
                got = self.rows(f"SELECT (%s::text::{data_type})::text", (written,), binary=True)
                self.assertSame(got[0][0], printed, written[:40])
                # As a parameter of the type itself.
                got = self.rows(f"SELECT (%t::{data_type})::text", (written,))
                self.assertSame(got[0][0], printed, written[:40])

    def test_binary_results_are_what_binary_parameters_take(self):
        """The raw bytes of a result in binary, sent back as a parameter in binary."""
        for data_type, written, printed in LITERALS:
            with self.subTest(data_type, written=written[:40]):
                result = self.connection.pgconn.exec_params(
                    f"SELECT $1::text::{data_type}".encode(), [written.encode()], result_format=1
                )
                self.assertEqual(result.status, psycopg.pq.ExecStatus.TUPLES_OK, result.error_message)
                raw, oid = result.get_value(0, 0), result.ftype(0)
                again = self.connection.pgconn.exec_params(
                    b"SELECT $1::text", [raw], param_types=[oid], param_formats=[1]
                )
                self.assertEqual(again.status, psycopg.pq.ExecStatus.TUPLES_OK, again.error_message)
                self.assertEqual(again.get_value(0, 0).decode(), printed)

    def test_out_of_range(self):
        for data_type, written, state in [
            ("smallint", "32768", "22003"),
            ("integer", "-2147483649", "22003"),
            ("bigint", "9223372036854775808", "22003"),
            ("real", "1e39", "22003"),
            ("numeric(4,2)", "100", "22003"),
            ("numeric(4,2)", "Infinity", "22003"),
            ("boolean", "maybe", "22P02"),
            ("uuid", "123", "22P02"),
            ("date", "2023-02-29", "22008"),
            ("timetz", "12:00+16", "22009"),
            ("json", "{", "22P02"),
            ("integer[]", "{1,x}", "22P02"),
            ("bytea", "\\xabc", "22023"),
            ("varchar(2)", "abc", "22001"),
        ]:
            with self.subTest(data_type):
                self.fresh("p3_range", f"v {data_type}")
                with self.assertRaises(psycopg.DataError) as caught:
                    self.connection.execute("INSERT INTO p3_range VALUES (%t)", (written,))
                self.assertEqual(caught.exception.sqlstate, state)

    def test_json(self):
        documents = [{}, [], None, 1, "text 🐘", {"a": [1, {"b": None}], "č": "x\ny"}]
        for data_type, wrapper in (("json", Json), ("jsonb", Jsonb)):
            table = f"p3_{data_type}"
            self.fresh(table, f"id int PRIMARY KEY, v {data_type}")
            for number, document in enumerate(documents):
                for shift, placeholder in ((0, "%t"), (1000, "%b")):
                    self.connection.execute(
                        f"INSERT INTO {table} VALUES (%s, {placeholder})",
                        (number + shift, wrapper(document)),
                    )
            for binary in (False, True):
                got = self.rows(f"SELECT v FROM {table} ORDER BY id", binary=binary)
                self.assertEqual([row[0] for row in got], documents * 2)
        got = self.rows("SELECT id FROM p3_jsonb WHERE v @> %s ORDER BY id", (Jsonb({"a": [1]}),))
        self.assertEqual(got, [(5,), (1005,)])
        got = self.rows("SELECT v -> 'a' -> %s, v ->> %s FROM p3_jsonb WHERE v ? %s LIMIT 1", (1, "č", "a"))
        self.assertEqual(got, [({"b": None}, "x\ny")])

    def test_type_lookup(self):
        info = TypeInfo.fetch(self.connection, "int4")
        self.assertEqual((info.name, info.oid, info.array_oid), ("int4", 23, 1007))
        self.assertIsNone(TypeInfo.fetch(self.connection, "no_such_type"))
        self.connection.autocommit = False
        info = TypeInfo.fetch(self.connection, "uuid")
        self.assertEqual((info.oid, info.array_oid), (2950, 2951))
        self.connection.rollback()

    def test_described_columns(self):
        cursor = self.connection.execute(
            "SELECT 1::numeric(10,3) AS a, 'x'::varchar(7) AS b, ARRAY[1] AS c, now() AS d,"
            " now()::timestamp(3) AS e, '12:00+01'::timetz(0) AS f, '1 s'::interval(2) AS g"
        )
        got = [(c.name, c.type_code, c.precision, c.scale, c.display_size) for c in cursor.description]
        self.assertEqual(
            got,
            [("a", 1700, 10, 3, None), ("b", 1043, None, None, 7), ("c", 1007, None, None, None),
             ("d", 1184, None, None, None), ("e", 1114, 3, None, None), ("f", 1266, 0, None, None),
             ("g", 1186, 2, None, None)],
        )


class Parameters(Connected):
    """Parameters of every kind."""

    def test_named_and_reused(self):
        got = self.rows("SELECT %(a)s::int + %(a)s::int, %(b)s::text", {"a": 21, "b": "x"})
        self.assertEqual(got, [(42, "x")])

    def test_many(self):
        count = 2000
        columns = ", ".join(["%s::int"] * count)
        row = self.rows(f"SELECT ARRAY[{columns}]", list(range(count)))[0][0]
        self.assertEqual(row, list(range(count)))

    def test_types_follow_from_use(self):
        self.fresh("p3_use", "id int PRIMARY KEY, t text, n numeric, d date")
        self.connection.execute(
            "INSERT INTO p3_use VALUES (%t, %t, %t, %t)", ("1", "one", "1.5", "2024-01-01")
        )
        got = self.rows("SELECT * FROM p3_use WHERE id = %t AND d < %t", ("1", "2024-02-01"))
        self.assertEqual(got, [(1, "one", harness.D("1.5"), datetime.date(2024, 1, 1))])

    def test_any(self):
        self.fresh("p3_any", "id int PRIMARY KEY, t text")
        with self.connection.cursor() as cursor:
            cursor.executemany("INSERT INTO p3_any VALUES (%s, %s)", [(i, f"t{i}") for i in range(100)])
        for keys in ([3, 50, 99, 1000], []):
            got = self.rows("SELECT id FROM p3_any WHERE id = ANY(%s) ORDER BY id", (keys,))
            self.assertEqual([row[0] for row in got], [key for key in keys if key < 100])
        got = self.rows("SELECT count(*) FROM p3_any WHERE NOT t = ANY(%s)", (["t1", "t2"],))
        self.assertEqual(got, [(98,)])

    def test_executemany_returning(self):
        self.fresh("p3_many", "id int PRIMARY KEY, n int")
        with self.connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO p3_many VALUES (%s, %s) RETURNING n * 2",
                [(i, i) for i in range(500)],
                returning=True,
            )
            got = []
            while True:
                got.append(cursor.fetchone()[0])
                if not cursor.nextset():
                    break
        self.assertEqual(got, [2 * i for i in range(500)])

    def test_client_side(self):
        with psycopg.ClientCursor(self.connection) as cursor:
            cursor.execute("SELECT %s, %s, %s", ("it's", [1, None], b"\x00\xff"))
            self.assertEqual(cursor.fetchone(), ("it's", [1, None], b"\x00\xff"))

    def test_rows_as_dictionaries(self):
        with self.connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute("SELECT 1 AS one, 'x' AS two")
            self.assertEqual(cursor.fetchall(), [{"one": 1, "two": "x"}])


class Copy(Connected):
    """COPY in three formats."""

    ROWS = [
        (1, "plain", 1.5, datetime.date(2024, 1, 1), [1, None], b"\x00\xff"),
        (2, None, None, None, None, None),
        (3, "tab\t nl\n bs\\ 🐘 \\N", float("inf"), datetime.date(1, 1, 1), [], b""),
    ]
    TYPES = ["int4", "text", "float8", "date", "int4[]", "bytea"]

    def setUp(self):
        super().setUp()
        self.fresh("p3_copy", "id int PRIMARY KEY, t text, f float8, d date, a int[], b bytea")

    def test_text_and_binary(self):
        for form in ("TEXT", "BINARY"):
            with self.subTest(form), self.connection.cursor() as cursor:
                cursor.execute("DELETE FROM p3_copy")
                with cursor.copy(f"COPY p3_copy FROM STDIN (FORMAT {form})") as copy:
                    copy.set_types(self.TYPES)
                    for row in self.ROWS:
                        copy.write_row(row)
                self.assertEqual(cursor.rowcount, 3)
                self.assertEqual(self.rows("SELECT * FROM p3_copy ORDER BY id"), self.ROWS)
                with cursor.copy(
                    f"COPY (SELECT * FROM p3_copy ORDER BY id) TO STDOUT (FORMAT {form})"
                ) as copy:
                    copy.set_types(self.TYPES)
                    self.assertEqual(list(copy.rows()), self.ROWS)

    def test_csv(self):
        text = 'id,t\n10,"quoted, ""text"""\n11,\n12,""\n'
        with self.connection.cursor() as cursor:
            with cursor.copy("COPY p3_copy (id, t) FROM STDIN (FORMAT CSV, HEADER)") as copy:
                copy.write(text)
            with cursor.copy(
                "COPY (SELECT id, t FROM p3_copy ORDER BY id) TO STDOUT (FORMAT CSV, HEADER)"
            ) as copy:
                self.assertEqual(b"".join(copy).decode(), text)

    def test_many_rows(self):
        with self.connection.cursor() as cursor:
            with cursor.copy("COPY p3_copy (id, t) FROM STDIN") as copy:
                for number in range(20_000):
                    copy.write_row((number, f"row {number}"))
            self.assertEqual(cursor.rowcount, 20_000)
            with cursor.copy("COPY p3_copy (t) TO STDOUT") as copy:
                self.assertEqual(sum(1 for _ in copy.rows()), 20_000)

    def test_an_error_keeps_nothing(self):
        with self.assertRaises(errors.InvalidTextRepresentation) as caught:
            with self.connection.cursor() as cursor:
                with cursor.copy("COPY p3_copy (id, t) FROM STDIN") as copy:
                    copy.write("1\tx\nnone\ty\n")
        self.assertEqual(caught.exception.diag.context, 'COPY p3_copy, line 2, column id: "none"')
        self.assertEqual(self.rows("SELECT count(*) FROM p3_copy"), [(0,)])

    def test_the_client_gives_up(self):
        with self.assertRaises(ZeroDivisionError):
            with self.connection.cursor() as cursor:
                with cursor.copy("COPY p3_copy (id, t) FROM STDIN") as copy:
                    copy.write("1\tx\n")
                    raise ZeroDivisionError
        self.assertEqual(self.rows("SELECT count(*) FROM p3_copy"), [(0,)])


class Pipelines(Connected):
    """Pipelining."""

    def test_answers_come_in_order(self):
        with self.connection.pipeline():
            cursors = [self.connection.execute("SELECT %s::int", (i,)) for i in range(300)]
            self.assertEqual([c.fetchone()[0] for c in cursors], list(range(300)))

    def test_what_follows_an_error_is_skipped_to_the_sync(self):
        self.fresh("p3_pipe", "id int PRIMARY KEY")
        with self.assertRaises(errors.UniqueViolation):
            with self.connection.pipeline() as pipeline:
                self.connection.execute("INSERT INTO p3_pipe VALUES (1)")
                pipeline.sync()
                self.connection.execute("INSERT INTO p3_pipe VALUES (2)")
                self.connection.execute("INSERT INTO p3_pipe VALUES (1)")
                self.connection.execute("INSERT INTO p3_pipe VALUES (3)")
                pipeline.sync()
        self.assertEqual(self.rows("SELECT id FROM p3_pipe"), [(1,)])

    def test_after_an_error_it_goes_on(self):
        with self.connection.pipeline() as pipeline:
            bad = self.connection.cursor()
            with self.assertRaises(errors.DivisionByZero):
                bad.execute("SELECT 1 / %s::int", (0,))
                pipeline.sync()
            self.assertEqual(self.connection.execute("SELECT 7").fetchone(), (7,))


class Transactions(Connected):
    """Blocks, and what ends them."""

    def setUp(self):
        super().setUp()
        self.fresh("p3_block", "id int PRIMARY KEY")

    def test_commit_and_rollback(self):
        with self.connection.transaction():
            self.connection.execute("INSERT INTO p3_block VALUES (1)")
        with self.connection.transaction(force_rollback=True):
            self.connection.execute("INSERT INTO p3_block VALUES (2)")
        with self.assertRaises(ZeroDivisionError), self.connection.transaction():
            self.connection.execute("INSERT INTO p3_block VALUES (3)")
            raise ZeroDivisionError
        self.assertEqual(self.rows("SELECT id FROM p3_block"), [(1,)])

    def test_a_failed_block_refuses_statements(self):
        self.connection.autocommit = False
        with self.assertRaises(errors.UndefinedTable):
            self.connection.execute("SELECT * FROM p3_nowhere")
        with self.assertRaises(errors.InFailedSqlTransaction):
            self.connection.execute("SELECT 1")
        self.connection.rollback()
        self.assertEqual(self.rows("SELECT 1"), [(1,)])
        self.connection.rollback()

    def test_nested(self):
        with self.connection.transaction():
            self.connection.execute("INSERT INTO p3_block VALUES (1)")
            with self.assertRaises(errors.UniqueViolation), self.connection.transaction():
                self.connection.execute("INSERT INTO p3_block VALUES (2)")
                self.connection.execute("INSERT INTO p3_block VALUES (1)")
            with self.connection.transaction():
                self.connection.execute("INSERT INTO p3_block VALUES (3)")
        self.assertEqual(self.rows("SELECT id FROM p3_block ORDER BY id"), [(1,), (3,)])


class Cursors(Connected):
    """Server-side cursors."""

    def test_named(self):
        with self.connection.transaction():
            with self.connection.cursor(name="p3 cursor") as cursor:
                cursor.itersize = 100
                cursor.execute("SELECT n FROM generate_series(1, %s) AS n", (1000,))
                self.assertEqual(cursor.fetchmany(3), [(1,), (2,), (3,)])
                self.assertEqual([row[0] for row in cursor], list(range(4, 1001)))

    def test_named_in_binary(self):
        with self.connection.transaction():
            with self.connection.cursor(name="p3_binary", binary=True) as cursor:
                cursor.execute("SELECT n::int8, n::text FROM generate_series(1, 10) AS n")
                self.assertEqual(cursor.fetchall(), [(n, str(n)) for n in range(1, 11)])

    def test_scrolling(self):
        with self.connection.transaction():
            with self.connection.cursor(name="p3_scroll", scrollable=True) as cursor:
                cursor.execute("SELECT n FROM generate_series(1, 10) AS n")
                cursor.scroll(5)
                self.assertEqual(cursor.fetchone(), (6,))
                cursor.scroll(0, mode="absolute")
                self.assertEqual(cursor.fetchone(), (1,))

    def test_with_hold(self):
        with self.connection.transaction():
            cursor = self.connection.cursor(name="p3_hold", withhold=True)
            cursor.execute("SELECT n FROM generate_series(1, 3) AS n")
        self.assertEqual(cursor.fetchall(), [(1,), (2,), (3,)])
        cursor.close()

    def test_streamed(self):
        with self.connection.cursor() as cursor:
            numbers = [row[0] for row in cursor.stream("SELECT * FROM generate_series(1, 5000)")]
        self.assertEqual(numbers, list(range(1, 5001)))


class Prepared(Connected):
    """Prepared statements, and what a schema change does to them.

    The changes come from another connection: the driver gives up its prepared statements when it
    sees one.
    """

    def change(self, statement):
        with psycopg.connect(harness.dsn(), autocommit=True) as other:
            other.execute(statement)

    def test_reuse_after_a_column_is_added(self):
        self.fresh("p3_prepared", "id int PRIMARY KEY, a text")
        self.connection.execute("INSERT INTO p3_prepared VALUES (1, 'x')")
        query = "SELECT id, a FROM p3_prepared WHERE id = %s"
        for _ in range(3):
            self.assertEqual(self.rows(query, (1,), prepare=True), [(1, "x")])
        self.change("ALTER TABLE p3_prepared ADD COLUMN b int DEFAULT 7")
        self.assertEqual(self.rows(query, (1,), prepare=True), [(1, "x")])
        self.change("ALTER TABLE p3_prepared DROP COLUMN b")
        self.assertEqual(self.rows(query, (1,), prepare=True), [(1, "x")])

    def test_a_changed_result_is_refused(self):
        self.fresh("p3_star", "id int PRIMARY KEY")
        query = "SELECT * FROM p3_star WHERE id = %s"
        self.rows(query, (1,), prepare=True)
        self.change("ALTER TABLE p3_star ADD COLUMN b int")
        with self.assertRaises(errors.FeatureNotSupported) as caught:
            self.rows(query, (1,), prepare=True)
        self.assertEqual(
            caught.exception.diag.message_primary, "cached plan must not change result type"
        )

    def test_a_dropped_table_is_missed_and_its_successor_found(self):
        self.fresh("p3_again", "id int PRIMARY KEY")
        query = "SELECT id FROM p3_again WHERE id = %s"
        self.rows(query, (1,), prepare=True)
        self.change("DROP TABLE p3_again")
        with self.assertRaises(errors.UndefinedTable):
            self.rows(query, (1,), prepare=True)
        self.change("CREATE TABLE p3_again (id int PRIMARY KEY)")
        self.connection.execute("INSERT INTO p3_again VALUES (1)")
        self.assertEqual(self.rows(query, (1,), prepare=True), [(1,)])

    def test_many_are_kept_and_given_back(self):
        self.connection.prepare_threshold = 0
        self.connection.prepared_max = 10
        for number in range(50):
            self.assertEqual(self.rows(f"SELECT %s::int + {number}", (1,)), [(1 + number,)])


class Messages(Connected):
    """Notices, errors, cancelling, and what the server says of itself."""

    def test_notices(self):
        heard = []

        def hear(diag):
            heard.append((diag.severity, diag.sqlstate, diag.message_primary))

        self.connection.add_notice_handler(hear)
        self.connection.execute("DROP TABLE IF EXISTS p3_nothing")
        missed = ("NOTICE", "00000", 'table "p3_nothing" does not exist, skipping')
        self.assertEqual(heard, [missed])
        self.connection.execute("SET client_min_messages = warning")
        self.connection.execute("DROP TABLE IF EXISTS p3_nothing")
        self.assertEqual(len(heard), 1)

    def test_an_error_says_what_it_is_about(self):
        self.fresh("p3_error", "id int CONSTRAINT p3_key PRIMARY KEY, n int CONSTRAINT p3_plus CHECK (n > 0)")
        self.connection.execute("INSERT INTO p3_error VALUES (1, 1)")
        with self.assertRaises(errors.UniqueViolation) as caught:
            self.connection.execute("INSERT INTO p3_error VALUES (1, 1)")
        diag = caught.exception.diag
        self.assertEqual(diag.constraint_name, "p3_key")
        self.assertEqual(diag.table_name, "p3_error")
        self.assertEqual(diag.schema_name, "public")
        self.assertEqual(diag.message_detail, "Key (id)=(1) already exists.")
        with self.assertRaises(errors.CheckViolation) as caught:
            self.connection.execute("INSERT INTO p3_error VALUES (2, 0)")
        self.assertEqual(caught.exception.diag.constraint_name, "p3_plus")
        with self.assertRaises(errors.UndefinedColumn) as caught:
            self.connection.execute("SELECT nothing FROM p3_error")
        self.assertEqual(caught.exception.diag.statement_position, "8")

    def test_cancel(self):
        for cancel in (self.connection.cancel, self.connection.cancel_safe):
            timer = threading.Timer(0.3, cancel)
            timer.start()
            started = time.monotonic()
            with self.assertRaises(errors.QueryCanceled):
                self.connection.execute("SELECT pg_sleep(30)")
            self.assertLess(time.monotonic() - started, 10)
            timer.join()
            self.assertEqual(self.rows("SELECT 1"), [(1,)])

    def test_statement_timeout(self):
        self.connection.execute("SET statement_timeout = '200ms'")
        with self.assertRaises(errors.QueryCanceled):
            self.connection.execute("SELECT pg_sleep(30)")

    def test_the_server_introduces_itself(self):
        info = self.connection.info
        self.assertEqual(info.server_version // 10000, 15)
        self.assertEqual(info.parameter_status("server_encoding"), "UTF8")
        self.assertEqual(info.parameter_status("integer_datetimes"), "on")
        self.assertEqual(info.parameter_status("standard_conforming_strings"), "on")
        self.assertEqual(info.encoding, "utf-8")
        self.assertGreater(info.backend_pid, 0)
        self.assertEqual(self.rows("SELECT current_database(), current_user"), [(info.dbname, info.user)])

    def test_application_name(self):
        with psycopg.connect(harness.dsn(), application_name="p3 tests") as named:
            self.assertEqual(named.execute("SHOW application_name").fetchone(), ("p3 tests",))


class Asynchronous(unittest.TestCase):
    """The driver's other face: several connections at once."""

    def test_together(self):
        async def one(number):
            async with await psycopg.AsyncConnection.connect(harness.dsn()) as connection:
                cursor = await connection.execute("SELECT %s::int, pg_sleep(0.05)", (number,))
                return (await cursor.fetchone())[0]

        async def all_of_them():
            return await asyncio.gather(*(one(number) for number in range(20)))

        self.assertEqual(asyncio.run(all_of_them()), list(range(20)))


if __name__ == "__main__":
    harness.main()
